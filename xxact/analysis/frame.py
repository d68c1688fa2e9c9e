"""The public interface for notebooks: result files as tidy pandas frames, one value a row.

    from xxact.analysis import load
    scores = load("results")
    final = scores.query("scale == 'mini' and reading == 'final' and split == 'test'")
    final.pivot_table(index="run", columns="target", values="value")

Every loader takes the root of a tree (`results`, `runs`) and reads one scale, or all of them. A
relative root is looked for in the working directory and then beside the package. `UserError` where
there is no result, where a file is damaged, and where files do not belong together: another data
set within a scale, or seeds of one run with different specs (see `xxact.analysis.provenance`).

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
    Cost,
    DataSummary,
    Hardware,
    Result,
    Scores,
    SpecRecord,
    data_path,
    read_data_summary,
    result_path,
)
from xxact.training.readings import EARLY

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
KEYS = ("scale", "table", "row", "run", "seed")
SCORE = ("target", "metric", "value", "unit", "n")
ORIGIN = ("data", "commit")
#: The columns of predictions that are in the target's unit.
PREDICTED = ("true", "predicted", "permuted_any", "permuted_formula", "selected", *EARLY)
#: Where silhouettes are taken: of the embeddings, or of their two principal components.
SPACES = ("embedding", "projection")
#: What `load_runs` takes as it stands from a result.
RECORDED = tuple(
    field
    for part in (SpecRecord, Cost, Hardware)
    for field in part.model_fields
    if field not in ("name", "reproduces")
)


def _loader(*columns: str) -> Callable[[Callable[[Result], Iterator[Row]]], Callable]:
    """A loader with these columns, of a generator of the rows of one result."""

    def made(rows: Callable[[Result], Iterator[Row]]) -> Callable[..., pd.DataFrame]:
        def loader(root: str | Path = "results", scale: str | None = None) -> pd.DataFrame:
            import pandas as pd

            found = [row | _of(result) for result in _results(root, scale) for row in rows(result)]
            return pd.DataFrame(found, columns=[*KEYS, *columns, *ORIGIN])

        loader.__name__, loader.__doc__ = rows.__name__, rows.__doc__
        return loader

    return made


@_loader("split", "reading", "step", *SCORE)
def load(result: Result) -> Iterator[Row]:
    """Scores of every run: a row a (run, seed, split, target, reading, metric).

    split: train, validation, test, or test_new_formula and test_new_chemical_system, the test
    samples whose formula or chemical system no training sample has. target: of a pretraining
    `objective`. reading: `final` (last weights), `selected` (at the evaluation that was best on
    the validation split, `step`) or `best_on_test` (over the curve, each target on its own: the
    paper's). What is not trained in steps (a forest) has final scores alone. unit and n: of
    `value`, and the samples behind it.
    """
    metrics = result.metrics
    final = {"reading": "final", "step": result.cost.steps}
    for split in ("validation", "test", "test_new_formula", "test_new_chemical_system"):
        yield from _scores(getattr(metrics.final, split), **final, split=split)
    if metrics.selected:
        selected = {"reading": "selected", "step": metrics.selected.step}
        for split in ("validation", "test"):
            yield from _scores(getattr(metrics.selected, split), **selected, split=split)
    yield from _scores(metrics.best_on_test, reading="best_on_test", step=None, split="test")


@_loader("split", "step", "progress", "epoch", *SCORE)
def load_curves(result: Result) -> Iterator[Row]:
    """Every evaluation during training: a row a (run, seed, split, target, step, metric).

    progress: share of the run's steps done, 0 to 1. The loss since the evaluation before has the
    split `train` and the target `objective`, without n.
    """
    for point in result.curve:
        place = {"step": point.step, "progress": point.progress, "epoch": point.epoch}
        if point.train_loss is not None:
            loss = {"split": "train", "target": "objective", "metric": "loss", "unit": ""}
            yield place | loss | {"value": point.train_loss, "n": None}
        for split in ("validation", "test"):
            yield from _scores(getattr(point, split), **place, split=split)


@_loader("class", *SCORE)
def load_classes(result: Result) -> Iterator[Row]:
    """Test scores by class of the last weights: a row a (run, seed, target, class, metric)."""
    found = result.per_class and result.per_class.crystal_system
    for name, score in (found or {}).items():
        yield from _scores({CRYSTAL_SYSTEM.name: score}, **{"class": name})


@_loader("true", "predicted", "count")
def load_confusion(result: Result) -> Iterator[Row]:
    """Confusion on test of the last weights: a row a (run, seed, true, predicted), with `count`."""
    matrix = (result.per_class and result.per_class.confusion) or []
    for true, counts in zip(CRYSTAL_SYSTEMS, matrix, strict=False):
        for predicted, count in zip(CRYSTAL_SYSTEMS, counts, strict=True):
            yield {"true": true, "predicted": predicted, "count": count}


@_loader("element", *SCORE)
def load_elements(result: Result) -> Iterator[Row]:
    """Test scores of the samples that hold an element: a row a (run, seed, target, element)."""
    for target, elements in (result.per_element or {}).items():
        for symbol, score in elements.items():
            yield from _scores({target: score}, element=symbol)


@_loader("id", "crystal_system", "x", "y", "x_share", "y_share", *SPACES)
def load_embeddings(result: Result) -> Iterator[Row]:
    """Test samples in the plane of the two principal components: a row a (run, seed, id).

    x, y: the components; x_share, y_share: the share of the variance that each explains (NaN where
    there is no second one). embedding, projection: silhouette of the sample in either space, where
    that was recorded.
    """
    if (embedding := result.embedding) is None:
        return
    shares = dict(zip(("x_share", "y_share"), embedding.explained_variance_ratio, strict=False))
    for k, (x, y) in enumerate(embedding.pca):
        sample = {"id": embedding.ids[k], "crystal_system": embedding.crystal_system[k]}
        silhouettes = {s: values[k] for s, values in embedding.silhouette_of_sample.items()}
        yield sample | {"x": x, "y": y} | shares | silhouettes


@_loader("space", "class", "value", "n")
def load_silhouettes(result: Result) -> Iterator[Row]:
    """Silhouettes (-1 to 1) of the crystal systems: a row a (run, seed, space, class).

    space: `embedding`, or `projection` to two dimensions; class: a crystal system, or `mean` over
    all samples.
    """
    embedding = result.embedding
    for space, values in (embedding.silhouette if embedding else {}).items():
        for name, value in values.items():
            n = embedding.n if name == "mean" else embedding.crystal_system.count(name)
            yield {"space": space, "class": name, "value": value, "n": n}


@_loader(*RECORDED, "n_train", "n_test", "hardware", "command")
def load_runs(result: Result) -> Iterator[Row]:
    """What each run was: a row a (run, seed), with its spec, data, cost, hardware and command.

    model: its kind; targets, init: names; n_train: training samples; wall_s is summed over
    restarts, peak_memory_bytes is the process's.
    """
    yield {**dict(result.spec), **dict(result.cost), **dict(result.hardware)} | {
        "model": str(result.spec.model.get("kind", "")),
        "targets": tuple(result.spec.targets),
        "n_train": result.data.n.get("train"),
        "n_test": result.data.n.get("test"),
        "hardware": result.hardware.name,
        "command": result.provenance.command,
    }


def load_predictions(
    root: str | Path = "results",
    scale: str | None = None,
    runs: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Kept predictions on the test split: a row a (run, seed, target, sample); empty without any.

    scale, runs: read only these. true, predicted: in the target's unit (eV/atom), or the
    index of a class; samples without a label are left out. permuted_any, permuted_formula: the
    prediction with the pattern of another test sample, or of another crystal of the same formula;
    p05, p15, p25: that after so many % of the training; NaN where there is none. rank: of the true
    class by its probability, 1 for the likeliest, the last of equals; NaN of numbers. formula: a
    number a formula; formula_in_training: whether a training sample has it; n_polymorphs: samples
    of the data set that have it. origin: where the true value comes from, "" where that is not
    known.
    """
    import pandas as pd

    samples = ("formula", "formula_in_training", "n_polymorphs")
    columns = [*KEYS, "target", "id", *PREDICTED, "rank", "origin", *samples, *ORIGIN]
    frames = [
        frame.assign(**_of(result))
        for result in _results(root, scale)
        if runs is None or result.run in runs
        for frame in _predictions(root, result, samples)
    ]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)


