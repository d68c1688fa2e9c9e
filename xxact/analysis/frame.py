"""The public interface for notebooks: result files as tidy pandas frames, one value a row.

    from xxact.analysis import load
    scores = load("results")
    final = scores.query("scale == 'mini' and reading == 'final' and split == 'test'")
    final.pivot_table(index="run", columns="target", values="value")

Every loader takes the root of a tree (`results`, `runs`) and reads all of its scales. A relative
root is looked for in the working directory and then beside the package. `UserError` where there is
no result, where a file is damaged, and where files do not belong together: another data set within
a scale, or seeds of one run with different specs (see `xxact.analysis.provenance`).

These columns stand in every frame of runs, and join them:

    scale, table, row, run   "mini", "table1", "xxact_energy", "table1/xxact_energy"
    seed                     int
    data, commit             first 12 digits of the data set's hash and of the commit
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxact.analysis.provenance import predictions_of, read_tree, tree_root
from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS, UNITS, Target
from xxact.experiments.result import (
    Result,
    Score,
    Scores,
    data_path,
    read_data_summary,
    result_path,
)

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
KEYS = ("scale", "table", "row", "run", "seed")
SCORE = ("target", "metric", "value", "unit", "n")
ORIGIN = ("data", "commit")


def unit_of(metric: str) -> str:
    """The unit that a metric's key states: `meV/atom` of `mae_mev_per_atom`, "" of a loss."""
    for target in (CRYSTAL_SYSTEM, *(Target(name, unit) for name, unit in UNITS.items())):
        if target.metric == metric:
            return target.metric_unit
    return metric.removeprefix("mae_").replace("_per_", "/") if metric.startswith("mae_") else ""


def load(root: str | Path = "results") -> pd.DataFrame:
    """Scores of every run: a row a (run, seed, split, target, reading, metric).

    split: train, validation, test, or test_new_formula and test_new_chemical_system, the test
    samples whose formula or chemical system no training sample has. target: of a pretraining
    `objective`. reading: `final` (last weights), `selected` (at the evaluation that was best on
    the validation split, `step`) or `best_on_test` (over the curve, each target on its own: the
    paper's). What is not trained in steps (a forest) has final scores alone. unit and n: of
    `value`, and the samples behind it.
    """

    def rows(result: Result) -> Iterator[Row]:
        metrics = result.metrics
        for split in ("validation", "test", "test_new_formula", "test_new_chemical_system"):
            place = {"split": split, "reading": "final", "step": result.cost.steps}
            yield from _scores(getattr(metrics.final, split), place)
        if metrics.selected:
            for split in ("validation", "test"):
                place = {"split": split, "reading": "selected", "step": metrics.selected.step}
                yield from _scores(getattr(metrics.selected, split), place)
        place = {"split": "test", "reading": "best_on_test", "step": None}
        yield from _scores(metrics.best_on_test, place)

    return _frame(root, rows, "split", "reading", "step", *SCORE)


def load_curves(root: str | Path = "results") -> pd.DataFrame:
    """Every evaluation during training: a row a (run, seed, split, target, step, metric).

    progress: share of the run's steps done, 0 to 1. The loss since the evaluation before has the
    split `train` and the target `objective`, without n.
    """

    def rows(result: Result) -> Iterator[Row]:
        for point in result.curve:
            place = {"step": point.step, "progress": point.progress, "epoch": point.epoch}
            if point.train_loss is not None:
                loss = {"split": "train", "target": "objective", "metric": "loss", "unit": ""}
                yield place | loss | {"value": point.train_loss, "n": None}
            for split in ("validation", "test"):
                yield from _scores(getattr(point, split), place | {"split": split})

    return _frame(root, rows, "split", "step", "progress", "epoch", *SCORE)


def load_classes(root: str | Path = "results") -> pd.DataFrame:
    """Test scores by class of the last weights: a row a (run, seed, target, class, metric)."""

    def rows(result: Result) -> Iterator[Row]:
        found = result.per_class and result.per_class.crystal_system
        for name, score in (found or {}).items():
            yield from _scores({CRYSTAL_SYSTEM.name: score}, {"class": name})

    return _frame(root, rows, "class", *SCORE)


