"""What a pattern adds to a formula, from the kept predictions of formation energies.

A model of compositions gives all crystals of a formula the same energy, so that of the differences
between them it can tell nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame

if TYPE_CHECKING:
    import pandas as pd

#: Runs that are compared, both trained on the formation energy alone.
MODELS = {
    "table1/crabnet_energy": "CrabNet (composition)",
    "table1/xxact_energy": "XxaCT-NN (XRD + composition)",
}
RUNS = tuple(MODELS)
#: Column of the predictions -> which pattern the model read.
PATTERNS = {
    "predicted": "its own",
    "permuted_formula": "a polymorph's",
    "permuted_any": "any sample's",
}


def energies(root: Path, scale: str) -> pd.DataFrame:
    """Predictions of formation energies in meV/atom: a row a (run, seed, test sample)."""
    found = frame.load_predictions(root, scale, RUNS)
    found = found[found["target"] == "formation_energy_per_atom"].copy()
    values = ["true", *PATTERNS]
    found[values] = 1000 * found[values].astype(float)
    return found.assign(model=found["run"].map(MODELS))


def within_formula(found: pd.DataFrame) -> pd.DataFrame:
    """Test samples with others of their formula: `true` and `predicted` less the formula's mean.

    Means are those of the formula's test samples, of one run and seed.
    """
    groups = found.groupby(["run", "seed", "formula"])
    centred = found.assign(
        **{name: found[name] - groups[name].transform("mean") for name in ("true", "predicted")}
    )
    return centred[groups["true"].transform("size") > 1]


def slopes(within: pd.DataFrame) -> pd.DataFrame:
    """Least-squares slope, through 0, of predicted against true differences: a row a (run, seed).

    0 is blind to polymorphs, 1 is right about them on average.
    """
    products = within.assign(
        up=within["true"] * within["predicted"], down=within["true"] ** 2
    ).groupby(["run", "seed"], as_index=False)[["up", "down"]]
    sums = products.sum()
    return sums.assign(slope=sums["up"] / sums["down"])[["run", "seed", "slope"]]


def controls(found: pd.DataFrame) -> pd.DataFrame:
    """Absolute errors by the pattern that a model read, on samples that have all controls.

    The same samples for every model: those whose formula has another crystal in the data set.
    A row a (run, seed, sample, pattern), `error` in meV/atom.
    """
    shared = found.dropna(subset=list(PATTERNS))["id"].unique()
    found = found[found["id"].isin(shared)]
    errors = found.melt(["run", "model", "seed", "id", "true"], list(PATTERNS), "pattern")
    errors = errors.dropna(subset="value")
    return errors.assign(error=(errors["value"] - errors["true"]).abs())
