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

#: Fewest and most samples of a formula in the data set, by which errors are split.
POLYMORPHS = ((1, 1), (2, 2), (3, 5), (6, 32767))


def energies(root: Path, scale: str, runs: Sequence[str] | None = None) -> pd.DataFrame:
    """Predictions of formation energies in meV/atom: a row a (run, seed, test sample).

    true_difference, predicted_difference: from the mean over the formula's test samples, NaN where
    the formula has one alone.
    """
    found = frame.load_predictions(root, scale, runs)
    found = found[found["target"] == "formation_energy_per_atom"].copy()
    values = ["true", "predicted", "permuted_any", "permuted_formula"]
    found[values] = 1000 * found[values].astype(float)
    formulas = found.groupby(["run", "seed", "formula"])
    several = formulas["true"].transform("size") > 1
    for name in ("true", "predicted"):
        difference = found[name] - formulas[name].transform("mean")
        found[f"{name}_difference"] = difference.where(several)
    return found


def slopes(found: pd.DataFrame) -> pd.DataFrame:
    """Slope of predicted against true differences: a row a (run, seed), with n samples.

    Of one line for all formulas, through their means, by least squares: 0 is blind to polymorphs,
    1 is right about them on average.
    """
    within = found.dropna(subset="true_difference")
    products = within.assign(
        up=within["true_difference"] * within["predicted_difference"],
        down=within["true_difference"] ** 2,
    )
    sums = products.groupby(["run", "seed"], as_index=False).agg(
        up=("up", "sum"), down=("down", "sum"), n=("id", "size")
    )
    return sums.assign(slope=sums["up"] / sums["down"])[["run", "seed", "slope", "n"]]


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


def slope_interval(found: pd.DataFrame) -> tuple[float, float]:
    """The 95 % interval of the slope of one run, over seeds and formulas."""
    import numpy as np

    from xxact.analysis.inference import Estimate, difference

    within = found.dropna(subset="true_difference")
    names = ["true_difference", "predicted_difference"]
    wide = within.pivot(index="id", columns="seed", values=names).sort_index()
    true, predicted = (wide[name].to_numpy(float).T for name in names)  # (K, n)
    by_seed = (true * predicted).sum(1) / (true**2).sum(1)
    residual = predicted - by_seed[:, None] * true
    # what each sample adds to the slope, to first order
    values = by_seed[:, None] + true * residual / (true**2).mean(1, keepdims=True)
    formulas = within.drop_duplicates("id").set_index("id")["formula"].loc[wide.index].to_numpy()
    zero = Estimate(np.zeros(1), np.zeros_like(values[:1]), formulas)
    return difference(Estimate(by_seed, values, formulas), zero).interval()


def _interval_text(of_run: pd.DataFrame) -> str:
    low, high = slope_interval(of_run)
    return f"{low:z.3f} to {high:z.3f}"


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
    sloped = slopes(found)
    n = sloped[["run", "seed", "n"]]
    orders = rank_correlations(found).merge(n, on=["run", "seed"])
    for name, values in {"slope": sloped, "order": orders}.items():
        named = values.rename(columns={name: "value"})
        rows.append(named.assign(quantity=f"pattern/{name}", unit=""))
    texts = {run: _interval_text(part) for run, part in found.groupby("run")}
    rows.append(n.assign(quantity="pattern/slope_interval", unit="", text=n["run"].map(texts)))
    known = pd.concat(rows, ignore_index=True)
    # what a run has nothing to show for: without composition or pattern none is permuted
    wide = known.set_index(["run", "seed", "quantity"]).unstack("quantity")
    filled = wide.stack("quantity", future_stack=True).reset_index()
    return filled.assign(text=filled["text"].fillna("n/a"))
