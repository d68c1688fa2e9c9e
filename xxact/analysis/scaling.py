"""The scaling experiment (Figure 3): its sizes and runs, what was measured, and power laws.

The published sizes are 1 to 4.5 million of 4.5 million; ours are the same fractions of a scale's
training split, and 1/32, 1/16 and 1/8 of it. D counts training samples in millions, L is the test
MAE of the formation energy in eV/atom, as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def points(root: str | Path, scale: str) -> pd.DataFrame:
    """What was measured, best on test: a row a (model, control, size, seed).

    share: of the training split, in %; samples: D; mae: L; n: test samples. A seed that one of the
    sizes that were run lacks is left out: it would pull at one end of the law.
    """
    import pandas as pd

    from xxact.analysis import frame

    places = [
        {"run": run_name(m, s, c), "model": m, "control": c, "size": s, "share": SIZES[s] / 0.045}
        for c in CONTROLS
        for m in MODELS
        for s in sizes(c)
    ]
    scores, runs = frame.load(root), frame.load_runs(root)
    best = (scores["reading"] == "best_on_test") & (scores["target"] == "formation_energy_per_atom")
    scores = scores[best & (scores["scale"] == scale)].dropna(subset="value")
    keys = ["scale", "run", "seed"]
    found = pd.DataFrame(places).merge(scores, on="run").merge(runs[[*keys, "n_train"]], on=keys)
    found = found.assign(samples=found["n_train"] / 1e6, mae=found["value"] / 1000)
    law = found.groupby(["model", "control"])["size"].transform("nunique")
    seed = found.groupby(["model", "control", "seed"])["size"].transform("nunique")
    columns = ["model", "control", "size", "share", "seed", "samples", "mae", "n"]
    return found.loc[law == seed, columns].reset_index(drop=True)


@dataclass(frozen=True)
class PowerLaw:
    """L = prefactor * D^exponent: a line, log L = level + exponent * log(D / centre).

    `covariance` (2, 2) is that of level and exponent, with `free` degrees of freedom; None where
    the points leave none.
    """

    exponent: float
    level: float
    centre: float
    covariance: np.ndarray | None
    free: int

    @property
    def prefactor(self) -> float:
        """L at D = 1."""
        return float(self.at(1.0))

    def at(self, size: float | np.ndarray) -> float | np.ndarray:
        """L at a size, or at sizes."""
        import numpy as np

        return np.exp(self.level) * (size / self.centre) ** self.exponent

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
    centre = float(x.mean())
    lines = [stats.linregress(x[own] - centre, y[own]) for own in each]
    parameters = np.array([(line.intercept, line.slope) for line in lines])  # (seeds, 2)
    level, exponent = map(float, parameters.mean(axis=0))
    if len(lines) > 1:
        free, covariance = len(lines) - 1, np.cov(parameters.T) / len(lines)
    else:
        free = len(sizes) - 2
        covariance = np.diag([lines[0].intercept_stderr ** 2, lines[0].stderr ** 2])
    return PowerLaw(exponent, level, float(np.exp(centre)), covariance if free else None, free)


@dataclass(frozen=True)
class FlooredLaw:
    """L = amplitude * (D / centre)^exponent + floor; `floor_error` is a standard error."""

    amplitude: float
    exponent: float
    floor: float
    centre: float
    floor_error: float | None = None

    def at(self, size: float | np.ndarray) -> float | np.ndarray:
        """L at a size, or at sizes."""
        return self.amplitude * (size / self.centre) ** self.exponent + self.floor


def fit_floored_law(
    sizes: Sequence[float], losses: Sequence[float], seeds: Sequence[int]
) -> FlooredLaw | None:
    """Least squares of log L, every point with the same weight; the floor is 0 or more.

    The error of the floor is a jackknife over seeds; with one seed it is that of the fit, None
    where the floor is 0. None with fewer than five different sizes.
    """
    import dataclasses

    import numpy as np

    sizes, losses, seeds = (np.asarray(values, float) for values in (sizes, losses, seeds))
    different = np.unique(seeds)
    if min(len(np.unique(sizes[seeds == seed])) for seed in different) < _SIZES_FOR_A_FLOOR:
        return None
    law = _floored(sizes, losses)
    if law is None or len(different) < 2:
        return law
    left_out = [_floored(sizes[seeds != seed], losses[seeds != seed]) for seed in different]
    if None in left_out:
        return dataclasses.replace(law, floor_error=None)
    error = ((len(different) - 1) * np.var([other.floor for other in left_out])) ** 0.5
    return dataclasses.replace(law, floor_error=float(error))


def _floored(sizes: np.ndarray, losses: np.ndarray) -> FlooredLaw | None:
    import numpy as np
    from scipy import optimize

    centre = float(np.exp(np.log(sizes).mean()))

    def log_loss(size: np.ndarray, amplitude: float, exponent: float, floor: float) -> np.ndarray:
        return np.log(amplitude * (size / centre) ** exponent + floor)

    least = float(losses.min())
    start = (float(np.median(losses)) - least / 2, -0.3, least / 2)
    bounds = ((1e-9, -5, 0), (np.inf, -1e-6, least))
    try:
        found, covariance = optimize.curve_fit(
            log_loss, sizes, np.log(losses), start, bounds=bounds, maxfev=10_000
        )
    except RuntimeError:
        return None
    at_bound = found[2] < 1e-6 * least or not np.isfinite(covariance[2, 2])
    error = None if at_bound else float(covariance[2, 2] ** 0.5)
    return FlooredLaw(*map(float, found), centre, error)
