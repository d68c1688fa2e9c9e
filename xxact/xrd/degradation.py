"""Reflections to patterns as a laboratory measures them and a clean-up leaves them, by the batch.

What a row of `xxact.xrd.instrument.draw` describes is done in the order of the experiment:

    lines       moved and weakened, each with its K-alpha-2, at most two kinds of crystal
    profiles    Voigt functions whose widths change with the angle
    counts      the noise of the lines and of the background that they stand on
    clean-up    lines narrower than the models' brought to their width (those of real patterns also
                where they are wider, xxact/inference/profiles.py), background taken off, a
                little too much or too little of it and most of the tails of lines with it, nothing
                below zero, the highest point 100
    range       NaN where nothing was measured

A Voigt function is a product in Fourier space, and its widths are smooth functions of the angle
alone: between `_NODES` angles the transform is interpolated by a polynomial, so that there are so
many transforms of a sample instead of one for each line. The sum differs from the naive one by less
than 1 % of a line's height for the most uneven widths of `RANGES`. No line is narrower than lets
a grid three times as coarse do for the transforms.
Nothing waits for the device, and no matrix product is in it that TF32 or autocast could round.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from xxact.xrd.broadening import BEFORE, SPLINE_WIDTH, broaden, spread
from xxact.xrd.grid import (
    N_POINTS,
    TWO_THETA_MAX_DEG,
    TWO_THETA_MIN_DEG,
    TWO_THETA_STEP_DEG,
    two_theta_grid,
)
from xxact.xrd.instrument import RANGES
from xxact.xrd.reflections import WAVELENGTHS_ANGSTROM

#: Standard deviation in degrees of the lines of patterns that models are trained on otherwise.
MODEL_SIGMA_DEG = 0.1
#: Where the width of a pattern's lines is looked at, to bring it to the models'.
TYPICAL_DEG = 40.0
SCHERRER = 0.9  # K of a sphere, for widths at half maximum
WAVELENGTH_ANGSTROM = WAVELENGTHS_ANGSTROM["CuKa"]
ALPHA2_OVER_ALPHA1 = WAVELENGTHS_ANGSTROM["CuKa2"] / WAVELENGTHS_ANGSTROM["CuKa1"]

_FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
_LENGTH = 4608  # of the transforms: the grid and 7 degrees, after which tails come round again
_COARSE = 3  # steps of the grid in one of the coarse grid that lines are put on
_COARSE_DEG = _COARSE * TWO_THETA_STEP_DEG
_NODES = 3
_ROUNDING = 0.01  # of angles in float32, in square degrees: a hundredth of a step
_HUNDRED = 100 * (1 - 1e-6)  # rounding must not lead above 100
_STRETCH = 25  # points in half a degree
_N_STRETCHES = N_POINTS // _STRETCH
_POOL = 1 << 18  # random numbers of each smoothness
_OF_LINES = ("texture_at", "texture", "debye_waller", "strain", "alpha2")
_OF_LINES += ("zero_deg", "displacement_deg")
_OF_PATTERNS = ("counts", "background_left", "tails_taken", "first_deg", "last_deg")
_CHUNK = 128  # patterns at a time on a CPU, to stay in its cache
_SMOOTHEST = 5  # standard deviation in steps of the Gaussian that noise is smoothed by, at most


@torch.no_grad()
def degrade(two_theta: Tensor, intensity: Tensor, row: Tensor, measurements: Tensor) -> Tensor:
    """Patterns on the grid of `xxact.xrd.grid`, (B, 4250) float32 in [0, 100], some NaN.

    two_theta: (R,) angles in degrees of all reflections of the batch, an impurity's among them.
    intensity: (R,) not negative, the strongest of a sample 1.
    row: (R,) int64, the sample of each reflection, in any order.
    measurements: (B, len(RANGES)) of `xxact.xrd.instrument.draw`, on the same device.

    NaN is what was not measured. The pattern of a sample depends on nothing else of its batch.
    """
    of = dict(zip(RANGES, measurements.split(1, dim=1), strict=True))  # (B, 1) each
    n, device = len(measurements), measurements.device
    sticks = _sticks(*_lines(two_theta, intensity, row, of), n)  # (B, 1536)
    variance, lorentzian, missing = _widths(of)
    background = _background(of)  # (B, 171)
    noise_at = _noise_at(missing, of)
    patterns = torch.empty((n, N_POINTS), device=device)
    size = _CHUNK if device.type == "cpu" else max(1, n)
    for start in range(0, n, size):
        part = slice(start, start + size)
        own = {name: of[name][part] for name in _OF_PATTERNS}
        pattern = _profiles(sticks[part], variance[part], lorentzian[part])  # (b, 4250)
        _count(pattern, background[part], noise_at[part], own)
        _normalise(pattern, own, out=patterns[part])
    return patterns


@torch.no_grad()
def calculate(two_theta: Tensor, intensity: Tensor, row: Tensor, measurements: Tensor) -> Tensor:
    """What `degrade` degrades: patterns (B, 4250) in [0, 100] of the same lattices, all known.

    Strain is the sample's and stays; instrument, texture, thermal motion, noise and background do
    not. Arguments are as of `degrade`, but for impurities, which are left out.
    """
    strain = measurements[:, list(RANGES).index("strain")]  # (B,)
    sine = _sine(two_theta) / (1 + strain[row])  # (R,)
    angle = _angle(sine.clamp_(max=1.0))
    return broaden(angle, intensity, row, len(measurements), MODEL_SIGMA_DEG)


def _sine(two_theta: Tensor) -> Tensor:
    """The sine of theta, for 2-theta in degrees."""
    return torch.sin(two_theta.float() * (math.pi / 360))


def _angle(sine: Tensor) -> Tensor:
    """2-theta in degrees."""
    return torch.asin(sine) * (360 / math.pi)


def _lines(
    two_theta: Tensor, intensity: Tensor, row: Tensor, of: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Angles in degrees, intensities and samples (L,) of the lines of both wavelengths."""
    n = len(row)
    # On a CPU lines without a second one are left out; to count them would wait for a GPU.
    second = slice(None)
    if row.is_cpu:
        second = of["alpha2"].squeeze(1).index_select(0, row).nonzero().squeeze(1)
    two_theta, intensity, row = (torch.cat((x, x[second])) for x in (two_theta, intensity, row))
    # (L,) each, gathered together: reading the samples of all lines is what costs
    columns = torch.cat([of[name].T for name in _OF_LINES])  # (7, B)
    own = dict(zip(_OF_LINES, columns.index_select(1, row), strict=True))
    sine = _sine(two_theta)  # (L,)
    # The angle picks the random number: it needs no place among the lines of a batch.
    place = own["texture_at"] * _POOL + two_theta * (50 / TWO_THETA_STEP_DEG)
    normal = _normals(row.device)[0].index_select(0, place.long() & (_POOL - 1))
    thermal = own["debye_waller"] * sine.square()
    exponent = (own["texture"] * normal).sub_(thermal, alpha=2 / WAVELENGTH_ANGSTROM**2)
    intensity = exponent.exp_().mul_(intensity)
    intensity[n:] *= own["alpha2"][n:]

    sine /= 1 + own["strain"]
    sine[n:] *= ALPHA2_OVER_ALPHA1
    cosine = torch.sqrt(1 - sine.clamp_(max=1.0).square())
    shift = own["zero_deg"].addcmul_(own["displacement_deg"], cosine, value=-1)
    return _angle(sine).add_(shift), intensity, row


