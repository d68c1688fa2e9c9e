"""An internal standard: a powder of known cell, mixed into a sample, tells how far the sample lies
from its place.

A surface that lies too low by s in a circle of radius R shifts lines by -(2 s / R) cos(theta):
H. P. Klug and L. E. Alexander, X-ray Diffraction Procedures (1974). The lines of the standard give
that shift; then they are taken for not measured, as they are no lines of the sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from xxact.errors import UserError

#: A line is looked for as far as this from its place, in degrees: twice the largest displacement
#: that models are trained on.
FARTHEST_DEG = 0.3
#: Lines that agree are this close to one shift, in degrees, and so many have to.
AGREEING_DEG, FEWEST_LINES = 0.03, 3
#: What the lines of a standard hide of the sample, in degrees on either side.
HIDDEN_DEG = 0.3
#: Share of the highest point that a line rises above its surroundings by, at least.
_LOWEST = 0.01
_SMOOTH_DEG = 0.02


@dataclass(frozen=True)
class Standard:
    """A cubic standard: edge of its cell in angstrom, and h^2 + k^2 + l^2 of its lines.

    source: the certificate that the edge comes from.
    """

    edge: float
    squares: tuple[int, ...]
    source: str

    def lines_deg(self, wavelength: float) -> np.ndarray:
        """Angles 2-theta (n,) of the lines that the wavelength in angstrom shows."""
        sine = wavelength * np.sqrt(self.squares) / (2 * self.edge)
        return 2 * np.degrees(np.arcsin(sine[sine < 1]))


STANDARDS = {
    "Si": Standard(5.43123, (3, 8, 11, 16, 19, 24, 27, 32, 35, 40, 43), "NIST SRM 640d"),
    "LaB6": Standard(
        4.156826, (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19), "NIST SRM 660c"
    ),
}


def displacement_deg(
    two_theta_deg: np.ndarray, counts: np.ndarray, name: str, wavelength: float
) -> float:
    """2 s / R in degrees of a pattern (n,): what most lines of the standard `name` agree on.

    counts: of one wavelength, in angstrom. Raises `UserError` where fewer than half of the lines in
    the range agree.
    """
    expected = STANDARDS[name].lines_deg(wavelength)
    expected = expected[(expected > two_theta_deg[0]) & (expected < two_theta_deg[-1])]
    found = _line_positions(two_theta_deg, counts)
    # (lines of the standard, lines found): the displacement if one is the other
    shift = (expected[:, None] - found) / np.cos(np.radians(expected / 2))[:, None]
    tried = shift[np.abs(shift) < FARTHEST_DEG]
    near = np.abs(shift[:, :, None] - tried) < AGREEING_DEG  # (lines, found, tried)
    votes = near.any(axis=1).sum(axis=0)  # (tried,)
    needed = max(FEWEST_LINES, -(-len(expected) // 2))
    if votes.max(initial=0) < needed:
        raise UserError(
            f"the lines of {name} are not in the pattern: {votes.max(initial=0)} of {len(expected)}"
            f" agree on a displacement, and {needed} have to"
        )
    best = tried[votes == votes.max()].mean()
    return float(np.median(shift[np.abs(shift - best) < AGREEING_DEG]))


def _line_positions(angles: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Angles (m,) of lines, between the points by the parabola through the highest three."""
    smooth = gaussian_filter1d(counts, max(_SMOOTH_DEG / np.median(np.diff(angles)), 1.0))
    peaks, _ = find_peaks(smooth, prominence=_LOWEST * np.ptp(smooth))
    left, top, right = (smooth[peaks + k] for k in (-1, 0, 1))
    offset = (left - right) / (2 * (left - 2 * top + right))
    return np.interp(peaks + offset, np.arange(len(angles)), angles)
