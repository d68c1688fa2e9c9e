"""From counts to what the models read: (4250,) float32 on the grid, NaN where nothing was measured.

In this order: K-alpha-2 is taken out; an internal standard tells the displacement of the sample,
which is taken out, and its lines count as not measured; angles become those of Cu K-alpha at equal
d; counts are averaged over the steps of the grid; the background goes; lines get the shape and
width that the models know; the highest point is 100.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks, lfilter

from xxact.inference.measured import FEWEST_POINTS, Measured
from xxact.inference.profiles import FWHM_PER_SIGMA, SIGMA_DEG, line_width_deg, reshaped
from xxact.inference.radiation import ALPHA2_RATIO, Radiation
from xxact.inference.standard import HIDDEN_DEG, STANDARDS, displacement_deg
from xxact.xrd.grid import (
    N_POINTS,
    TWO_THETA_STEP_DEG,
    two_theta_grid,
)
from xxact.xrd.reflections import WAVELENGTHS_ANGSTROM

#: Wavelength that the models are trained on.
WAVELENGTH_ANGSTROM = WAVELENGTHS_ANGSTROM["CuKa"]
#: What bends of the background cost, on the steps of the grid: it follows humps and no lines.
BACKGROUND_STIFFNESS = 1e5
#: A line stands out from the noise by so many standard deviations, and by this share of the
#: highest one.
SIGNIFICANT, SMALLEST_LINE = 5.0, 0.005
#: "I do not know": fewer lines, a shorter range, or lines that are lower than this share of the
#: background that they stand on.
FEWEST_LINES, SHORTEST_DEG, LOWEST_LINE = 3, 20.0, 0.02
#: Steps of the doublet's distance in ln(sin theta) that K-alpha-2 is taken out on.
_DOUBLET_STEPS = 28
#: Share of the intensity that may turn negative when a doublet that is there is taken out.
_OVERSTRIPPED = 0.008
#: The noise is told in so many stretches of a pattern.
NOISE_STRETCHES = 25


@dataclass(frozen=True, eq=False)
class Cleaned:
    """What a model is given of a measured pattern, and what was done to get there.

    pattern: (4250,) float32 in [0, 100], NaN where nothing was measured.
    covered_deg: how much of 5 to 90 degrees of Cu K-alpha was measured.
    n_lines: lines that stand out from the noise.
    steps: what was done, a sentence each.
    doubts: reasons for which no answer can be given.
    """

    pattern: np.ndarray
    covered_deg: float
    n_lines: int
    steps: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all of 5 to 90 degrees was measured."""
        return bool(np.isfinite(self.pattern).all())


def clean(measured: Measured, standard: str | None = None) -> Cleaned:
    """The model's input of a measured pattern; `standard` is in the sample, one of `STANDARDS`.

    Raises `UserError` where the lines of the standard are not there.
    """
    radiation, counts, steps = _alpha1(measured)
    angles, gaps_deg = measured.two_theta_deg, measured.gaps_deg
    if standard is not None:
        shift = displacement_deg(angles, counts, standard, radiation.mean)
        angles = _in_place(angles, shift)
        gaps_deg = _in_place(np.array(gaps_deg).reshape(-1, 2), shift).tolist()
        lines = STANDARDS[standard].lines_deg(radiation.mean)
        gaps_deg += [(line - HIDDEN_DEG, line + HIDDEN_DEG) for line in lines.tolist()]
        steps.append(f"displacement of {shift:.3f} degrees taken out, and the lines of {standard}")
    at_cu = equal_d(angles, radiation.mean, WAVELENGTH_ANGSTROM)
    if abs(radiation.mean / WAVELENGTH_ANGSTROM - 1) > 1e-6:
        steps.append(
            f"2-theta of {radiation.mean:.5f} A turned into that of {WAVELENGTH_ANGSTROM:.5f} A"
        )
    density = counts * _intensity_factor(angles, at_cu, radiation)
    noise = _noise(density)
    gaps = [tuple(equal_d(np.array(gap), radiation.mean)) for gap in gaps_deg]
    level = averaged(at_cu, density, gaps)  # (4250,), NaN where not measured
    seen = np.isfinite(level)
    covered = TWO_THETA_STEP_DEG * seen.sum()
    if covered < SHORTEST_DEG:
        doubt = f"{covered:.1f} of 85 degrees were measured: at least {SHORTEST_DEG:g} are needed"
        nothing = np.full(N_POINTS, np.nan, np.float32)
        return Cleaned(nothing, covered, 0, tuple(steps), (doubt,))
    background = _background(level)
    steps.append("background subtracted (arPLS)")
    net = level - background
    n_lines, doubts = _lines(net, background, noise, at_cu)
    width = line_width_deg(net)
    steps.append(
        f"lines {width:.2f} degrees wide at half maximum turned into the models', Gaussians of"
        f" {SIGMA_DEG * FWHM_PER_SIGMA:.2f} (Richardson and Lucy)"
    )
    lines = reshaped(net, width)
    scale = 100 / np.nanmax(lines) if np.nanmax(lines) > 0 else 0.0
    return Cleaned(
        (lines * scale).astype(np.float32),
        covered,
        n_lines,
        tuple(steps),
        tuple(doubts),
    )