def load_confusion(root: str | Path = "results") -> pd.DataFrame:
    """Confusion on test of the last weights: a row a (run, seed, true, predicted), with `count`."""

    def rows(result: Result) -> Iterator[Row]:
        matrix = (result.per_class and result.per_class.confusion) or []
        for true, counts in zip(CRYSTAL_SYSTEMS, matrix, strict=False):
            for predicted, count in zip(CRYSTAL_SYSTEMS, counts, strict=True):
                yield {"true": true, "predicted": predicted, "count": count}

    return _frame(root, rows, "true", "predicted", "count")


def load_elements(root: str | Path = "results") -> pd.DataFrame:
    """Test scores of the samples that hold an element: a row a (run, seed, target, element)."""

    def rows(result: Result) -> Iterator[Row]:
        for target, elements in (result.per_element or {}).items():
            for symbol, score in elements.items():
                yield from _scores({target: score}, {"element": symbol})

    return _frame(root, rows, "element", *SCORE)


def load_embeddings(root: str | Path = "results") -> pd.DataFrame:
    """Test samples in the plane of the two principal components: a row a (run, seed, id).

    x, y: the components; x_share, y_share: the share of the variance that each explains (NaN where
    there is no second one).
    """

    def rows(result: Result) -> Iterator[Row]:
        embedding = result.embedding
        if embedding is None:
            return
        shares = [*embedding.explained_variance_ratio, None, None]
        samples = zip(embedding.ids, embedding.crystal_system, embedding.pca, strict=True)
        for name, system, (x, y) in samples:
            place = {"id": name, "crystal_system": system, "x": x, "y": y}
            yield place | {"x_share": shares[0], "y_share": shares[1]}

    return _frame(root, rows, "id", "crystal_system", "x", "y", "x_share", "y_share")


def load_silhouettes(root: str | Path = "results") -> pd.DataFrame:
    """Silhouettes (-1 to 1) of the crystal systems: a row a (run, seed, space, class).

    space: `embedding`, or `projection` to two dimensions; class: a crystal system, or `mean` over
    all samples.
    """

    def rows(result: Result) -> Iterator[Row]:
        embedding = result.embedding
        for space, values in (embedding.silhouette if embedding else {}).items():
            for name, value in values.items():
                n = embedding.n if name == "mean" else embedding.crystal_system.count(name)
                yield {"space": space, "class": name, "value": value, "n": n}

    return _frame(root, rows, "space", "class", "value", "n")


def load_runs(root: str | Path = "results") -> pd.DataFrame:
    """What each run was: a row a (run, seed), with its spec, data, cost, hardware and command.

    model: its kind; targets, init: names; n_train: training samples; wall_s is summed over
    restarts, peak_memory_bytes is the process's.
    """

    def rows(result: Result) -> Iterator[Row]:
        spec, cost, hardware = result.spec, result.cost, result.hardware
        yield {
            "model": str(spec.model.get("kind", "")),
            "objective": spec.objective,
            "targets": tuple(spec.targets),
            "init": spec.init,
            "transfer": spec.transfer,
            "train_fraction": spec.train_fraction,
            "equal_steps": spec.equal_steps,
            "epochs": spec.epochs,
            "batch_size": spec.batch_size,
            "n_train": result.data.n.get("train"),
            "n_test": result.data.n.get("test"),
            "wall_s": cost.wall_s,
            "restarts": cost.restarts,
            "peak_memory_bytes": cost.peak_memory_bytes,
            "samples_per_s": cost.samples_per_s,
            "parameters": cost.parameters,
            "steps": cost.steps,
            "samples": cost.samples,
            "device": hardware.device,
            "hardware": hardware.name,
            "cores": hardware.cores,
            "processes": hardware.processes,
            "precision": hardware.precision,
            "command": result.provenance.command,
        }

    return _frame(root, rows)


