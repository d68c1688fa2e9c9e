"""What a pattern adds to a formula, from the kept predictions of formation energies.

A model of compositions gives all crystals of a formula the same energy, so that of the differences
between them it can tell nothing: how far apart they are is its floor. How much of them a model sees
is the slope of predicted against true differences within a formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis.inference import Estimate, difference

if TYPE_CHECKING:
    import pandas as pd

RUN = ["run", "seed"]
ENERGY = "formation_energy_per_atom"
#: Fewest and most samples of a formula in the data set, by which errors are split.
POLYMORPHS = ((1, 1), (2, 2), (3, 5), (6, 32767))


def energies(root: str | Path, scale: str, runs: Sequence[str] | None = None) -> pd.DataFrame:
    """Predictions of formation energies in meV/atom: a row a (run, seed, test sample).

    true_difference, predicted_difference: from the mean over the formula's test samples, NaN where
    the formula has one alone.
    """
    found = frame.load_predictions(root, scale, runs)
    found = found[found["target"] == ENERGY].copy()
    values = ["true", "predicted", "permuted_any", "permuted_formula"]
    found[values] = 1000 * found[values].astype(float)
    formulas = found.groupby([*RUN, "formula"])
    several = formulas["true"].transform("size") > 1
    for name in ("true", "predicted"):
        from_mean = found[name] - formulas[name].transform("mean")
        found[f"{name}_difference"] = from_mean.where(several)
    return found


def slopes(found: pd.DataFrame) -> pd.DataFrame:
    """Slope of predicted against true differences: a row a (run, seed), with n samples.

    Of one line for all formulas, through their means, by least squares: 0 is blind to polymorphs,
    1 is right about them on average.
    """
    within = found.dropna(subset="true_difference")
    true, predicted = within["true_difference"], within["predicted_difference"]
    sums = within.assign(up=true * predicted, down=true**2).groupby(RUN, as_index=False)
    sums = sums.agg(up=("up", "sum"), down=("down", "sum"), n=("id", "size"))
    return sums.assign(slope=sums["up"] / sums["down"])[[*RUN, "slope", "n"]]


def slope_interval(found: pd.DataFrame) -> tuple[float, float]:
    """The 95 % interval of the slope of one run, over seeds and formulas."""
    import numpy as np

    names = ["true_difference", "predicted_difference"]
    within = found.dropna(subset=names)
    wide = within.pivot(index="id", columns="seed", values=names).sort_index()
    true, predicted = (wide[name].to_numpy(float).T for name in names)  # (K, n)
    by_seed = (true * predicted).sum(1) / (true**2).sum(1)
    residual = predicted - by_seed[:, None] * true
    # what each sample adds to the slope, to first order
    values = by_seed[:, None] + true * residual / (true**2).mean(1, keepdims=True)
    formulas = within.drop_duplicates("id").set_index("id")["formula"].loc[wide.index].to_numpy()
    zero = Estimate(np.zeros(1), np.zeros_like(values[:1]), formulas)
    return difference(Estimate(by_seed, values, formulas), zero).interval()


def rank_correlations(found: pd.DataFrame) -> pd.DataFrame:
    """Kendall's correlation within formulas, pooled: a row a (run, seed), `order` from -1 to 1.

    Of all pairs of test samples of a formula, those in the right order less those in the wrong
    one, over all of them; predictions closer than 1e-3 meV/atom are equal, which is neither.
    """
    import numpy as np

    keys = [*RUN, "formula"]
    one = found[[*keys, "id", "true", "predicted"]]
    pairs = one.merge(one, on=keys, suffixes=("", "_other"))
    pairs = pairs[(pairs["id"] < pairs["id_other"]) & (pairs["true"] != pairs["true_other"])]
    true, predicted = (pairs[name] - pairs[f"{name}_other"] for name in ("true", "predicted"))
    right = np.sign(true) * np.sign(predicted.where(predicted.abs() > 1e-3, 0.0))
    return pairs.assign(order=right).groupby(RUN, as_index=False)["order"].mean()


def quantities(found: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """`pattern/..` of every run and seed, as `xxact.analysis.quantities` names them.

    found: as of `energies`; floors: `frame.load_floors` of that scale. Errors are mean absolute
    ones in meV/atom; n: test samples behind each. What a run has nothing to show for (no pattern
    to permute) is "n/a".
    """
    import pandas as pd

    if found.empty:
        return found
    sloped = slopes(found)
    orders = rank_correlations(found).merge(sloped[[*RUN, "n"]], on=RUN)
    intervals = {
        run: "{:z.3f} to {:z.3f}".format(*slope_interval(own)) for run, own in found.groupby("run")
    }
    known = [
        *_errors(found),
        _floor(found, floors),
        sloped.rename(columns={"slope": "value"}).assign(quantity="slope"),
        orders.rename(columns={"order": "value"}).assign(quantity="order"),
        sloped[[*RUN, "n"]].assign(quantity="slope_interval", text=sloped["run"].map(intervals)),
    ]
    wide = pd.concat(known).set_index([*RUN, "quantity"]).unstack("quantity")
    filled = wide.stack("quantity", future_stack=True).reset_index()
    filled["quantity"] = "pattern/" + filled["quantity"]
    return filled.fillna({"text": "n/a", "unit": ""})


def _errors(found: pd.DataFrame) -> list[pd.DataFrame]:
    """Mean absolute errors of parts of the test samples: rows (run, seed) with value and n."""
    seen, count = found["formula_in_training"].astype(bool), found["n_polymorphs"]
    origin = found["origin"]
    predicted, swapped = found["predicted"], found["permuted_formula"]
    parts = {
        "seen": predicted.where(seen),
        "unseen": predicted.where(~seen),
        **{f"polymorphs_{a}": predicted.where(count.between(a, b)) for a, b in POLYMORPHS},
        **{f"origin_{name}": predicted.where(origin == name) for name in set(origin) - {""}},
        "permuted_any": found["permuted_any"],
        "with_polymorphs": predicted.where(count > 1),
        "permuted_formula": swapped,
    }
    errors = {name: (values - found["true"]).abs() for name, values in parts.items()}
    return [
        found.assign(error=values)
        .dropna(subset="error")
        .groupby(RUN, as_index=False)
        .agg(value=("error", "mean"), n=("error", "size"))
        .assign(quantity=name, unit="meV/atom")
        for name, values in errors.items()
    ]


def _floor(found: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """The floor of the test split beside every run."""
    floor = floors[(floors["target"] == ENERGY) & (floors["split"] == "test")]
    runs = found[RUN].drop_duplicates()
    return runs.merge(floor[["value", "unit", "n"]], how="cross").assign(quantity="floor")