def _in_place(angles: np.ndarray, shift_deg: float) -> np.ndarray:
    """Angles 2-theta in degrees of a sample at its place, of one displaced by `shift_deg`."""
    return angles + shift_deg * np.cos(np.radians(angles / 2))


def equal_d(
    two_theta_deg: np.ndarray, wavelength: float, wanted: float = WAVELENGTH_ANGSTROM
) -> np.ndarray:
    """Angles at which `wanted` shows what `wavelength` shows at others, NaN where it never does."""
    sine = np.sin(np.radians(two_theta_deg) / 2) * (wanted / wavelength)
    return 2 * np.degrees(np.arcsin(np.where(np.abs(sine) < 1, sine, np.nan)))


def strip_alpha2(two_theta_deg: np.ndarray, counts: np.ndarray, radiation: Radiation) -> np.ndarray:
    """Counts (n,) of the first line of a doublet alone: W. A. Rachinger, J. Sci. Instrum. 25, 254
    (1948).

    I(x) = I1(x) + r I1(x - s), where x = ln(sin theta), s = ln(alpha2 / alpha1) and r the ratio of
    the lines: on equal steps of x a recursive filter. Angles at or below 0 are left as they are.
    """
    shift = np.log(radiation.alpha2 / radiation.alpha1)
    above = two_theta_deg > 0.1
    x = np.log(np.sin(np.radians(two_theta_deg[above]) / 2))
    even = np.arange(x[0], x[-1] + shift / _DOUBLET_STEPS, shift / _DOUBLET_STEPS)
    sums = np.interp(even, x, counts[above])
    recursion = np.zeros(_DOUBLET_STEPS + 1)
    recursion[0], recursion[-1] = 1, ALPHA2_RATIO
    before = sums[0] / (1 + ALPHA2_RATIO)  # as if the pattern were level before its first point
    first, _ = lfilter([1.0], recursion, sums, zi=np.full(_DOUBLET_STEPS, -ALPHA2_RATIO * before))
    stripped = counts.copy()
    stripped[above] = np.interp(x, even, first)
    return stripped


def averaged(
    angles: np.ndarray, counts: np.ndarray, gaps: list[tuple[float, float]] = ()
) -> np.ndarray:
    """Mean of the counts over each step of the grid (4250,), NaN where it was not measured.

    The line through the points is integrated, so that no line falls between two steps, however
    fine or coarse the scan was.
    """
    known = np.isfinite(angles)
    angles, counts = angles[known], counts[known]
    edges = two_theta_grid()[0] + TWO_THETA_STEP_DEG * (np.arange(N_POINTS + 1) - 0.5)
    if not len(angles):
        return np.full(N_POINTS, np.nan)
    both = np.union1d(angles, edges)
    values = np.interp(both, angles, counts)
    integral = np.concatenate([[0], np.cumsum(np.diff(both) * (values[1:] + values[:-1]) / 2)])
    level = np.diff(integral[np.searchsorted(both, edges)]) / TWO_THETA_STEP_DEG
    centres = two_theta_grid()
    outside = (centres < angles[0]) | (centres > angles[-1])
    for start, stop in gaps:
        outside |= (centres > start) & (centres < stop)
    level[outside] = np.nan
    return level


def smoothed(pattern: np.ndarray, sigma_deg: float) -> np.ndarray:
    """The pattern (4250,) under a Gaussian of `sigma_deg`, in which NaN has no weight."""
    if not sigma_deg:
        return pattern
    seen = np.isfinite(pattern)
    width = sigma_deg / TWO_THETA_STEP_DEG
    sums = gaussian_filter1d(np.where(seen, pattern, 0.0), width, mode="constant")
    weight = gaussian_filter1d(seen.astype(float), width, mode="constant")
    return np.where(seen, sums / np.maximum(weight, 1e-9), np.nan)


def _alpha1(measured: Measured) -> tuple[Radiation, np.ndarray, list[str]]:
    """Radiation and counts without K-alpha-2 where it is there, and what was done."""
    radiation, counts = measured.radiation, measured.counts
    if radiation.alpha2 is None:
        return radiation, counts, []
    stripped = strip_alpha2(measured.two_theta_deg, counts, radiation)
    if radiation.certain or not _is_overstripped(measured.two_theta_deg, counts, stripped):
        return radiation.alone(), stripped, ["K-alpha-2 taken out (Rachinger)"]
    return radiation.alone(), counts, ["no K-alpha-2 found in the pattern, none taken out"]