def _sticks(angle: Tensor, intensity: Tensor, row: Tensor, n: int) -> Tensor:
    """Lines (L,) on coarse grids (n, 1536), those outside of the range left out."""
    inside = angle.clamp(TWO_THETA_MIN_DEG, TWO_THETA_MAX_DEG)  # (L,)
    weight = angle.eq_(inside).mul_(intensity)
    place = (inside - TWO_THETA_MIN_DEG) * (1 / _COARSE_DEG)
    return spread(place, weight, row, n, _LENGTH // _COARSE)


def _widths(of: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian variance in square degrees and Lorentzian half width in degrees, (B, nodes) each,
    and the variance (B, 1) that the clean-up adds to each line of a sample."""
    tangent, per_size, per_strain = _of_angle(of["size_nm"].device)  # (nodes + 1,)
    u, w = of["caglioti_u"], of["caglioti_w"]
    v = -2 * of["caglioti_v"] * torch.sqrt(u * w)
    gaussian = (u * tangent + v).mul_(tangent).add_(w)  # (B, nodes + 1), squares of widths
    lorentzian = (per_size / of["size_nm"]).addcmul_(per_strain, of["microstrain"])
    # Width of a Voigt function: J. J. Olivero and R. L. Longbothum, JQSRT 17, 233 (1977).
    square = 0.2166 * lorentzian[:, -1:] ** 2 + gaussian[:, -1:]
    typical = (0.5346 * lorentzian[:, -1:] + torch.sqrt(square)) / _FWHM_PER_SIGMA
    missing = (MODEL_SIGMA_DEG**2 - typical**2).clamp_min_(0.0)  # (B, 1)
    return gaussian[:, :-1] / _FWHM_PER_SIGMA**2 + missing, lorentzian[:, :-1] / 2, missing


def _profiles(sticks: Tensor, variance: Tensor, lorentzian: Tensor) -> Tensor:
    """The sum of the lines' Voigt functions on the grid (b, 4250)."""
    weights, frequency, square, over_spline = _interpolation(sticks.device)
    spectra = torch.fft.rfft(sticks[:, None] * weights)  # (b, nodes, 769)
    # Transforms of Voigt functions over that of the spline
    kernel = torch.addcmul(over_spline, variance[..., None], square)
    kernel.addcmul_(lorentzian[..., None], frequency).exp_()
    spectrum = spectra.mul_(kernel).sum(dim=1)  # (b, 769)
    first = BEFORE * _COARSE
    return torch.fft.irfft(spectrum, n=_LENGTH)[:, first : first + N_POINTS]


def _noise_at(missing: Tensor, of: dict[str, Tensor]) -> Tensor:
    """Where in the table of `_normals` the noise of each sample begins, (B,)."""
    smoothness = (missing.sqrt() / TWO_THETA_STEP_DEG).round().long().clamp_(max=_SMOOTHEST)
    return (smoothness * _POOL + (of["noise_at"] * (_POOL - N_POINTS)).long()).squeeze(1)


def _count(pattern: Tensor, background: Tensor, noise_at: Tensor, of: dict[str, Tensor]) -> None:
    """Scale patterns, in place, to counts; add their noise, and what a wrong background leaves.

    Poisson's mean and variance, with a normal distribution: what differs at a few counts is lost
    when the background is taken off. What smooths lines smooths noise, whose variance is that of
    the counts before.
    """
    pattern.mul_(_to(of["counts"], pattern)).clamp_(min=0.0)  # (b, 4250)
    left = of["background_left"] * background - of["tails_taken"] * _foot(pattern)  # (b, 171)
    noise = _normals(pattern.device).view(-1).unfold(0, N_POINTS, 1).index_select(0, noise_at)
    stretches = pattern.view(-1, _N_STRETCHES, _STRETCH)  # (b, 170, 25)
    # Within half a degree a background changes too little for its noise to show it.
    variance = (stretches + background[:, :-1, None]).flatten(1)  # (b, 4250)
    stretches.add_(left[:, :-1, None])  # and straight lines from one value to the next
    stretches.addcmul_(left.diff(dim=1)[..., None], _shares(pattern.device))
    pattern.addcdiv_(noise, variance.rsqrt_())  # a CPU is slower at roots than at one over them


def _foot(pattern: Tensor) -> Tensor:
    """What of lines alone looks like background: tails that run together, (B, 171) as below.

    A background bends over a few degrees and goes through the lowest stretches: of the means of
    half a degree the least within a degree on either side, smoothed as far.
    """
    means = pattern.view(-1, _N_STRETCHES, _STRETCH).mean(dim=2)  # (B, 170)
    least = -F.max_pool1d(-means, 5, stride=1, padding=2)
    return F.pad(least, (2, 2)).unfold(1, 4, 1).sum(dim=2) / _stretches_around(pattern.device)


def _background(of: dict[str, Tensor]) -> Tensor:
    """Counts of what the lines stand on, (B, 171) from 5 to 90 degrees, half a degree apart."""
    angle, air, tilt, bend = _background_parts(of["air"].device)  # (171,) each
    smooth = (1 + of["slope"] * tilt).addcmul_(of["curvature"], bend)  # (B, 171)
    width = of["hump_width_deg"] / _FWHM_PER_SIGMA
    hump = torch.exp(-0.5 * ((angle - of["hump_deg"]) / width).square_())
    smooth.mul_(of["background"]).addcmul_(of["air"], air).addcmul_(of["hump"], hump)
    return smooth.mul_(of["counts"])


def _normalise(pattern: Tensor, of: dict[str, Tensor], out: Tensor) -> None:
    """Patterns without negative values, the highest point of what was measured 100, else NaN."""
    angle, minus_square = _angles(pattern.device)  # (4250,) each
    first, last = of["first_deg"], of["last_deg"]
    # 1 where (angle - first) (last - angle) is not negative, else 0: masks of true and false take
    # a CPU five times as long.
    inside = torch.addcmul(minus_square, angle, first + last).ge_(first * last - _ROUNDING)
    pattern.clamp_(min=0.0).mul_(inside)
    torch.div(pattern.mul_(_to(_HUNDRED, pattern)), inside, out=out)  # 0 / 0 is NaN


def _to(top: Tensor | float, pattern: Tensor) -> Tensor:
    """Factors (B, 1) that make the maximum `top`; 0 where there is none above zero."""
    maximum = pattern.amax(dim=1, keepdim=True)
    return torch.where(maximum > 0, top / maximum, 0.0)


def _node_angles() -> list[float]:
    """Chebyshev's nodes between 5 and 90 degrees."""
    middle, half = (
        (TWO_THETA_MAX_DEG + TWO_THETA_MIN_DEG) / 2,
        (TWO_THETA_MAX_DEG - TWO_THETA_MIN_DEG) / 2,
    )
    return [middle + half * math.cos(math.pi * (k + 0.5) / _NODES) for k in range(_NODES)]


@functools.lru_cache(maxsize=8)
def _of_angle(device: torch.device) -> tuple[Tensor, ...]:
    """The tangent of theta, and Lorentzian widths in degrees by one over a size in nanometres and
    by microstrain: at the nodes and, last, where widths are looked at, (nodes + 1,) each."""
    theta = torch.deg2rad(torch.tensor([*_node_angles(), TYPICAL_DEG]) / 2)
    tangent = theta.tan()
    size = torch.rad2deg(SCHERRER * WAVELENGTH_ANGSTROM / 10 / theta.cos())
    return tuple(part.to(device) for part in (tangent, size, torch.rad2deg(4 * tangent)))


@functools.lru_cache(maxsize=8)
def _interpolation(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lagrange's polynomials (nodes, 1536) on the coarse grid, and by frequency (769,) what a
    half width, a variance and nothing add to the logarithm of a transform, the last to take the
    spline out. Beyond these frequencies a line has less than a part in 200 of its height, most
    lines less than one in 10,000."""
    point = torch.arange(_LENGTH // _COARSE, dtype=torch.float64)
    angle = TWO_THETA_MIN_DEG + _COARSE_DEG * (point - BEFORE)
    nodes = _node_angles()
    weights = [
        math.prod((angle - other) / (node - other) for other in nodes if other != node)
        for node in nodes
    ]
    omega = 2 * math.pi * torch.fft.rfftfreq(len(point), _COARSE_DEG, dtype=torch.float64)
    over_spline = -SPLINE_WIDTH * torch.sinc(omega * _COARSE_DEG / (2 * math.pi)).log()
    parts = torch.stack(weights), -omega, -omega.square() / 2, over_spline
    return tuple(part.float().to(device) for part in parts)


@functools.lru_cache(maxsize=8)
def _background_parts(device: torch.device) -> tuple[Tensor, ...]:
    """Angles, air's scattering at 1, and a line and a parabola from -1 to 1, (171,) each."""
    x = torch.linspace(-1.0, 1.0, _N_STRETCHES + 1)
    angle = torch.linspace(TWO_THETA_MIN_DEG, TWO_THETA_MAX_DEG, len(x))
    parts = torch.stack((angle, TWO_THETA_MIN_DEG / angle, x, 2 * x.square() - 1))
    return parts.to(device).unbind()


@functools.lru_cache(maxsize=8)
def _normals(device: torch.device) -> Tensor:
    """Normal random numbers (6, P), those of each row smoothed by a Gaussian one step wider.

    A table that each sample reads from a place of its own costs less than drawing anew, gives the
    same on every device, and does not depend on how a batch is cut.
    """
    white = torch.randn(_POOL, generator=torch.Generator().manual_seed(0))
    frequency = torch.fft.rfftfreq(_POOL)
    sigma = torch.arange(_SMOOTHEST + 1)[:, None]
    gaussian = torch.exp(-2 * (math.pi * sigma * frequency) ** 2)
    return torch.fft.irfft(torch.fft.rfft(white) * gaussian, n=_POOL).to(device)


@functools.lru_cache(maxsize=8)
def _angles(device: torch.device) -> tuple[Tensor, Tensor]:
    """The angles of the grid (4250,) in degrees, and their squares below zero."""
    angle = torch.from_numpy(two_theta_grid())
    return angle.float().to(device), -angle.square().float().to(device)


@functools.lru_cache(maxsize=8)
def _shares(device: torch.device) -> Tensor:
    """How far each point (25,) is from one value of half a degree to the next."""
    return torch.arange(_STRETCH, device=device) / _STRETCH


@functools.lru_cache(maxsize=8)
def _stretches_around(device: torch.device) -> Tensor:
    """How many stretches of half a degree are within a degree of each end of one, (171,)."""
    return F.pad(torch.ones(_N_STRETCHES), (2, 2)).unfold(0, 4, 1).sum(dim=1).to(device)
