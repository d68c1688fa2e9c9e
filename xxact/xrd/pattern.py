"""From a crystal to its powder pattern in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xxact.xrd.reflections import reflections

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from xxact.xrd.crystal import Crystal


def simulate_pattern(
    structure: Structure | Crystal, wavelength: str | float = "CuKa", sigma: float = 0.1
) -> np.ndarray:
    """Powder pattern on `two_theta_grid()`: shape (4250,), float32, its maximum is 100.

    structure: a pymatgen `Structure` or a `Crystal`.
    wavelength: a name such as `CuKa` or `MoKa`, or a number in angstrom.
    sigma: standard deviation of the Gaussian of each reflection, 0.05 to 90 degrees 2-theta.

    Reflections inside [5, 90] degrees count; the scale is set after the smearing. It is the pattern
    that the networks are given: batches of them are made by `xxact.xrd.broaden`. Raises `UserError`
    for arguments that cannot be right and `CrystalError` as `reflections` does.
    """
    import torch

    from xxact.xrd.broadening import broaden

    lines = reflections(structure, wavelength)
    two_theta, intensity = torch.from_numpy(lines.two_theta), torch.from_numpy(lines.intensity)
    row = torch.zeros(len(lines), dtype=torch.int64)
    return broaden(two_theta, intensity, row, 1, sigma)[0].numpy()  # (4250,)
