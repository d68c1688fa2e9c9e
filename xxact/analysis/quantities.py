"""What a cell of a table can read, as one frame: a number a (run, quantity, seed) at one scale.

A quantity is named by what it is of and how it is read:

    formation_energy_per_atom/final, crystal_system/best, ../selected, ../p05, ../new_formula
    transfer/final             the one target of a transfer run, whichever it is at that scale
    accuracy/cubic             by crystal system; accuracy/macro counts every system the same
    embedding/cubic            silhouettes in the embedding space; projection/.. in two dimensions
    objective.loss/final       what a pretraining reports
    cost/wall                  what a run cost
    pattern/slope              what the pattern adds to the formula, from kept predictions
    space_group/top5_100       by training examples of the group, from kept probabilities
    speed_up, gap, exponent .. what is derived from several runs, under the last of them

Scores are those of the test split.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxact.analysis import frame, pattern, scaling, space_groups
from xxact.analysis.published import printed
from xxact.training.readings import EARLY, early

if TYPE_CHECKING:
    import pandas as pd

ENERGY = "formation_energy_per_atom"
SYSTEM = "crystal_system"
NOT_RECORDED = "not recorded"
NOT_APPLICABLE = "n/a"
NOT_REACHED = "not reached"
RUN = ["run", "seed"]
COLUMNS = ("run", "quantity", "seed", "value", "unit", "n", "target", "text")
#: How a score is read: the paper's reading first.
READINGS = {"best": "best on test", "final": "final", "selected": "selected on validation"}
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


def quantities(root: str | Path, scale: str) -> pd.DataFrame:
    """Every quantity of every run at a scale; `text` stands where there is no value."""
    import pandas as pd

    names = ("load_runs", "load", "load_curves", "load_classes", "load_silhouettes", "load_floors")
    loaded = (getattr(frame, name)(root, scale) for name in names)
    runs, scores, curves, classes, silhouettes, floors = loaded
    if runs.empty:
        return pd.DataFrame(columns=COLUMNS)
    scores = _scores(scores, set(curves["run"]))
    progress = _progress(curves)
    spaces = silhouettes["space"] + "/" + silhouettes["class"]
    parts = [
        scores,
        progress,
        _transfers(scores, runs),
        _classes(classes),
        silhouettes.assign(quantity=spaces, unit="", target=""),
        _costs(runs),
        _speed_ups(curves, progress, runs),
        _scaling(runs, scaling.measured(root, scale)),
        _excess(scores),
        pattern.quantities(pattern.energies(root, scale), floors),
        *space_groups.quantities(space_groups.ranks(root, scale)),
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
    for _, curve in test.groupby(["run", "seed", "target"], sort=False):
        for key, share in EARLY.items():
            if (place := early(curve["progress"].tolist(), share)) is not None:
                found.append(
                    curve.iloc[[place]].assign(quantity=f"{curve['target'].iloc[0]}/{key}")
                )
    return pd.concat(found) if found else test.assign(quantity="")


def _transfers(scores: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    transfers = scores[scores["run"].isin(runs.loc[runs["transfer"], "run"])]
    return transfers.assign(quantity="transfer/" + transfers["reading"])


def _excess(scores: pd.DataFrame) -> pd.DataFrame:
    """How much larger CrabNet's error is than its authors' best, in %, on their data."""
    runs = "crabnet_check/crabnet", "crabnet_check/crabnet_mat2vec"
    errors = scores[scores["run"].isin(runs) & (scores["split"] == "test")]
    reference = float(printed("crabnet_check/rows/crabnet_mat2vec"))
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


def _costs(runs: pd.DataFrame) -> pd.DataFrame:
    """What a run cost; what is not trained in steps may lack some of it."""
    import pandas as pd

    missing = runs["steps"].astype(bool).map({True: NOT_RECORDED, False: NOT_APPLICABLE})
    costs = [
        runs.assign(
            quantity=f"cost/{key}",
            unit=unit,
            value=factor * runs[field].astype(float),
            text=missing,
        )
        for key, (field, unit, factor) in COSTS.items()
    ]
    words = [_hardware(run) for run in runs.itertuples()]
    return pd.concat([*costs, runs.assign(quantity="cost/hardware", unit="", text=words)])


def _hardware(run: Any) -> str:
    """What a run ran on, in words."""
    count = f"{run.processes:.0f} x " if (run.processes or 1) > 1 else ""
    cores = f", {run.cores:.0f} cores" if run.device == "cpu" and run.cores else ""
    precision = f", {run.precision}" if isinstance(run.precision, str) else ""
    return f"{count}{run.hardware}{cores}{precision}"


def _speed_ups(curves: pd.DataFrame, progress: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Steps to the baseline's own MAE and accuracy at 25 % of its training, seed against seed.

    speed_up: the baseline's steps over the run's; with_pretraining: the same with the steps of
    the pretraining added to the run's. steps, resolution: those steps, and the interval between
    two evaluations, within which they are known.
    """
    curves = curves[curves["table"] == "table2"]
    evaluated = curves.sort_values("step").drop_duplicates([*RUN, "step"]).groupby(RUN)["step"]
    found = evaluated.agg(resolution=lambda steps: steps.diff().max()).reset_index()
    wanted = progress[progress["run"] == BASELINE].set_index(["seed", "quantity"])["value"]
    wanted = wanted.unstack().reindex(columns=[f"{ENERGY}/p25", f"{SYSTEM}/p25"]).dropna()
    test = curves[curves["split"] == "test"]
    both = test.pivot_table(index=[*RUN, "step"], columns="target", values="value").reset_index()
    both = both.reindex(columns=[*RUN, "step", ENERGY, SYSTEM]).merge(wanted, on="seed")
    enough = (both[ENERGY] <= both[f"{ENERGY}/p25"]) & (both[SYSTEM] >= both[f"{SYSTEM}/p25"])
    found = found.merge(both[enough].groupby(RUN)["step"].min().rename("steps"), "left", on=RUN)
    first = runs.assign(run=runs["run"].str.replace("/pretrain_", "/"), pretraining=runs["steps"])
    first = first[first["run"] != runs["run"]]
    found = found.merge(first[[*RUN, "pretraining"]], "left", on=RUN)
    baseline = found["seed"].map(found[found["run"] == BASELINE].set_index("seed")["steps"])
    found["speed_up"] = baseline / found["steps"]
    found["with_pretraining"] = baseline / (found["steps"] + found["pretraining"])
    units = {"resolution": "steps", "steps": "steps", "speed_up": "x", "with_pretraining": "x"}
    long = found.melt([*RUN, "pretraining"], [*units], "quantity")
    long = long.assign(unit=long["quantity"].map(units), text=NOT_REACHED)
    known = long["seed"].isin(wanted.index)
    known &= long["pretraining"].notna() | (long["quantity"] != "with_pretraining")
    return long[known.where(long["quantity"] != "resolution", long["value"].notna())]


def _scaling(runs: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Training samples; gaps between the models at a size; and power laws, by seed."""
    import pandas as pd

    one, other = (measured[measured["model"] == model] for model in scaling.MODELS)
    gaps = other.merge(one, on=["control", "size", "seed"], suffixes=("", "_one"))
    gaps = gaps.assign(quantity="gap", value=gaps["value_one"] - gaps["value"], n=gaps["n_one"])
    laws = []
    for (_, control, seed), own in measured.groupby(["model", "control", "seed"]):
        if len(own) == len(scaling.sizes(control)):
            law = scaling.fit_power_law(own["samples"], own["mae"])
            for name, unit in {"prefactor": "eV/atom", "exponent": ""}.items():
                place = {"run": own["run"].iloc[-1], "seed": seed, "quantity": name + control}
                value = {"value": law and getattr(law, name), "unit": unit if law else ""}
                laws.append(place | value | {"text": "one size"})
    samples = runs.assign(quantity="samples", value=runs["n_train"], unit="samples")
    return pd.concat([samples, gaps, pd.DataFrame(laws, columns=COLUMNS)])
