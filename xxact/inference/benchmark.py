"""What predictions on measured patterns of known phases are worth.

A folder with such patterns holds `patterns.npz` and `labels.csv`: of the former `id`, `offset`
(n + 1), `two_theta_start`, `two_theta_delta_1e6` (differences of angles in 1e-6 degrees) and
`counts`; of the latter a row a pattern with id, source, formula (or none), space_group,
crystal_system, radiation (`Cu Ka1+Ka2`, `Cu Ka1`, `synchrotron`), wavelength_angstrom, thin_film,
single_phase and confidence.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact.data.formula import parse_formula
from xxact.data.keys import composition_words, row_keys
from xxact.data.shard import composition_columns
from xxact.data.store import Store
from xxact.errors import UserError
from xxact.inference.answer import Answer
from xxact.inference.measured import Measured, measured_pattern
from xxact.inference.probabilities import (
    MIRROR_IMAGES,
    calibration_error,
    calibration_error_by_chance,
)
from xxact.inference.radiation import Radiation, tube

if TYPE_CHECKING:
    from xxact.inference.predictor import Predictor

TARGETS = ("crystal_system", "space_group")
#: Scores of what is told; the last is what the one before would be if the probabilities were right.
OF_TOLD = ("accuracy_of_surest_half", "mean_confidence", "calibration_error")
OF_TOLD += ("calibration_error_by_chance",)
BATCH_SIZE = 32
_FIRST_OF_PAIR = {str(second): str(first) for first, second in MIRROR_IMAGES}


@dataclass(frozen=True, eq=False)
class Entry:
    """A measured pattern and its phase; `formula` is None where it is not known."""

    pattern: Measured
    source: str
    formula: str | None
    space_group: str
    crystal_system: str

    @property
    def phase(self) -> tuple[str, str]:
        """What tells one phase from another one."""
        return self.formula or self.pattern.name, self.space_group


def read_entries(folder: Path, everything: bool = False) -> list[Entry]:
    """The patterns in a folder: powders of one sure phase, or `everything`.

    Raises `UserError` where the folder has not got the layout above.
    """
    try:
        with np.load(folder / "patterns.npz") as arrays:
            columns = {name: arrays[name] for name in arrays.files}
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            rows = {row["id"]: row for row in csv.DictReader(file)}
        return [
            _entry(rows[name], angles, counts)
            for name, angles, counts in _patterns(columns)
            if everything or _is_sure(rows[name])
        ]
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no measured patterns: {error.filename} is missing"
        ) from None
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{folder} has another layout than that of measured patterns: {error}"
        ) from None


def _patterns(columns: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for k, name in enumerate(columns["id"]):
        part = slice(columns["offset"][k], columns["offset"][k + 1])
        steps = np.cumsum(columns["two_theta_delta_1e6"][part], dtype=np.int64)
        yield str(name), columns["two_theta_start"][k] + steps / 1e6, columns["counts"][part]


def _is_sure(row: dict[str, str]) -> bool:
    is_one_phase = row["single_phase"].startswith("yes")
    return row["thin_film"] == "no" and row["confidence"] != "low" and is_one_phase


def _entry(row: dict[str, str], angles: np.ndarray, counts: np.ndarray) -> Entry:
    anode, _, lines = row["radiation"].partition(" ")
    radiation = Radiation(float(row["wavelength_angstrom"]), learned_from="file")
    if lines == "Ka1+Ka2":
        radiation = tube(anode, "file")
    return Entry(
        measured_pattern(row["id"], angles, counts, radiation),
        row["source"],
        row["formula"] or None,
        row["space_group"],
        row["crystal_system"],
    )


def benchmark(
    predictor: Predictor,
    entries: Sequence[Entry],
    store: Store | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Scores with and without formula: of all, and by source, system and confidence.

    With the store of the training also of phases that it has (formula and space group) and has
    not. `told` are confidence and whether it is right, of every pattern that is told at all, and
    `simulated` is what the card of the bundle says of simulated patterns. `progress` is called
    with the number of patterns done.
    """
    is_known = None if store is None else _in_training(entries, store)
    found: dict[str, Any] = {"patterns": len(entries), "phases": len({e.phase for e in entries})}
    found |= {"told": {}, "simulated": {}}
    for run in predictor.card.runs if predictor.card else ():
        found["simulated"][run.folder] = {t: vars(card) for t, card in run.classes.items()}
    done = 0
    for name, with_formula in (("with_formula", True), ("pattern_only", False)):
        chosen = [k for k, e in enumerate(entries) if e.formula or not with_formula]
        answers = []
        for start in range(0, len(chosen), BATCH_SIZE):
            part = [entries[k] for k in chosen[start : start + BATCH_SIZE]]
            answers += _ask(predictor, part, with_formula)
            progress(done := done + len(part))
        told = dict(zip(chosen, answers, strict=True))
        found[name] = _by_group(entries, told, is_known)
        found["told"][name] = {
            target: _told([entries[k] for k in chosen], answers, target) for target in TARGETS
        }
    return found


