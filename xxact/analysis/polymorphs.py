"""What a pattern adds to a formula, from the kept predictions of formation energies.

A model of compositions gives all crystals of a formula the same energy, so that of the differences
between them it can tell nothing: how far they are apart is its floor. How much of it a model sees is
the slope of predicted against true differences within a formula.
"""

from __future__ import annotations

from collections.abc import Sequence
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

#: Fewest and most samples of a formula in the data set, by which errors are split.
POLYMORPHS = ((1, 1), (2, 2), (3, 5), (6, 32767))


def energies(root: Path, scale: str, runs: Sequence[str] | None = RUNS) -> pd.DataFrame:
    """Predictions of formation energies in meV/atom: a row a (run, seed, test sample)."""
    found = frame.load_predictions(root, scale, runs, ["formation_energy_per_atom"]).copy()
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


def rank_correlations(found: pd.DataFrame) -> pd.DataFrame:
    """Kendall's correlation within formulas, pooled: a row a (run, seed), `order` from -1 to 1.

    Of all pairs of test samples of a formula, those in the right order less those in the wrong
    one, over all of them; equal predictions are neither.
    """
    keys = ["run", "seed", "formula", "id"]
    one = found[[*keys, "true", "predicted"]]
    pairs = one.merge(one, on=keys[:3], suffixes=("", "_other"))
    pairs = pairs[(pairs["id"] < pairs["id_other"]) & (pairs["true"] != pairs["true_other"])]
    true, predicted = (pairs[name] - pairs[f"{name}_other"] for name in ("true", "predicted"))
    right = (true * predicted > 0).astype(float) - (true * predicted < 0)
    means = right.groupby([pairs["run"], pairs["seed"]]).mean()
    return means.rename("order").reset_index()


def slope_interval(within: pd.DataFrame) -> tuple[float, float]:
    """The 95 % interval of the slope of one run, over seeds and formulas."""
    import numpy as np

    from xxact.analysis.inference import Estimate, difference

    wide = within.pivot(index="id", columns="seed", values=["true", "predicted"]).sort_index()
    true, predicted = (wide[name].to_numpy(float).T for name in ("true", "predicted"))  # (K, n)
    by_seed = (true * predicted).sum(1) / (true**2).sum(1)
    residual = predicted - by_seed[:, None] * true
    # what each sample adds to the slope, to first order
    values = by_seed[:, None] + true * residual / (true**2).mean(1, keepdims=True)
    formulas = within.drop_duplicates("id").set_index("id")["formula"].loc[wide.index].to_numpy()
    zero = Estimate(np.zeros(1), np.zeros_like(values[:1]), formulas)
    return difference(Estimate(by_seed, values, formulas), zero).interval()


def quantities(found: pd.DataFrame) -> pd.DataFrame:
    """`pattern/..` of every run and seed, as `xxact.analysis.quantities` names them.

    found: as of `energies`. Errors are mean absolute ones in meV/atom; n: test samples behind each.
    """
    import pandas as pd

    formula = found.groupby(["run", "seed", "formula"])["true"]
    others, seen = formula.transform("size") > 1, found["formula_in_training"].astype(bool)
    count, swapped = found["n_polymorphs"], found["permuted_formula"].notna()
    everything = pd.Series(True, index=found.index)
    floor = found.assign(floor=formula.transform("median"))
    parts = {
        "floor": ("floor", others),
        "seen": ("predicted", seen),
        "unseen": ("predicted", ~seen),
        **{f"polymorphs_{a}": ("predicted", count.between(a, b)) for a, b in POLYMORPHS},
        "permuted_any": ("permuted_any", everything),
        "with_polymorphs": ("predicted", swapped),
        "permuted_formula": ("permuted_formula", swapped),
    }
    rows = []
    for name, (column, mask) in parts.items():
        errors = floor.loc[mask, ["run", "seed"]].assign(
            value=(floor[column] - floor["true"]).abs()
        )
        rows.append(
            errors.dropna()
            .groupby(["run", "seed"], as_index=False)
            .agg(value=("value", "mean"), n=("value", "size"))
            .assign(quantity=f"pattern/{name}", unit="meV/atom")
        )
    within = within_formula(found)
    n = within.groupby(["run", "seed"], as_index=False).agg(n=("id", "size"))
    for name, values in {"slope": slopes(within), "order": rank_correlations(within)}.items():
        named = values.rename(columns={name: "value"}).merge(n, on=["run", "seed"])
        rows.append(named.assign(quantity=f"pattern/{name}", unit=""))
    intervals = {run: slope_interval(part) for run, part in within.groupby("run")}
    texts = {run: f"{low:.3f} to {high:.3f}" for run, (low, high) in intervals.items()}
    rows.append(n.assign(quantity="pattern/slope_interval", unit="", text=n["run"].map(texts)))
    known = pd.concat(rows, ignore_index=True)
    # what a run has nothing to show for: without composition or pattern none is permuted
    wide = known.set_index(["run", "seed", "quantity"]).unstack("quantity")
    filled = wide.stack("quantity", future_stack=True).reset_index()
    return filled.assign(text=filled["text"].fillna("n/a"))


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
