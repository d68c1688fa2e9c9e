"""From counts to the model's input, against the crystal that the counts were made of."""

import numpy as np
import pytest

from tests.inference.made_up import (
    CU_1,
    CU_2,
    CU_MEAN,
    STRENGTH,
    cosine,
    gaussians,
    line_positions,
    measurement,
    model_pattern,
)
from xxact.inference.cleanup import averaged, clean, equal_d, smoothed, strip_alpha2
from xxact.inference.measured import measured_pattern
from xxact.inference.radiation import Radiation, of_word, tube

GRID = 5 + 0.02 * np.arange(4250)
CU = tube("Cu", "user")


def lorentz_polarisation(two_theta_deg):
    theta = np.radians(two_theta_deg) / 2
    return (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))


def test_angles_of_another_wavelength_follow_braggs_law():
    cobalt, copper = line_positions(1.79026), line_positions(CU_MEAN)
    found = equal_d(np.array(list(cobalt.values())), 1.79026, CU_MEAN)
    np.testing.assert_allclose(found, [copper[n] for n in cobalt], atol=1e-9)
    assert np.isnan(equal_d(np.array([100.0]), 0.7, CU_MEAN)).all()


def test_alpha2_is_taken_out():
    x = np.arange(20, 110, 0.02)
    one, other = line_positions(CU_1), line_positions(CU_2)
    first = gaussians(x, one.values(), (STRENGTH[n] for n in one), 0.05)
    second = gaussians(x, other.values(), (STRENGTH[n] for n in other), 0.05)
    stripped = strip_alpha2(x, 30 + first + 0.5 * second, CU)
    assert np.abs(stripped - (20 + first)).max() < 0.03 * first.max()


@pytest.mark.parametrize("step", [0.001, 0.0137, 0.05])
def test_averages_keep_areas_and_places(step):
    x = np.arange(20, 40, step)
    level = averaged(x, gaussians(x, [30.007], [1.0], max(0.004, 2 * step)))
    seen = np.isfinite(level)
    area = max(0.004, 2 * step) * np.sqrt(2 * np.pi)
    assert 0.02 * level[seen].sum() == pytest.approx(area, rel=1e-3)
    assert (GRID[seen] * level[seen]).sum() / level[seen].sum() == pytest.approx(30.007, abs=0.005)
    np.testing.assert_array_equal(seen, np.isin(GRID, GRID[(x[0] - GRID) * (x[-1] - GRID) <= 0]))


def test_what_was_not_measured_has_no_weight():
    level = np.where((GRID > 20) & (GRID < 50), 3.0, np.nan)
    found = smoothed(level, 0.1)
    np.testing.assert_allclose(found, level)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"step": 0.1},
        {"step": 0.005, "sigma": 0.02},
        {"background": 0.5, "counts": 20_000},
        {"start": 5, "stop": 90, "sigma": 0.08},
        {"sigma": 0.3},
    ],
)
def test_the_crystal_is_seen_as_in_training(changes):
    found = clean(measured_pattern("sample", *measurement(**changes), CU))
    assert not found.doubts
    assert np.nanmax(found.pattern) == 100
    assert np.nanmin(found.pattern) >= 0
    assert cosine(found.pattern, model_pattern()) > 0.99


@pytest.mark.parametrize("wavelength", [1.78896, 0.7093, 0.41])
def test_other_wavelengths_show_the_same_crystal(wavelength):
    positions, copper = line_positions(wavelength), line_positions(CU_MEAN)
    x = np.arange(2, 90, 0.005)
    y = np.zeros(len(x))
    for n in copper.keys() & positions.keys():
        factor = lorentz_polarisation(positions[n]) / lorentz_polarisation(copper[n])
        if wavelength == 0.41:  # a synchrotron's beam is polarised across the plane of scattering
            factor /= (1 + np.cos(np.radians(positions[n])) ** 2) / 2
        y += gaussians(x, [positions[n]], [STRENGTH[n] * factor], 0.02)
    radiation = Radiation(wavelength)
    found = clean(measured_pattern("sample", x, 1e4 * (y / y.max() + 0.02), radiation))
    assert cosine(found.pattern, model_pattern()) > 0.98
    assert any(f"2-theta of {wavelength:.5f} A" in step for step in found.steps)


def test_nan_is_what_was_not_measured():
    x, y = measurement()
    kept = (x < 40) | (x > 45)
    found = clean(measured_pattern("sample", x[kept], y[kept], CU))
    seen = np.isfinite(found.pattern)
    assert not seen[(GRID < 9.99) | (GRID > 80.1) | ((GRID > 40.1) & (GRID < 44.9))].any()
    assert seen[(GRID > 10.1) & (GRID < 39.9)].all()
    assert found.covered_deg == pytest.approx(65, abs=0.2)
    assert not found.is_whole


def test_a_doublet_that_is_not_there_is_left_alone():
    single = measurement(wavelengths=((CU_1, 1.0),))
    found = clean(measured_pattern("sample", *single, of_word("1.5406")))
    assert any("no K-alpha-2 found" in step for step in found.steps)
    double = clean(measured_pattern("sample", *measurement(), of_word("1.5406")))
    assert any("K-alpha-2 taken out" in step for step in double.steps)
    for one in (found, double):
        assert cosine(one.pattern, model_pattern()) > 0.99


@pytest.mark.parametrize("sigma", [0.03, 0.2])
def test_lines_are_told_and_turned(sigma):
    found = clean(measured_pattern("sample", *measurement(sigma=sigma, stop=60), CU))
    (told,) = (step.split()[1] for step in found.steps if "at half maximum" in step)
    assert float(told) == pytest.approx(sigma * 2.3548, rel=0.15)
    assert cosine(found.pattern, model_pattern()) > 0.99


@pytest.mark.parametrize("counts", [10, 1000, 100_000])
@pytest.mark.parametrize("hump", [0, 5])
def test_noise_and_glass_are_no_lines(counts, hump):
    x = np.arange(5, 90, 0.02)
    level = 1 + hump * np.exp(-0.5 * ((x - 25) / 4) ** 2) + 0.4 * hump * (x > 20) / x
    y = np.random.default_rng(0).poisson(counts * level)
    assert "too noisy, amorphous" in clean(measured_pattern("sample", x, y, CU)).doubts[0]


def test_lines_that_drown_in_noise_are_doubted_and_others_are_not():
    weak = clean(measured_pattern("sample", *measurement(counts=3, background=2), CU))
    clear = clean(measured_pattern("sample", *measurement(counts=300, background=0.1), CU))
    assert weak.doubts
    assert not clear.doubts
    assert clear.n_lines >= 8


def test_a_short_range_is_doubted():
    found = clean(measured_pattern("sample", *measurement(start=30, stop=45), CU))
    assert found.doubts == ("15.0 of 85 degrees were measured: at least 20 are needed",)
    assert np.isnan(found.pattern).all()


@pytest.mark.parametrize(("start", "stop"), [(30.0, 30.1), (0.1, 5.0), (3.2, 4.9)])
def test_hardly_anything_on_the_grid_is_a_doubt(start, stop):
    counts = np.random.default_rng(0).poisson(50, 400).astype(float)
    found = clean(measured_pattern("x", np.linspace(start, stop, 400), counts))
    assert "at least 20 are needed" in found.doubts[0]