def load_predictions(
    root: str | Path = "results",
    scale: str | None = None,
    runs: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Kept predictions on the test split: a row a (run, seed, target, sample); empty without any.

    scale, runs: read only these. true, predicted: in the target's unit (eV/atom), or the
    index of a class; samples without a label are left out. permuted_any, permuted_formula: the
    prediction with the pattern of another test sample, or of another crystal of the same formula;
    NaN where there is none. formula: a number a formula; formula_in_training: whether a training
    sample has it; n_polymorphs: samples of the data set that have it.
    """
    import pandas as pd

    columns = (*KEYS, "target", "id", "true", "predicted", "permuted_any", "permuted_formula")
    columns += ("formula", "formula_in_training", "n_polymorphs", *ORIGIN)
    frames = [
        frame.assign(**_keys(result), **_origin(result))
        for result in read_tree(root)
        if scale in (None, result.scale) and (runs is None or result.run in runs)
        for frame in _predictions(root, result)
    ]
    return pd.concat(frames)[list(columns)] if frames else pd.DataFrame(columns=list(columns))


def load_data(root: str | Path = "results") -> pd.DataFrame:
    """How many samples a data set has: a row a (scale, split, kind, name), with n.

    kind: `split` (all of it, name ""), `crystal_system`, or `element` (samples that hold it).
    """
    import pandas as pd

    found = []
    for scale in dict.fromkeys(result.scale for result in read_tree(root)):
        path = data_path(tree_root(root), scale)
        if not path.exists():
            continue
        summary = read_data_summary(path)
        counts = {"split": {split: {"": n} for split, n in summary.n.items()}}
        counts |= {"crystal_system": summary.crystal_systems, "element": summary.elements}
        found += [
            (scale, summary.name, split, kind, name, n)
            for kind, splits in counts.items()
            for split, values in splits.items()
            for name, n in values.items()
        ]
    return pd.DataFrame(found, columns=["scale", "data_set", "split", "kind", "name", "n"])


def load_floors(root: str | Path = "results") -> pd.DataFrame:
    """Error of the median of each formula: a row a (scale, target, split).

    Of all samples that have the formula; 0 for one that has it to itself. What no model of
    compositions can beat, and all that a pattern can add.
    """
    import pandas as pd

    found = []
    for scale in dict.fromkeys(result.scale for result in read_tree(root)):
        path = data_path(tree_root(root), scale)
        floors = read_data_summary(path).formula_floors if path.exists() else {}
        for target, splits in floors.items():
            for split, scores in splits.items():
                place = {"scale": scale, "split": split}
                found += _scores({target: scores}, place)
    return pd.DataFrame(found, columns=["scale", "split", *SCORE])


def _frame(
    root: str | Path, rows: Callable[[Result], Iterator[Row]], *columns: str
) -> pd.DataFrame:
    """One frame of what `rows` says of each result; without `columns`, all that it says."""
    import pandas as pd

    found = [
        _keys(result) | row | _origin(result) for result in read_tree(root) for row in rows(result)
    ]
    return pd.DataFrame(found, columns=[*KEYS, *columns, *ORIGIN] if columns else None)


def _keys(result: Result) -> Row:
    table, row = result.run.split("/")
    names = (result.scale, table, row, result.run, result.seed)
    return dict(zip(KEYS, names, strict=True))


def _origin(result: Result) -> Row:
    commit = result.provenance.git_commit
    return {"data": result.data.content_sha256[:12], "commit": commit and commit[:12]}


def _scores(scores: Scores | None, place: Row) -> Iterator[Row]:
    """A row for each metric of each target."""
    for target, score in (scores or {}).items():
        yield from ({**place, "target": target, **metric} for metric in _metrics(score))


def _metrics(score: Score) -> Iterator[Row]:
    for metric, value in score.items():
        if metric != "n":
            yield {"metric": metric, "value": value, "unit": unit_of(metric), "n": int(score["n"])}


def _predictions(root: str | Path, result: Result) -> Iterator[pd.DataFrame]:
    """One frame for each target of a run that kept its predictions."""
    import numpy as np
    import pandas as pd

    path = result_path(tree_root(root), result.scale, result.run, result.seed)
    kept = predictions_of(path, result)
    if kept is None:
        return
    from xxact.experiments import predictions

    arrays = predictions.read(kept)
    samples = {key: arrays[key] for key in ("formula", "formula_in_training", "n_polymorphs")}
    samples["id"] = np.char.decode(arrays["id"], "utf-8")
    for target in (key.removesuffix(".true") for key in arrays if key.endswith(".true")):
        true = arrays[f"{target}.true"]
        frame = pd.DataFrame({"target": target, **samples})
        for name in ("true", "predicted", "permuted_any", "permuted_formula"):
            values = arrays.get(f"{target}.{name}", np.full(len(true), np.nan))
            known = values >= 0 if values.dtype.kind == "i" else np.isfinite(values)
            frame[name] = np.where(known, values.astype(np.float64), np.nan)
        yield frame[frame["true"].notna()]
