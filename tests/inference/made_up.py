"""Measurements with known truth: a cubic crystal on an instrument, and files of it."""

from __future__ import annotations

import itertools

import numpy as np

CU_1, CU_2, CU_MEAN = 1.54056, 1.54439, 1.54184
EDGE_ANGSTROM = 4.0
#: Lines of a primitive cubic crystal: h^2 + k^2 + l^2, and a made-up intensity for each.
_SQUARES = sorted(
    {h * h + k * k + m * m for h, k, m in itertools.product(range(6), repeat=3)} - {0}
)
STRENGTH = {n: 20 + 80 * ((7 * n) % 11) / 10 for n in _SQUARES}


def line_positions(wavelength: float, edge: float = EDGE_ANGSTROM) -> dict[int, float]:
    """2-theta in degrees by Bragg's law, by h^2 + k^2 + l^2."""
    sines = {n: wavelength * np.sqrt(n) / (2 * edge) for n in _SQUARES}
    return {n: 2 * np.degrees(np.arcsin(s)) for n, s in sines.items() if s < 1}


def gaussians(x, positions, strengths, sigma):
    """The naive sum of Gaussians of the same height factor."""
    y = np.zeros(len(x))
    for position, strength in zip(positions, strengths, strict=True):
        y += strength * np.exp(-0.5 * ((x - position) / sigma) ** 2)
    return y


def measurement(
    wavelengths=((CU_1, 1.0), (CU_2, 0.5)),
    start=10.0,
    stop=80.0,
    step=0.02,
    sigma=0.04,
    counts=5000.0,
    background=0.05,
    seed=0,
):
    """Angles and counts of the crystal: lines of either wavelength, background and noise."""
    x = np.arange(start, stop + step / 2, step)
    y = np.zeros(len(x))
    for wavelength, share in wavelengths:
        found = line_positions(wavelength)
        y += share * gaussians(x, found.values(), (STRENGTH[n] for n in found), sigma)
    y = y / y.max() + background * (1 + np.exp(-(x - start) / 15))
    return x, np.random.default_rng(seed).poisson(counts * y).astype(float)


def model_pattern():
    """What the models are trained on: sigma 0.1 degrees at the mean wavelength, maximum 100."""
    grid = 5 + 0.02 * np.arange(4250)
    found = line_positions(CU_MEAN)
    y = gaussians(grid, found.values(), (STRENGTH[n] for n in found), 0.1)
    return 100 * y / y.max()


def cosine(a, b):
    """Of the angle between two patterns, where both are known."""
    both = np.isfinite(a) & np.isfinite(b)
    return a[both] @ b[both] / np.sqrt((a[both] @ a[both]) * (b[both] @ b[both]))
