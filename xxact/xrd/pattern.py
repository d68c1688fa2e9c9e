"""From a crystal to its powder pattern in one call, without torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xxact.compiled import compiled
from xxact.errors import UserError
from xxact.xrd.grid import N_POINTS, TWO_THETA_MIN_DEG, TWO_THETA_STEP_DEG
from xxact.xrd.reflections import reflections

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from xxact.xrd.crystal import Crystal

MIN_SIGMA_DEG = 0.005  # lines much narrower than a step of the grid fall between its points
_TAIL = 6.5  # standard deviations after which a Gaussian is left out: exp(-21) = 7e-10


def simulate_pattern(
    structure: Structure | Crystal, wavelength: str | float = "CuKa", sigma: float = 0.1
) -> np.ndarray:
    """Powder pattern on `two_theta_grid()`: shape (4250,), float32, its maximum is 100.

    structure: a pymatgen `Structure` or a `Crystal`.
    wavelength: a name such as `CuKa` or `MoKa`, or a number in angstrom.
    sigma: standard deviation of the Gaussian of each reflection, at least 0.005 degrees 2-theta.

    Reflections inside [5, 90] degrees count; the scale is set after the smearing. Batches of
    patterns are made by `xxact.xrd.broaden`, which agrees to 1e-3. Raises `CrystalError` as
    `reflections` does.
    """
    if not MIN_SIGMA_DEG <= sigma < math.inf:
        raise UserError(f"sigma must be at least {MIN_SIGMA_DEG} degrees, got {sigma}")
    lines = reflections(structure, wavelength)
    pattern = sum_of_gaussians(lines.two_theta, lines.intensity, float(sigma))
    return (pattern * (100.0 / pattern.max())).astype(np.float32)


@compiled
def sum_of_gaussians(two_theta, intensity, sigma):
    """Sum over reflections (R,) of intensity * exp(-(x - two_theta)^2 / (2 sigma^2)): (4250,).

    From the grid point nearest to the centre outwards, neighbouring values have a ratio that itself
    changes by the constant factor exp(-step^2 / sigma^2).
    """
    pattern = np.zeros(N_POINTS)
    reach = math.ceil(_TAIL * sigma / TWO_THETA_STEP_DEG) + 1
    step = TWO_THETA_STEP_DEG / sigma
    change = math.exp(-step * step)
    for line in range(len(two_theta)):
        place = (two_theta[line] - TWO_THETA_MIN_DEG) / TWO_THETA_STEP_DEG
        centre = int(np.rint(place))
        offset = (centre - place) * step  # in standard deviations
        peak = intensity[line] * math.exp(-0.5 * offset * offset)
        value, ratio = peak, math.exp(-offset * step - 0.5 * step * step)
        for point in range(centre, min(centre + reach, N_POINTS)):
            pattern[point] += value
            value *= ratio
            ratio *= change
        value, ratio = peak, math.exp(offset * step - 0.5 * step * step)
        for point in range(centre - 1, max(centre - reach, -1), -1):
            value *= ratio
            ratio *= change
            pattern[point] += value
    return pattern