def _is_overstripped(angles: np.ndarray, counts: np.ndarray, stripped: np.ndarray) -> bool:
    """Whether taking K-alpha-2 out left holes behind the lines: it was not there."""
    level, first = averaged(angles, counts), averaged(angles, stripped)
    if np.isfinite(level).sum() < FEWEST_POINTS:
        return False
    background = _background(level)
    floor = background / (1 + ALPHA2_RATIO)
    holes = np.clip(floor - first - 3 * _noise(level), 0, None)
    return bool(np.nansum(holes) > _OVERSTRIPPED * np.nansum(np.clip(level - background, 0, None)))


def _intensity_factor(angles: np.ndarray, at_cu: np.ndarray, radiation: Radiation) -> np.ndarray:
    """What counts per degree (n,) are multiplied by to be those of Cu K-alpha: the Lorentz and
    polarisation factor of either angle, and the ratio of the steps; 1 for Cu K-alpha."""
    theta, cu = np.radians(angles) / 2, np.radians(at_cu) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        polarisation = (1 + np.cos(2 * theta) ** 2) / 2 if radiation.is_of_a_tube else 1.0
        factor = polarisation / (np.sin(theta) ** 2 * np.cos(theta))
        wanted = (1 + np.cos(2 * cu) ** 2) / 2 / (np.sin(cu) ** 2 * np.cos(cu))
        per_step = np.cos(cu) / np.cos(theta) * radiation.mean / WAVELENGTH_ANGSTROM
        ratio = wanted / factor * per_step
    return np.where(np.isfinite(ratio), ratio, 1.0)


def _background(level: np.ndarray) -> np.ndarray:
    """The background (4250,) of a pattern; ranges that were not measured are bridged.

    By arPLS, S.-J. Baek et al., Analyst 140, 250 (2015), which goes through the middle of the
    noise where SNIP goes along its lower edge: on 24 made-up measurements of known crystals the
    cosine with the square root of the true pattern was 0.925, and 0.914 at most by SNIP.
    """
    from pybaselines.whittaker import arpls

    seen = np.flatnonzero(np.isfinite(level))
    first, last = seen[0], seen[-1] + 1
    bridged = np.interp(np.arange(first, last), seen, level[seen])
    background = np.full(len(level), np.nan)
    background[first:last], _ = arpls(bridged, lam=BACKGROUND_STIFFNESS)
    return np.where(np.isfinite(level), background, np.nan)


def _noise(counts: np.ndarray) -> np.ndarray:
    """Standard deviation (n,) of the points around their neighbours, a smooth function of angle.

    It comes from second differences, whose variance is six times that of independent points; the
    median over a stretch leaves the lines out.
    """
    second = np.abs(np.diff(counts[np.isfinite(counts)], 2))
    size = max(25, len(second) // NOISE_STRETCHES)
    middles = np.arange(size // 2, len(second), size)
    medians = [np.median(second[max(0, k - size // 2) : k + size // 2 + 1]) for k in middles]
    return 1.4826 / np.sqrt(6) * np.interp(np.arange(len(counts)), middles, medians)


def _lines(
    net: np.ndarray, background: np.ndarray, noise: np.ndarray, angles: np.ndarray
) -> tuple[int, list[str]]:
    """How many lines stand out from the noise, and the doubts that follow."""
    known = np.isfinite(angles)
    steps = np.gradient(angles[known])
    # The variance of what a line of the models' width averages over.
    variance = noise[known] ** 2 * steps / (2 * np.sqrt(np.pi) * SIGMA_DEG)
    sigma = np.sqrt(np.interp(two_theta_grid(), angles[known], variance))
    matched = smoothed(net, SIGMA_DEG)
    highest = np.nanmax(matched)
    filled = np.nan_to_num(matched)
    height = np.maximum(SIGNIFICANT * sigma, SMALLEST_LINE * highest)
    peaks, _ = find_peaks(filled, height=height, prominence=height)
    level = np.nanmedian(np.abs(background))
    doubts = []
    if len(peaks) < FEWEST_LINES:
        doubts.append(
            f"lines that stand out from noise and background: {len(peaks)}, and {FEWEST_LINES} are"
            " needed: too noisy, amorphous, or too few in the range"
        )
    elif highest < LOWEST_LINE * level:
        doubts.append(
            f"the highest line is {highest / level:.1%} of the background: amorphous, or too weak"
        )
    return len(peaks), doubts