def load_data(root: str | Path = "results", scale: str | None = None) -> pd.DataFrame:
    """How many samples a data set has: a row a (scale, split, kind, name), with n.

    kind: `split` (all of it, name ""), `crystal_system`, `space_group`, or `element` (samples that
    hold it).
    """
    import pandas as pd

    found = []
    for name, summary in _summaries(root, scale):
        counts = {"split": {split: {"": n} for split, n in summary.n.items()}}
        counts |= {"crystal_system": summary.crystal_systems, "element": summary.elements}
        counts |= {"space_group": summary.space_groups}
        found += [
            (name, summary.name, split, kind, of, n)
            for kind, splits in counts.items()
            for split, values in splits.items()
            for of, n in values.items()
        ]
    return pd.DataFrame(found, columns=["scale", "data_set", "split", "kind", "name", "n"])


def load_floors(root: str | Path = "results", scale: str | None = None) -> pd.DataFrame:
    """Error of the median of each formula: a row a (scale, target, split).

    Of all samples that have the formula; 0 for one that has it to itself. What no model of
    compositions can beat, and all that a pattern can add.
    """
    import pandas as pd

    found = [
        row
        for name, summary in _summaries(root, scale)
        for target, splits in summary.formula_floors.items()
        for split, score in splits.items()
        for row in _scores({target: score}, scale=name, split=split)
    ]
    return pd.DataFrame(found, columns=["scale", "split", *SCORE])


