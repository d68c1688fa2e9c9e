"""Lines of any width and shape become the models', against naive sums of profiles."""

import numpy as np
import pytest

from tests.inference.made_up import CU_MEAN, STRENGTH, cosine, line_positions, model_pattern
from xxact.inference import profiles
from xxact.inference.profiles import line_width_deg, reshaped

GRID = 5 + 0.02 * np.arange(4250)
#: Of the models' lines.
WIDTH = 0.2355


def pseudo_voigt(offset, fwhm, lorentzian):
    """Naive, of area 1, with tails that go on."""
    gaussian = np.exp(-4 * np.log(2) * (offset / fwhm) ** 2) * np.sqrt(4 * np.log(2) / np.pi) / fwhm
    other = 1 / (1 + (2 * offset / fwhm) ** 2) * 2 / (np.pi * fwhm)
    return (1 - lorentzian) * gaussian + lorentzian * other


def crystal(fwhm, lorentzian):
    found = line_positions(CU_MEAN)
    return sum(
        STRENGTH[n] * pseudo_voigt(GRID - place, fwhm, lorentzian) for n, place in found.items()
    )


@pytest.mark.parametrize("fwhm", [0.06, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("lorentzian", [0.0, 0.5])
def test_the_width_of_lines_is_found(fwhm, lorentzian):
    assert line_width_deg(crystal(fwhm, lorentzian)) == pytest.approx(fwhm, rel=0.06, abs=0.008)


@pytest.mark.parametrize(
    ("fwhm", "lorentzian"),
    [(0.05, 0.3), (0.12, 0.0), (0.12, 0.3), (0.12, 0.8), (0.3, 0.0), (0.3, 0.3), (0.6, 0.3)],
)
def test_lines_become_those_of_training(fwhm, lorentzian):
    found = reshaped(crystal(fwhm, lorentzian), fwhm)
    assert cosine(found, model_pattern()) > 0.99
    assert line_width_deg(found) == pytest.approx(WIDTH, rel=0.12)


def test_intensity_is_neither_lost_nor_made():
    wide = crystal(0.4, 0.3)
    assert reshaped(wide, 0.4).sum() == pytest.approx(wide.sum(), rel=0.02)


def test_what_was_not_measured_neither_is_nor_matters():
    whole, cut = crystal(0.3, 0.3), crystal(0.3, 0.3)
    cut[(GRID < 20) | ((GRID > 40) & (GRID < 42))] = np.nan
    found = reshaped(cut, 0.3)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(cut))
    inside = (GRID > 43) | ((GRID > 21) & (GRID < 39))
    difference = found[inside] - reshaped(whole, 0.3)[inside]
    assert np.abs(difference).max() < 0.01 * np.nanmax(found)


def test_the_recursion_is_richardson_and_lucys(monkeypatch):
    part = slice(1000, 1400)
    rough = np.random.default_rng(0).poisson(20 + 200 * crystal(0.3, 0.3)[part] / 100)
    net = np.zeros(4250)
    net[part] = rough - 20.0
    monkeypatch.setattr(profiles, "STEPS", 200)
    found = reshaped(net, 0.3)[part]

    offset = 0.02 * np.arange(-299, 300)
    profile = pseudo_voigt(offset, profiles.WIDENED * 0.3, profiles.LORENTZIAN)
    profile /= profile.sum()
    sought = np.maximum(net, 0) / net.max() + 1e-3
    weight = np.convolve(np.ones(4250), profile, "same")
    lines = np.maximum(sought - 1e-3, 1e-5)
    for _ in range(2000):  # without acceleration
        ratio = sought / (np.convolve(lines, profile, "same") + 1e-3)
        lines *= np.convolve(ratio, profile, "same") / weight
    gaussian = pseudo_voigt(offset, WIDTH, 0.0) * 0.02
    naive = np.convolve(lines, gaussian, "same")[part] * net.max()
    assert np.abs(found - naive).max() < 0.03 * naive.max()


def test_nothing_stays_nothing():
    assert not reshaped(np.zeros(4250), 0.2).any()
