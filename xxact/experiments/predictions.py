"""What a supervised run predicts for every test sample, in a file beside its result.

`seed<k>.npz` of n samples; for each target T:

    id                   S       (n,)
    T.true               f4|i2   (n,)    in the target's unit, NaN without label; classes: index, -1
    T.predicted          f4|i2   (n,)
    T.probability        f2      (n, C)  of classes
    T.origin             S       (n,)    where the true value comes from, of `targets.ORIGINS`
    T.selected           f4|i2   (n,)    predicted by the weights that are best on validation
    T.best_on_test       f4|i2   (n,)    by those that are best on these samples, as in the paper
    T.p05, .p15, .p25    f4|i2   (n,)    by those after 5, 15 and 25 % of the training
    T.permuted_any       f4|i2   (n,)    predicted with the pattern of another of these samples
    T.permuted_formula   f4|i2   (n,)    with that of another crystal of the store of the same
                                         formula; NaN or -1 where there is none
    formula              u8      (n,)    `Store.formula_keys`
    formula_in_training  bool    (n,)    whether a training sample has that formula
    n_polymorphs         i2      (n,)    samples of the store that have it

Columns are of the last weights but for those five, which models that are trained have; of the
shares of the training those after which there was an evaluation.
The permuted ones are those of models that read composition and pattern: what is left of a model's
knowledge when the pattern says nothing of the sample, or tells no polymorph from another.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xxact.data.store import Store
from xxact.data.targets import ORIGINS, Target
from xxact.errors import UserError
from xxact.files import write_atomically

#: Seed of the patterns that samples are given in place of their own: the same for every run.
PERMUTATION_SEED = 0

#: Of n samples by target: values (n,), or probabilities (n, C) of classes.
Outputs = dict[str, np.ndarray]


def collect(
    store: Store,
    rows: np.ndarray,
    train_rows: np.ndarray,
    targets: Sequence[Target],
    outputs: Outputs,
    predict_with_patterns_of: Callable[[np.ndarray, np.ndarray], Outputs] | None = None,
    readings: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> dict[str, np.ndarray]:
    """The content of the file, from the `outputs` of a model for `rows` (n,).

    `readings` are what its earlier weights predicted (n,), by reading and target.

    `predict_with_patterns_of` gives its outputs for some rows with the patterns of others; None of
    a model that does not read both.
    """
    formula = store.formula_keys()
    _, place, times = np.unique(formula, return_inverse=True, return_counts=True)
    content = {"id": np.asarray(store.ids[rows])}
    for target in targets:
        output = outputs[target.name]
        content[f"{target.name}.true"] = _stored(target, store.values(target.name)[rows])
        content[f"{target.name}.predicted"] = _stored(target, output)
        if (origin := store.targets.get(ORIGINS.get(target.name))) is not None:
            names = np.array([*origin.classes, ""]).astype(bytes)  # the last is: not known, -1
            content[f"{target.name}.origin"] = names[store.values(origin.name)[rows]]
        if target.is_class:
            content[f"{target.name}.probability"] = output.astype(np.float16)
        for reading, predicted in (readings or {}).items():
            if target.name in predicted:
                content[f"{target.name}.{reading}"] = _stored(target, predicted[target.name])
    if predict_with_patterns_of is not None:
        partners = {
            "permuted_any": another_of(rows),
            "permuted_formula": another_of_formula(formula, rows),
        }
        for name, (own, others) in partners.items():
            found = predict_with_patterns_of(rows[own], others) if len(own) else {}
            for target in targets:
                column = _stored(target, np.full(len(rows), -1 if target.is_class else np.nan))
                if len(own):
                    column[own] = _stored(target, found[target.name])
                content[f"{target.name}.{name}"] = column
    return content | {
        "formula": formula[rows],
        "formula_in_training": np.isin(formula[rows], formula[train_rows]),
        "n_polymorphs": np.minimum(times[place][rows], np.iinfo(np.int16).max).astype(np.int16),
    }


def another_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in `rows` (n,), all of them unless there is but one, and for each another one of
    `rows`: drawn at random, each once."""
    order = np.random.default_rng(PERMUTATION_SEED).permutation(len(rows))
    partner = np.empty_like(rows)
    partner[order] = rows[np.roll(order, 1)]
    own = np.arange(len(rows) if len(rows) > 1 else 0)
    return own, partner[own]


def another_of_formula(formula: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in `rows` of samples that are not alone with their formula, and for each another
    sample of the store of that formula, drawn at random; `formula` (N,) are keys."""
    order = np.argsort(formula, kind="stable")  # samples of a formula stand together
    first = np.searchsorted(formula[order], formula[rows])
    count = np.searchsorted(formula[order], formula[rows], side="right") - first
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    own = np.flatnonzero(count > 1)
    first, count, place = first[own], count[own], place[rows[own]] - first[own]
    step = np.random.default_rng(PERMUTATION_SEED).integers(1, count)
    return own, order[first + (place + step) % count]


def write(path: Path, content: dict[str, np.ndarray]) -> dict[str, Any]:
    """Write the file; what a result says of it. The same content gives the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content)
    data = buffer.getvalue()
    write_atomically(path, data)
    digest = hashlib.sha256(data).hexdigest()
    return {"file": path.name, "sha256": digest, "n": len(content["id"])}


def read(path: Path | str) -> dict[str, np.ndarray]:
    """The content of the file at `path`; `UserError` if it is damaged."""
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} holds no predictions, or is damaged ({error})") from None


def table(
    ids: np.ndarray, targets: Sequence[Target], outputs: Outputs, true: dict[str, np.ndarray]
) -> Iterator[list[str]]:
    """Rows of a CSV, header first: id, and of each target true and predicted value and the
    probability of each class. Classes are named; what is not known is left empty."""
    header = ["id"]
    for target in targets:
        header += [f"{target.name}.true", f"{target.name}.predicted"]
        header += [f"{target.name}.probability.{name}" for name in target.classes]
    yield header
    for k, identifier in enumerate(ids):
        line = [identifier.decode()]
        for target in targets:
            output = outputs[target.name][k]
            known = true.get(target.name)
            line.append("" if known is None else _cell(target, known[k]))
            line.append(_cell(target, output.argmax() if target.is_class else output))
            line += [f"{p:.6g}" for p in output] if target.is_class else []
        yield line


def _cell(target: Target, value: Any) -> str:
    if not target.known(np.asarray(value)):
        return ""
    return target.classes[int(value)] if target.is_class else f"{value:.9g}"


def _stored(target: Target, values: np.ndarray) -> np.ndarray:
    """Values or probabilities as the file keeps them."""
    if not target.is_class:
        return values.astype(np.float32)
    return (values.argmax(1) if values.ndim == 2 else values).astype(np.int16)
