"""What a cell of a table can read, as one frame: a number a (run, quantity, seed) at one scale.

A quantity is named by what it is of and how it is read:

    formation_energy_per_atom/final, crystal_system/best, ../selected, ../p05, ../new_formula
    transfer/final             the one target of a transfer run, whichever it is at that scale
    accuracy/cubic             by crystal system; accuracy/macro counts every system the same
    embedding/cubic            silhouettes in the embedding space; projection/.. in two dimensions
    objective.loss/final       what a pretraining reports
    cost/wall                  what a run cost
    pattern/slope              what the pattern adds to the formula, from kept predictions
    speed_up, gap, exponent .. what is derived from several runs, under the last of them

Scores are those of the test split.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxact.analysis import frame, pattern, scaling
from xxact.analysis.published import printed

if TYPE_CHECKING:
    import pandas as pd

ENERGY = "formation_energy_per_atom"
SYSTEM = "crystal_system"
NOT_RECORDED = "not recorded"
NOT_APPLICABLE = "n/a"
NOT_REACHED = "not reached"
COLUMNS = ("run", "quantity", "seed", "value", "unit", "n", "target", "text")
#: How a score is read: the paper's reading first.
READINGS = {"best": "best on test", "final": "final", "selected": "selected on validation"}
#: Shares of the training after which Table 2 is read, and how far off an evaluation may be.
PROGRESS = {"p05": 0.05, "p15": 0.15, "p25": 0.25}
PROGRESS_TOLERANCE = 0.005
#: The run that pretraining is measured against.
BASELINE = "table2/none"
COSTS = {
    "wall": ("wall_s", "min", 1 / 60),
    "memory": ("peak_memory_bytes", "GiB", 2.0**-30),
    "rate": ("samples_per_s", "samples/s", 1),
    "steps": ("steps", "steps", 1),
    "parameters": ("parameters", "parameters", 1),
    "restarts": ("restarts", "restarts", 1),
}


def quantities(root: str | Path) -> dict[str, pd.DataFrame]:
    """Scale -> every quantity of every run; `text` stands where there is no value."""
    names = ("load_runs", "load", "load_curves", "load_classes", "load_silhouettes")
    loaded = [getattr(frame, name)(root) for name in names]
    scales = dict.fromkeys(loaded[0]["scale"])
    floors = frame.load_floors(root)
    return {
        scale: _of_scale(
            *(part[part["scale"] == scale] for part in loaded),
            pattern.quantities(pattern.energies(root, scale), floors[floors["scale"] == scale]),
        )
        for scale in scales
    }


def _of_scale(
    runs: pd.DataFrame,
    loaded: pd.DataFrame,
    curves: pd.DataFrame,
    classes: pd.DataFrame,
    silhouettes: pd.DataFrame,
    adds: pd.DataFrame,
) -> pd.DataFrame:
    import pandas as pd

    scores = _scores(loaded, set(curves["run"]))
    progress = _progress(curves)
    spaces = silhouettes["space"] + "/" + silhouettes["class"]
    parts = [
        scores,
        progress,
        _transfers(scores, runs),
        _classes(classes),
        silhouettes.assign(quantity=spaces, unit="", target=""),
        _rows(_costs(runs)),
        _rows(_speed_ups(curves, progress, runs)),
        _rows(_scaling(scores, runs)),
        _excess(scores),
        adds,
    ]
    found = pd.concat([part.reindex(columns=COLUMNS) for part in parts if len(part)])
    # runs on the whole training split stand in the scaling experiment and its control alike
    found = found.drop_duplicates(["run", "quantity", "seed"])
    found["text"] = found["text"].fillna("").where(found["value"].isna(), "")
    return found.reset_index(drop=True)


def aggregate(found: pd.DataFrame) -> pd.DataFrame:
    """Seeds made one: by (run, quantity), with mean, std, seeds, n, unit, target and text.

    mean and std are missing where a seed has no value, std also where there is one seed alone;
    text then says what is known.
    """
    grouped = found.groupby(["run", "quantity"], sort=False)
    whole = grouped["value"].count() == grouped.size()
    summary = grouped.agg(
        mean=("value", "mean"),
        std=("value", "std"),
        values=("value", list),
        seeds=("seed", lambda seeds: tuple(sorted(seeds))),
        n=("n", "first"),
        unit=("unit", "first"),
        target=("target", "first"),
        text=("text", list),
    )
    summary.loc[~whole, ["mean", "std"]] = float("nan")
    return summary


def _rows(rows: Iterator[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS)


def _scores(loaded: pd.DataFrame, trained_in_steps: set[str]) -> pd.DataFrame:
    """Scores on test by reading; what has no curve (a forest) reads the same in all three."""
    import pandas as pd

    scores = loaded[loaded["split"].str.startswith("test")].copy()
    special = scores["split"].str.removeprefix("test").str.removeprefix("_")
    scores["reading"] = special.where(special != "", scores["reading"]).replace(
        "best_on_test", "best"
    )
    plain = ~scores["run"].isin(trained_in_steps) & (scores["reading"] == "final")
    copies = [scores[plain].assign(reading=reading) for reading in ("best", "selected")]
    scores = pd.concat([scores, *copies])
    objective = scores["target"] == "objective"
    name = scores["target"].where(~objective, "objective." + scores["metric"])
    scores["quantity"] = name + "/" + scores["reading"]
    scores["text"] = scores["value"].isna().map({True: "no samples", False: ""})
    return scores


def _progress(curves: pd.DataFrame) -> pd.DataFrame:
    """Scores of the evaluation at each share of the training, where one was made there."""
    import pandas as pd

    test = curves[(curves["split"] == "test") & (curves["target"] != "objective")]
    found = []
    for key, share in PROGRESS.items():
        off = (test["progress"] - share).abs()
        near = test[off <= PROGRESS_TOLERANCE].assign(off=off).sort_values("off", kind="stable")
        near = near.drop_duplicates(["run", "seed", "target"])
        found.append(near.assign(quantity=near["target"] + "/" + key))
    return pd.concat(found)


def _transfers(scores: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    transfers = scores[scores["run"].isin(runs.loc[runs["transfer"], "run"])]
    return transfers.assign(quantity="transfer/" + transfers["reading"])


def _excess(scores: pd.DataFrame) -> pd.DataFrame:
    """How much larger CrabNet's error is than its authors', in %, where it runs on their data."""
    errors = scores[(scores["run"] == "crabnet_check/crabnet") & (scores["split"] == "test")]
    reference = float(printed("crabnet_check/rows/crabnet"))
    return errors.assign(
        quantity="excess/" + errors["reading"],
        value=100 * (errors["value"] / reference - 1),
        unit="%",
    )


def _classes(classes: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by crystal system, and its mean over the systems that occur."""
    import pandas as pd

    single = classes.assign(quantity="accuracy/" + classes["class"])
    occurring = single.dropna(subset="value")
    macro = occurring.groupby(["run", "seed"], as_index=False, sort=False).agg(
        {"value": "mean", "n": "sum", "unit": "first", "target": "first"}
    )
    return pd.concat([single, macro.assign(quantity="accuracy/macro")])