def unit_of(metric: str) -> str:
    """The unit that a metric's key states: `meV/atom` of `mae_mev_per_atom`, "" of a loss."""
    for target in (CRYSTAL_SYSTEM, *(Target(name, unit) for name, unit in UNITS.items())):
        if target.metric == metric:
            return target.metric_unit
    return metric.removeprefix("mae_").replace("_per_", "/") if metric.startswith("mae_") else ""


def _results(root: str | Path, scale: str | None) -> list[Result]:
    return [result for result in read_tree(root) if scale in (None, result.scale)]


def _summaries(root: str | Path, scale: str | None) -> Iterator[tuple[str, DataSummary]]:
    """The scales that describe their data."""
    for name in dict.fromkeys(result.scale for result in _results(root, scale)):
        path = data_path(tree_root(root), name)
        if path.exists():
            yield name, read_data_summary(path)


def _of(result: Result) -> Row:
    """The columns that every row of a result has."""
    table, row = result.run.split("/")
    names = (result.scale, table, row, result.run, result.seed)
    commit = result.provenance.git_commit
    origin = {"data": result.data.content_sha256[:12], "commit": commit and commit[:12]}
    return dict(zip(KEYS, names, strict=True)) | origin


def _scores(scores: Scores | None, **place: Any) -> Iterator[Row]:
    """A row for each metric of each target."""
    for target, score in (scores or {}).items():
        for metric, value in score.items():
            if metric != "n":
                row = (target, metric, value, unit_of(metric), int(score["n"]))
                yield place | dict(zip(SCORE, row, strict=True))


def _predictions(
    root: str | Path, result: Result, samples: Sequence[str]
) -> Iterator[pd.DataFrame]:
    """One frame for each target of a run that kept its predictions."""
    import numpy as np
    import pandas as pd

    from xxact.experiments import predictions

    kept = predictions_of(
        result_path(tree_root(root), result.scale, result.run, result.seed), result
    )
    arrays = predictions.read(kept) if kept else {}
    for target in (key.removesuffix(".true") for key in arrays if key.endswith(".true")):
        ids = np.char.decode(arrays["id"], "utf-8")
        frame = pd.DataFrame({"target": target, "id": ids, **{key: arrays[key] for key in samples}})
        for name in PREDICTED:
            values = arrays.get(f"{target}.{name}", np.full(len(frame), np.nan))
            known = values >= 0 if values.dtype.kind == "i" else np.isfinite(values)
            frame[name] = np.where(known, values.astype(np.float64), np.nan)
        frame["origin"] = np.char.decode(arrays.get(f"{target}.origin", np.full(len(ids), b"")))
        frame["rank"] = np.nan
        known = frame["true"].notna()
        if f"{target}.probability" in arrays:
            of_class = arrays[f"{target}.probability"][known]
            true = frame.loc[known, "true"].to_numpy(int)
            least = np.take_along_axis(of_class, true[:, None], axis=1)  # (n, 1)
            frame.loc[known, "rank"] = (of_class >= least).sum(axis=1)
        yield frame[known]
