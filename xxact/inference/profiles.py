"""Lines as the models know them, Gaussians of one width, from lines as an instrument draws them.

The profile of an instrument and a sample, wider or narrower and with longer tails, is taken for a
pseudo-Voigt function of one width over the whole pattern. Intensities that make the pattern under
that profile are found by the recursion of W. H. Richardson, J. Opt. Soc. Am. 62, 55 (1972), and
L. B. Lucy, Astron. J. 79, 745 (1974), which keeps them positive, accelerated as by D. S. C. Biggs
and M. Andrews, Appl. Opt. 36, 1766 (1997); then each gets the models' Gaussian.

Networks that are trained on narrow lines take a wide one for several of a low symmetry.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks, peak_widths

from xxact.xrd.grid import N_POINTS, TWO_THETA_STEP_DEG

#: Standard deviation in degrees of the lines that the models are trained on.
SIGMA_DEG = 0.1
FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
#: Part of the profile that is Lorentzian; how much wider it is taken than lines are, so that so
#: many steps of the recursion leave lines 0.103 degrees wide, as those of training. Chosen on
#: measured powders, by the width and the tails of the lines that are left.
LORENTZIAN, WIDENED, STEPS = 0.3, 1.2, 60
#: What is taken off in the end, in parts of the highest point: tails that other tails hid.
#: Chosen likewise.
LEFT_OVER = 2e-3
#: What is added to each point meanwhile, in the same parts, for ratios of nothing to nothing.
_FLOOR = 1e-3
#: No profile is narrower, and none reaches further, in degrees.
_NARROWEST_DEG, _REACH_DEG = 0.03, 6.0
#: Of the transforms: the grid, and a margin that tails of one end need not to reach the other. A
#: power of two and a five: faster than shorter ones.
_LENGTH = 5 << 10


def line_width_deg(net: np.ndarray) -> float:
    """Full width at half maximum in degrees of the strongest lines of a pattern (4250,), the median
    of 20; that of the models' lines where there are none."""
    rough = gaussian_filter1d(np.nan_to_num(net), 1.0)  # by one step, so that noise has no peaks
    peaks, _ = find_peaks(rough, prominence=0.1 * rough.max())
    if not len(peaks):
        return SIGMA_DEG * FWHM_PER_SIGMA
    strongest = peaks[np.argsort(rough[peaks])[-20:]]
    width = np.median(peak_widths(rough, strongest, rel_height=0.5)[0])
    own = np.sqrt(max(width**2 - FWHM_PER_SIGMA**2, 0.0)) * TWO_THETA_STEP_DEG
    return float(max(own, _NARROWEST_DEG))


def reshaped(net: np.ndarray, width_deg: float) -> np.ndarray:
    """A pattern (4250,) whose lines of `width_deg` have become Gaussians of `SIGMA_DEG`.

    Without a background; NaN, what was not measured, stays NaN. Values are in the unit of `net`
    and not negative.
    """
    seen = np.isfinite(net)
    highest = np.max(net, where=seen, initial=0.0)
    if highest <= 0:
        return np.where(seen, 0.0, np.nan)
    profile = _pseudo_voigt(WIDENED * width_deg, LORENTZIAN)
    sought = np.where(seen, np.maximum(net, 0) / highest + _FLOOR, 0.0)
    weight = np.maximum(_convolved(seen.astype(float), profile), 1e-3)
    found = guess = np.maximum(sought - _FLOOR, _FLOOR / 100)
    change = np.zeros(N_POINTS)
    for _ in range(STEPS):
        ratio = sought / np.maximum(_convolved(guess, profile) + _FLOOR, _FLOOR)
        better = guess * np.maximum(_convolved(ratio, profile) / weight, 0)
        change, before = better - guess, change
        length = before @ before
        ahead = np.clip(change @ before / length, 0, 0.98) if length else 0.0
        found, guess = better, np.maximum(better + ahead * (better - found), 0)
    lines = _convolved(found, _pseudo_voigt(SIGMA_DEG * FWHM_PER_SIGMA, 0.0))
    left_over = LEFT_OVER * np.max(lines, where=seen, initial=0.0)
    return np.where(seen, np.maximum(lines - left_over, 0) * highest, np.nan)


def _pseudo_voigt(fwhm_deg: float, lorentzian: float) -> np.ndarray:
    """Transform (_LENGTH // 2 + 1,) of the profile around 0, whose sum is 1; it is real."""
    offset = TWO_THETA_STEP_DEG * (np.arange(_LENGTH) - _LENGTH // 2)
    square = np.where(np.abs(offset) < _REACH_DEG, 2 * offset / fwhm_deg, np.inf) ** 2
    parts = np.exp(-np.log(2) * square), 1 / (1 + square)
    gaussian, other = (part / part.sum() for part in parts)
    return fft.rfft(fft.ifftshift(gaussian + lorentzian * (other - gaussian))).real


def _convolved(values: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Values (4250,) under a profile, with nothing beyond their ends."""
    return fft.irfft(fft.rfft(values, _LENGTH) * transform, _LENGTH)[:N_POINTS]