def beside(
    predictors: Mapping[str, Predictor], entries: Sequence[Entry], store: Store | None = None
) -> dict[str, Any]:
    """Scores without formula, as in `benchmark`, of several runs by their names: what a change of
    the training does for measured patterns."""
    is_known = None if store is None else _in_training(entries, store)
    return {
        name: _by_group(entries, dict(enumerate(_ask(predictor, entries, False))), is_known)
        for name, predictor in predictors.items()
    }


def _ask(predictor: Predictor, entries: Sequence[Entry], with_formula: bool) -> list[Answer]:
    samples = [predictor.sample(e.pattern, e.formula if with_formula else None) for e in entries]
    return predictor.predict_all(samples)


def _by_group(
    entries: Sequence[Entry], answers: Mapping[int, Answer], is_known: np.ndarray | None
) -> dict[str, Any]:
    """Scores of the entries that have an answer, by their places: of all and by group."""
    chosen = list(answers)
    groups = {"all": chosen}
    groups |= _grouped(chosen, lambda k: f"source: {entries[k].source}")
    groups |= _grouped(chosen, lambda k: f"system: {entries[k].crystal_system}")
    if is_known is not None:
        groups |= _grouped(chosen, lambda k: f"in training: {'yes' if is_known[k] else 'no'}")
    return {
        group: _scores([entries[k] for k in places], [answers[k] for k in places])
        for group, places in groups.items()
    }


def _told(
    entries: Sequence[Entry], answers: Sequence[Answer], target: str
) -> dict[str, list[float] | list[bool]]:
    """Confidence in the best class, and whether it is right, of what is told at all."""
    pairs = [
        (e, a.classes[target]) for e, a in zip(entries, answers, strict=True) if target in a.classes
    ]
    return {
        "confidence": [_rounded(found.probabilities[found.best]) for _, found in pairs],
        "right": [_same(found.best, getattr(e, target), target) for e, found in pairs],
    }


def _grouped(places: Sequence[int], of: Callable[[int], str]) -> dict[str, list[int]]:
    names = sorted({of(k) for k in places})
    return {name: [k for k in places if of(k) == name] for name in names}


def _in_training(entries: Sequence[Entry], store: Store) -> np.ndarray:
    """Whether (n,) the training split has an entry of the same composition and space group."""
    rows = store.indices("train")
    keys, groups = store.formula_keys()[rows], store.column("space_group")[rows]
    known = set(zip(keys.tolist(), map(str, groups.tolist()), strict=True))
    return np.array([(_key(entry.formula), entry.space_group) in known for entry in entries])


def _key(formula: str | None) -> int | None:
    """Key of a formula, as `Store.formula_keys` makes it."""
    if formula is None:
        return None
    z, fraction = composition_columns(*parse_formula(formula))
    words = composition_words(z.astype(np.uint8), fraction.astype(np.float32))
    return int(row_keys(words, np.array([0, len(z)]))[0])


def _scores(entries: Sequence[Entry], answers: Sequence[Answer]) -> dict[str, Any]:
    """Per target: fraction right of all (an answer that is not given is not right), of one pattern
    a phase on average, the fraction that was answered and the fraction of it that is right, and of
    what is told `OF_TOLD`."""
    scores: dict[str, Any] = {"n": len(entries)}
    for target in TARGETS:
        best = [a.classes[target].best if target in a.classes else None for a in answers]
        true = [getattr(entry, target) for entry in entries]
        right = np.array([_same(b, t, target) for b, t in zip(best, true, strict=True)])
        told = [target in a.classes for a in answers]
        given = np.array(
            [told_k and a.classes[target].known for told_k, a in zip(told, answers, strict=True)]
        )
        sure = np.array(
            [a.classes[target].probabilities[b] for a, b in zip(answers, best, strict=True) if b]
        )
        phases = [entry.phase for entry in entries]
        by_phase = [np.mean(right[[p == phase for p in phases]]) for phase in set(phases)]
        scores[target] = {
            "accuracy": _rounded(right.mean()),
            "accuracy_by_phase": _rounded(np.mean(by_phase)),
            "answered": _rounded(given.mean()),
            "accuracy_of_answered": _rounded(right[given].mean()) if given.any() else None,
        } | _of_told(sure, right[told])
    return scores


def _of_told(sure: np.ndarray, right: np.ndarray) -> dict[str, float | None]:
    """`OF_TOLD` of answers of this confidence (n,), and whether they are right (n,)."""
    if not sure.size:
        return dict.fromkeys(OF_TOLD)
    surest = np.argsort(-sure, kind="stable")[: (len(sure) + 1) // 2]
    values = (
        right[surest].mean(),
        sure.mean(),
        calibration_error(sure, right),
        calibration_error_by_chance(sure),
    )
    return dict(zip(OF_TOLD, map(_rounded, values), strict=True))


def _same(best: str | None, true: str, target: str) -> bool:
    if target == "space_group" and best is not None:
        return _FIRST_OF_PAIR.get(best, best) == _FIRST_OF_PAIR.get(true, true)
    return best == true


def _rounded(value: float) -> float:
    return round(float(value), 4)