def _costs(runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What a run cost; what is not trained in steps may lack some of it."""
    for run in runs.itertuples():
        place = {"run": run.run, "seed": run.seed}
        for key, (field, unit, factor) in COSTS.items():
            value = getattr(run, field)
            text = NOT_RECORDED if run.steps else NOT_APPLICABLE
            value = value * factor if value == value and value is not None else None
            yield place | {"quantity": f"cost/{key}", "unit": unit, "value": value, "text": text}
        yield place | {"quantity": "cost/hardware", "unit": "", "text": _hardware(run)}


def _hardware(run: Any) -> str:
    """What a run ran on, in words."""
    count = f"{run.processes:.0f} x " if (run.processes or 1) > 1 else ""
    cores = f", {run.cores:.0f} cores" if run.device == "cpu" and run.cores else ""
    precision = f", {run.precision}" if isinstance(run.precision, str) else ""
    return f"{count}{run.hardware}{cores}{precision}"


def _speed_ups(
    curves: pd.DataFrame, progress: pd.DataFrame, runs: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Steps to the baseline's own MAE and accuracy at 25 % of its training, seed against seed.

    speed_up: the baseline's steps over the run's; with_pretraining: the same with the steps of
    the pretraining added to the run's. steps, resolution: those steps, and the interval between
    two evaluations, within which they are known.
    """
    curves = curves[curves["table"] == "table2"]
    steps = {key: sorted(set(part["step"])) for key, part in curves.groupby(["run", "seed"])}
    test = curves[(curves["split"] == "test") & curves["target"].isin([ENERGY, SYSTEM])]
    both = test.pivot_table(index=["run", "seed", "step"], columns="target", values="value")
    both = both.reindex(columns=[ENERGY, SYSTEM]).dropna()
    wanted = progress[progress["run"] == BASELINE].set_index(["seed", "quantity"])["value"]
    trained = runs.set_index(["run", "seed"])["steps"]

    def needed(run: str, seed: int) -> float | None:
        if (run, seed) not in both.index.droplevel("step"):
            return None
        curve = both.loc[run, seed]
        reached = (curve[ENERGY] <= wanted[seed, f"{ENERGY}/p25"]) & (
            curve[SYSTEM] >= wanted[seed, f"{SYSTEM}/p25"]
        )
        return curve.index[reached].min() if reached.any() else None

    for run, seed in steps:
        place = {"run": run, "seed": seed}
        gaps = [b - a for a, b in pairwise(steps[run, seed])]
        if gaps:
            yield place | {"quantity": "resolution", "unit": "steps", "value": max(gaps)}
        if not all((seed, f"{t}/p25") in wanted.index for t in (ENERGY, SYSTEM)):
            continue
        own, baseline = needed(run, seed), needed(BASELINE, seed)
        yield place | {"quantity": "steps", "unit": "steps", "value": own, "text": NOT_REACHED}
        first = (run.replace("/", "/pretrain_"), seed)
        for quantity, extra in {"speed_up": 0, "with_pretraining": trained.get(first)}.items():
            if extra is not None:
                value = baseline / (own + extra) if own and baseline else None
                place |= {"quantity": quantity, "unit": "x"}
                yield place | {"value": value, "text": NOT_REACHED}


def _scaling(scores: pd.DataFrame, runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Training samples; gaps between the models at a size; and power laws, by seed."""
    samples = runs.set_index(["run", "seed"])["n_train"]
    for (run, seed), n in samples.items():
        place = {"run": run, "seed": seed, "quantity": "samples"}
        yield place | {"value": n, "unit": "samples"}
    best = scores[scores["quantity"] == f"{ENERGY}/best"].set_index(["run", "seed"])
    for control in scaling.CONTROLS:
        for size in scaling.sizes(control):
            first, second = (scaling.run_name(m, size, control) for m in scaling.MODELS)
            for seed in _shared(best, [first, second]):
                yield {
                    "run": second,
                    "seed": seed,
                    "quantity": "gap",
                    "value": best.loc[(first, seed), "value"] - best.loc[(second, seed), "value"],
                    "unit": "meV/atom",
                    "n": best.loc[(first, seed), "n"],
                    "target": ENERGY,
                }
        for model in scaling.MODELS:
            names = [scaling.run_name(model, size, control) for size in scaling.sizes(control)]
            for seed in _shared(best, names):
                sizes = [samples[name, seed] / 1e6 for name in names]
                losses = [best.loc[(name, seed), "value"] / 1e3 for name in names]
                law = scaling.fit_power_law(sizes, losses)
                for parameter, unit in {"prefactor": "eV/atom", "exponent": ""}.items():
                    yield {
                        "run": names[-1],
                        "seed": seed,
                        "quantity": parameter + control,
                        "value": law and getattr(law, parameter),
                        "unit": unit if law else "",
                        "text": "one size",
                    }


def _shared(by_run_and_seed: pd.DataFrame, runs: list[str]) -> list[int]:
    """The seeds that all of `runs` have."""
    seeds = [{s for r, s in by_run_and_seed.index if r == run} for run in runs]
    return sorted(set.intersection(*seeds))
