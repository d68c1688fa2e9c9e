"""The scaling experiment (Figure 3): its sizes and runs, what was measured, and power laws.

The published sizes are 1 to 4.5 million of 4.5 million; ours are the same fractions of a scale's
training split, and 1/32, 1/16 and 1/8 of it. D counts training samples in millions, L is the test
MAE of the formation energy in eV/atom, as published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: Size, as in the names of the runs -> training samples in millions at the paper's scale.
SIZES = {
    **{f"{round(4500 / k)}k": 4.5 / k for k in (32, 16, 8)},
    **{f"{k}k": k / 1000 for k in (1000, 2000, 3000, 4000, 4500)},
}
MODELS = {"crabnet": "CrabNet (composition)", "xxact": "XxaCT-NN (XRD + composition)"}
CONTROLS = {"": "equal epochs", "_steps": "equal steps"}
_CONTROL_SIZES = ("141k", "1000k", "4500k")  # each costs a whole run
#: The runs on the whole training split, at equal epochs and steps alike; other tables train them.
WHOLE = {"crabnet": "table1/crabnet_energy", "xxact": "table2/none"}
#: Fewer sizes leave a floor undetermined.
_SIZES_FOR_A_FLOOR = 5


def sizes(control: str = "") -> tuple[str, ...]:
    """The sizes of the experiment, or of its control."""
    return _CONTROL_SIZES if control else tuple(SIZES)


def run_name(model: str, size: str, control: str = "") -> str:
    """The run of a model at a size."""
    return WHOLE[model] if size == "4500k" else f"scaling/{model}_{size}{control}"


#: Every run of the experiment, each once.
RUNS = tuple(dict.fromkeys(run_name(m, s, c) for c in CONTROLS for m in MODELS for s in sizes(c)))


def measured(root: str | Path, scale: str) -> pd.DataFrame:
    """What was measured, best on test: a row a (model, control, size, seed), as of `frame.load`.

    share: of the training split, in %; samples: D; mae: L; n: test samples.
    """
    import pandas as pd

    from xxact.analysis import frame

    places = [
        {"run": run_name(m, s, c), "model": m, "control": c, "size": s, "share": SIZES[s] / 0.045}
        for c in CONTROLS
        for m in MODELS
        for s in sizes(c)
    ]
    best = "reading == 'best_on_test' and target == 'formation_energy_per_atom'"
    scores = frame.load(root, scale).query(best).dropna(subset="value")
    samples = frame.load_runs(root, scale)[["run", "seed", "n_train"]]
    found = pd.DataFrame(places).merge(scores, on="run").merge(samples, on=["run", "seed"])
    return found.assign(samples=found["n_train"] / 1e6, mae=found["value"] / 1000)


def points(root: str | Path, scale: str) -> pd.DataFrame:
    """What was `measured`, of the seeds that all sizes of their model have which were run.

    Another seed would pull at one end of the law.
    """
    found = measured(root, scale)
    law = found.groupby(["model", "control"])["size"].transform("nunique")
    seed = found.groupby(["model", "control", "seed"])["size"].transform("nunique")
    return found[law == seed].reset_index(drop=True)


@dataclass(frozen=True)
class PowerLaw:
    """L = exp(level) * (D / centre)^exponent + floor, of which a pure power law has no floor.

    `covariance` (2, 2) is that of level and exponent, with `free` degrees of freedom, and
    `floor_error` a standard error; None where the points leave nothing to tell it from.
    """

    exponent: float
    level: float
    centre: float
    covariance: np.ndarray | None = None
    free: int = 0
    floor: float = 0.0
    floor_error: float | None = None

    @property
    def prefactor(self) -> float:
        """The factor before D^exponent: without a floor, L at D = 1."""
        return math.exp(self.level) * self.centre**-self.exponent

    def at(self, size: float | np.ndarray) -> float | np.ndarray:
        """L at a size, or at sizes."""
        return math.exp(self.level) * (size / self.centre) ** self.exponent + self.floor

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Confidence interval of the exponent (Student's t)."""
        if self.covariance is None:
            return None
        half = self._quantile(confidence) * float(self.covariance[1, 1]) ** 0.5
        return self.exponent - half, self.exponent + half

    def band(
        self, sizes: np.ndarray, confidence: float = 0.95
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Pointwise confidence band of the law (not of single runs) at `sizes`."""
        import numpy as np

        if self.covariance is None:
            return None
        gradient = np.stack([np.ones_like(sizes), np.log(sizes / self.centre)])  # (2, S)
        variance = np.einsum("is,ij,js->s", gradient, self.covariance, gradient)
        factor = np.exp(self._quantile(confidence) * np.sqrt(variance.clip(min=0)))
        return self.at(sizes) / factor, self.at(sizes) * factor

    def _quantile(self, confidence: float) -> float:
        from scipy import stats

        return float(stats.t.ppf((1 + confidence) / 2, self.free))


def fit_power_law(
    sizes: Sequence[float], losses: Sequence[float], seeds: Sequence[int] | None = None
) -> PowerLaw | None:
    """Least squares of log L against log D, every size with the same weight.

    Each seed has its own line and the law is their mean. A seed's subsets are nested, so its points
    are not independent of each other, but seeds are: with several the errors are the spread of
    their lines, with seeds - 1 degrees of freedom. With one seed (or without `seeds`) they are the
    regression's own, with sizes - 2, which take the points as independent and are too small by what
    the luck of a subset adds. Of the ratio of two models' losses, paired by seed, the law is the
    difference of their exponents. None with fewer than two different sizes.
    """
    import numpy as np
    from scipy import stats

    sizes, losses = np.asarray(sizes, float), np.asarray(losses, float)
    seeds = np.zeros(len(sizes)) if seeds is None else np.asarray(seeds)
    each = [seeds == seed for seed in np.unique(seeds)]
    if not each or any(len(np.unique(sizes[own])) < 2 for own in each):
        return None
    x, y = np.log(sizes), np.log(losses)
    centre = x.mean()
    lines = [stats.linregress(x[own] - centre, y[own]) for own in each]
    parameters = np.array([(line.intercept, line.slope) for line in lines])  # (seeds, 2)
    if len(lines) > 1:
        free, covariance = len(lines) - 1, np.cov(parameters.T) / len(lines)
    else:
        free = len(sizes) - 2
        covariance = np.diag([lines[0].intercept_stderr ** 2, lines[0].stderr ** 2])
    level, exponent = map(float, parameters.mean(axis=0))
    return PowerLaw(exponent, level, math.exp(centre), covariance if free else None, free)


def fit_with_floor(
    sizes: Sequence[float], losses: Sequence[float], seeds: Sequence[int]
) -> PowerLaw | None:
    """Least squares of log L, every point with the same weight; the floor is 0 or more.

    The error of the floor is a jackknife over seeds; with one seed it is that of the fit, None
    where the floor is 0. None with fewer than five different sizes, or where no fit is found.
    """
    import numpy as np

    sizes, losses, seeds = (np.asarray(values, float) for values in (sizes, losses, seeds))
    different = np.unique(seeds)
    if min(len(np.unique(sizes[seeds == seed])) for seed in different) < _SIZES_FOR_A_FLOOR:
        return None
    law = _curve(sizes, losses)
    if law is None or len(different) < 2:
        return law
    left_out = [_curve(sizes[seeds != seed], losses[seeds != seed]) for seed in different]
    if None in left_out:
        return replace(law, floor_error=None)
    variance = (len(different) - 1) * np.var([other.floor for other in left_out])
    return replace(law, floor_error=float(variance**0.5))


def _curve(sizes: np.ndarray, losses: np.ndarray) -> PowerLaw | None:
    """The law with a floor through all points."""
    import numpy as np
    from scipy import optimize

    centre, least = float(np.exp(np.log(sizes).mean())), float(losses.min())

    def log_loss(size: np.ndarray, level: float, exponent: float, floor: float) -> np.ndarray:
        return np.log(np.exp(level) * (size / centre) ** exponent + floor)

    start = (np.log(np.median(losses) - least / 2), -0.3, least / 2)
    bounds = ((-np.inf, -5, 0), (np.inf, 0, least))
    try:
        found, covariance = optimize.curve_fit(
            log_loss, sizes, np.log(losses), start, bounds=bounds, max_nfev=10_000
        )
    except RuntimeError:
        return None
    level, exponent, floor = map(float, found)
    known = floor > 1e-6 * least and np.isfinite(covariance[2, 2])
    error = float(covariance[2, 2] ** 0.5) if known else None
    return PowerLaw(exponent, level, centre, floor=floor, floor_error=error)
