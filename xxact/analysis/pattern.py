"""What the pattern adds to the formula: errors and orders within the polymorphs of a formula.

A model that reads the composition alone gives all polymorphs of a formula one energy. How far these
are apart is its floor; how much of it a model sees is the slope of predicted against true
differences within a formula: 0 for composition alone, 1 for a perfect model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact.analysis.inference import Estimate, difference

if TYPE_CHECKING:
    import pandas as pd

#: Numbers of polymorphs of a formula in the data set, by which errors are split: key -> label, span.
POLYMORPHS = {
    "1": ("no other", 1, 1),
    "2": ("2", 2, 2),
    "3": ("3 to 5", 3, 5),
    "6": ("6 or more", 6, np.inf),
}
#: What is measured of a run -> its heading and unit.
COLUMNS = {
    "floor": "floor of the formula",
    "seen": "formula in training",
    "unseen": "formula not in training",
    **{f"polymorphs_{key}": f"polymorphs: {POLYMORPHS[key][0]}" for key in POLYMORPHS},
    "permuted_any": "with the pattern of any sample",
    "with_polymorphs": "own pattern, formulas with polymorphs",
    "permuted_formula": "with the pattern of a polymorph",
}
ORDER_COLUMNS = {
    "slope": "slope within the formula",
    "slope_interval": "its 95 % interval",
    "order": "rank correlation within the formula",
}
NOT_APPLICABLE = "n/a"


def pattern_quantities(energies: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """`pattern/..` of each run and seed, from kept predictions of the formation energy.

    energies: rows of `frame.load_predictions` of one target in eV/atom and one scale. Errors are
    mean absolute ones in meV/atom.
    """
    for run, of_run in energies.groupby("run", sort=False):
        interval = _interval(of_run)
        for seed, kept in of_run.groupby("seed", sort=False):
            place = {"run": run, "seed": seed, "target": kept["target"].iloc[0]}
            for name, (values, n) in _errors(kept).items():
                text = "" if n else NOT_APPLICABLE
                error = 1000 * float(np.abs(values).mean()) if n else None
                yield place | _named(name, error, "meV/atom", n, text)
            slope, order, n = within_formula(kept)
            yield place | _named("slope", slope, "", n, NOT_APPLICABLE)
            yield place | _named("order", order, "", n, NOT_APPLICABLE)
            yield place | _named("slope_interval", None, "", n, interval)


def _named(name: str, value: float | None, unit: str, n: int, text: str) -> dict[str, Any]:
    return {"quantity": f"pattern/{name}", "value": value, "unit": unit, "n": n, "text": text}


def _errors(kept: pd.DataFrame) -> dict[str, tuple[np.ndarray, int]]:
    """Name -> deviations in eV/atom and their number."""
    deviation = (kept["predicted"] - kept["true"]).to_numpy()
    several = kept.groupby("formula")["true"].transform("size") > 1
    median = kept.groupby("formula")["true"].transform("median")
    seen, polymorphs = kept["formula_in_training"].to_numpy(bool), kept["n_polymorphs"].to_numpy()
    found = {
        "floor": (kept["true"] - median)[several].to_numpy(),
        "seen": deviation[seen],
        "unseen": deviation[~seen],
    }
    for key, (_, low, high) in POLYMORPHS.items():
        found[f"polymorphs_{key}"] = deviation[(polymorphs >= low) & (polymorphs <= high)]
    swapped = kept["permuted_formula"].notna().to_numpy()
    found["with_polymorphs"] = deviation[swapped]
    for name in ("permuted_any", "permuted_formula"):
        found[name] = (kept[name] - kept["true"]).dropna().to_numpy()
    return {name: (values, len(values)) for name, values in found.items()}


def within_formula(kept: pd.DataFrame) -> tuple[float | None, float | None, int]:
    """Slope and rank correlation within formulas, and the samples that share one with another.

    The slope is that of one line for all formulas through their means (pooled regression). The
    rank correlation is Kendall's: of all pairs of polymorphs, those in the right order less those
    in the wrong one, over all; equal predictions are neither.
    """
    shared = kept[kept.groupby("formula")["true"].transform("size") > 1]
    if not len(shared):
        return None, None, 0
    centred = _centred(shared)
    slope = (centred["true"] * centred["predicted"]).sum() / (centred["true"] ** 2).sum()
    order = pairs = 0
    for _, formula in shared.groupby("formula"):
        true, predicted = formula["true"].to_numpy(), formula["predicted"].to_numpy()
        signs = np.sign(np.subtract.outer(true, true))
        order += (signs * np.sign(np.subtract.outer(predicted, predicted))).sum()
        pairs += np.abs(signs).sum()
    return float(slope), float(order / pairs) if pairs else None, len(shared)


def _centred(shared: pd.DataFrame) -> pd.DataFrame:
    """True and predicted values less their means over the formula."""
    values = shared[["true", "predicted"]]
    return values - values.groupby(shared["formula"]).transform("mean")


def _interval(of_run: pd.DataFrame) -> str:
    """The 95 % interval of the slope over seeds and formulas."""
    slopes, values, groups = [], [], None
    for _, kept in of_run.sort_values("id").groupby("seed"):
        shared = kept[kept.groupby("formula")["true"].transform("size") > 1]
        if not len(shared):
            return NOT_APPLICABLE
        true, predicted = _centred(shared).to_numpy().T
        slope = (true * predicted).sum() / (true**2).sum()
        # what each sample adds to the slope, to first order
        values.append(slope + true * (predicted - slope * true) / (true**2).mean())
        slopes.append(slope)
        groups = shared["formula"].to_numpy()
    estimate = Estimate(np.array(slopes), np.stack(values), groups)
    zero = Estimate(np.zeros(1), np.zeros_like(estimate.values[:1]), groups)
    low, high = difference(estimate, zero).interval()
    return f"{low:.3f} to {high:.3f}"
