"""The 2-theta grid that every pattern of the suite lives on: 5 + 0.02 * arange(4250) degrees."""

import numpy as np

TWO_THETA_MIN_DEG = 5.0
TWO_THETA_MAX_DEG = 90.0  # reflections count up to here; the grid itself ends one step below
TWO_THETA_STEP_DEG = 0.02
N_POINTS = 4250


def two_theta_grid() -> np.ndarray:
    """Positions of the points of a pattern, in degrees, shape (4250,), float64."""
    return TWO_THETA_MIN_DEG + TWO_THETA_STEP_DEG * np.arange(N_POINTS)
