"""Degraded patterns against the naive sum of Voigt functions, Bragg's law and Poisson's moments."""

import numpy as np
import pytest
import torch
from scipy.special import voigt_profile

from xxact.xrd.degradation import calculate, degrade
from xxact.xrd.grid import two_theta_grid
from xxact.xrd.instrument import RANGES, draw

GRID = two_theta_grid()
#: Of the highest point: interpolation between the widths at three angles.
TOLERANCE_PERCENT = 1.0
#: No effect at all, except on widths: lines of 0.235 degrees at 40 degrees, like the models'.
STILL = {name: range_.otherwise for name, range_ in RANGES.items()} | {
    "caglioti_w": 0.01,
    "size_nm": 1e6,
    "background": 0.0,
    "counts": 1e12,
    "hump_width_deg": 10.0,
}


def measured(two_theta, intensity=None, row=None, measurements=None, **changed):
    """Degraded patterns (B, 4250) of lines, by default of one sample under `STILL | changed`."""
    two_theta = torch.as_tensor(two_theta, dtype=torch.float32)
    intensity = torch.ones(len(two_theta)) if intensity is None else torch.as_tensor(intensity)
    row = torch.zeros(len(two_theta), dtype=torch.int64) if row is None else torch.as_tensor(row)
    if measurements is None:
        measurements = np.array([[*(STILL | changed).values()]], dtype="f4")
    return degrade(two_theta, intensity.float(), row, torch.as_tensor(measurements)).numpy()


def naive(two_theta, intensity, of):
    """The pattern of one sample, a line at a time, in float64: what the physics says."""
    pattern = np.zeros(len(GRID))

    def widths(theta):
        v = -2 * of["caglioti_v"] * np.sqrt(of["caglioti_u"] * of["caglioti_w"])
        t = np.tan(theta)
        gaussian = np.sqrt(of["caglioti_u"] * t**2 + v * t + of["caglioti_w"])
        size = 0.9 * 1.54184 / (10 * of["size_nm"] * np.cos(theta))
        return gaussian, np.degrees(size + 4 * of["microstrain"] * t)

    gauss, lorentz = widths(np.radians(20))
    typical = (0.5346 * lorentz + np.sqrt(0.2166 * lorentz**2 + gauss**2)) / 2.354820
    for position, height in zip(two_theta, intensity, strict=True):
        d = 1.54184 / 2 / np.sin(np.radians(position / 2))
        height = height * np.exp(-2 * of["debye_waller"] / (4 * d**2))
        for ratio, part in ((1.0, 1.0), (1.54439 / 1.54056, of["alpha2"])):
            sine = 1.54184 * ratio / 2 / (d * (1 + of["strain"]))
            if sine >= 1 or not part:
                continue
            theta = np.arcsin(sine)
            at = np.degrees(2 * theta) + of["zero_deg"] - of["displacement_deg"] * np.cos(theta)
            if not 5 <= at <= 90:
                continue
            gauss, lorentz = widths(np.radians(at / 2))
            sigma = np.sqrt((gauss / 2.354820) ** 2 + max(0, 0.1**2 - typical**2))
            pattern += part * height * voigt_profile(GRID - at, sigma, lorentz / 2)
    return 100 * pattern / pattern.max()


@pytest.mark.parametrize("seed", range(12))
def test_a_pattern_equals_the_naive_sum(seed):
    rng = np.random.default_rng(seed)
    two_theta, intensity = rng.uniform(5.5, 89.5, 40), rng.exponential(size=40)
    of = dict(zip(RANGES, draw(seed, 1)[0].astype(float), strict=True))
    quiet = ("texture", "background", "air", "hump", "tails_taken", "counts")
    quiet += ("first_deg", "last_deg")
    of |= {name: STILL[name] for name in quiet}
    expected = naive(two_theta, intensity, of)
    found = measured(two_theta, intensity, **of)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE_PERCENT)
    assert np.abs(found - expected).mean() < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_what_is_degraded_is_the_clean_pattern_of_the_same_lattice(seed):
    """Lines of 0.1 degrees at Bragg's angles of strained d, whatever the instrument does."""
    rng = np.random.default_rng(seed)
    two_theta, intensity = rng.uniform(5.5, 89.5, 40), rng.exponential(size=40)
    measurements = draw(seed, 1)
    strain = dict(zip(RANGES, measurements[0].astype(float), strict=True))["strain"]
    moved = 2 * np.degrees(np.arcsin(np.sin(np.radians(two_theta / 2)) / (1 + strain)))
    inside = (moved >= 5) & (moved <= 90)
    lines = np.exp(-(((GRID - moved[inside, None]) / 0.1) ** 2) / 2)  # (40, 4250)
    pattern = intensity[inside] @ lines
    columns = (torch.as_tensor(two_theta), torch.as_tensor(intensity))
    columns += torch.zeros(40, dtype=torch.int64), torch.as_tensor(measurements)
    found = calculate(*columns)[0].numpy()
    # angles in float32 are known to within some 1e-5 degrees
    np.testing.assert_allclose(found, 100 * pattern / pattern.max(), rtol=0, atol=0.02)


def test_a_perfect_measurement_is_the_clean_pattern():
    """Far within what the interpolation of widths allows, with strain."""
    two_theta, intensity = np.linspace(6, 88, 30), np.linspace(1, 0.1, 30, dtype="f4")
    perfect = STILL | {"caglioti_w": 0.0, "size_nm": np.inf, "strain": 0.01}
    measurements = np.array([[*perfect.values()]], dtype="f4")
    columns = torch.as_tensor(two_theta), torch.as_tensor(intensity), torch.zeros(30).long()
    clean = calculate(*columns, torch.as_tensor(measurements)).numpy()
    found = measured(two_theta, intensity, **perfect)
    np.testing.assert_allclose(found, clean, rtol=0, atol=0.02)


def test_the_most_uneven_widths_stay_within_one_percent():
    of = STILL | {"caglioti_w": 0.0025, "caglioti_u": 0.01, "size_nm": 25.0, "microstrain": 0.001}
    for position in (8.0, 15.0, 33.0, 60.0, 86.0):
        found = measured([position], **of)[0]
        assert np.abs(found - naive([position], [1.0], of)).max() < TOLERANCE_PERCENT


@pytest.mark.parametrize("position", [20.0, 45.0, 80.0])
def test_the_doublet_lies_where_bragg_puts_it(position):
    both = measured([position], alpha2=0.5)[0]
    d = 1.54056 / 2 / np.sin(np.radians(position / 2))
    second = np.degrees(2 * np.arcsin(1.54439 / 2 / d))
    centre = (both * GRID).sum() / both.sum()
    assert centre == pytest.approx((position + 0.5 * second) / 1.5, abs=0.004)


def test_shifts_have_their_forms():
    def centre(position, **changed):
        pattern = measured([position], **changed)[0]
        return (pattern * GRID).sum() / pattern.sum()

    for position in (12.0, 40.0, 80.0):
        still, theta = centre(position), np.radians(position / 2)
        assert centre(position, zero_deg=0.1) - still == pytest.approx(0.1, abs=0.003)
        shift = centre(position, displacement_deg=0.15) - still
        assert shift == pytest.approx(-0.15 * np.cos(theta), abs=0.003)
        stretched = np.degrees(2 * np.arcsin(np.sin(theta) / 1.01)) - position
        assert centre(position, strain=0.01) - still == pytest.approx(stretched, abs=0.003)


def test_noise_has_the_moments_of_counts():
    # Lines as wide as the models', so that nothing smooths the noise. The top alone has a scale.
    of = {"caglioti_w": 0.06, "background": 0.04, "background_left": 1.0}
    counts = 5000.0
    level = measured([60.0], **of)[0]
    away = np.abs(GRID - 60) > 3
    values = np.concatenate(
        [
            measured([60.0], **of, counts=counts, noise_at=place)[0][away]
            for place in np.linspace(0, 0.98, 25)
        ]
    )
    height = level[away].mean() / 100  # of the top, which stands on the background too
    top = counts * 1.04
    assert values.mean() / 100 == pytest.approx(height, rel=0.03)
    assert values.std() / 100 == pytest.approx(np.sqrt(height / top), rel=0.06)


def test_what_smooths_lines_smooths_noise():
    options = {"background": 0.04, "background_left": 1.0, "counts": 1e4}
    away = np.abs(GRID - 60) > 3
    narrow = measured([60.0], caglioti_w=0.0025, **options)[0][away]
    wide = measured([60.0], caglioti_w=0.06, **options)[0][away]
    assert narrow.std() < 0.5 * wide.std()


def test_tails_that_run_together_are_taken_for_background():
    of = STILL | {"size_nm": 10.0}
    lines = np.arange(40.0, 60.0, 1.5)
    whole = naive(lines, np.ones(len(lines)), of)
    stretches = whole.reshape(-1, 25).mean(axis=1)
    padded = np.pad(stretches, 2, constant_values=np.inf)
    least = np.array([padded[k : k + 5].min() for k in range(170)])
    smooth = np.array([least[max(0, k - 2) : k + 2].mean() for k in range(171)])
    foot = np.interp(GRID, 5 + 0.5 * np.arange(171), smooth)
    assert 20 < foot.max() < 60
    for part in (0.5, 1.0):
        expected = np.clip(whole - part * foot, 0, None)
        found = measured(lines, **of | {"tails_taken": part})[0]
        np.testing.assert_allclose(found, 100 * expected / expected.max(), rtol=0, atol=2)


def test_texture_changes_intensities_and_not_positions():
    lines = np.arange(10.0, 88.0, 3.0)
    sigma = 0.4
    at = np.round((lines - 5) / 0.02).astype(int)
    still = measured(lines)[0][at]
    found = [measured(lines, texture=sigma, texture_at=p)[0][at] / still for p in (0.1, 0.4, 0.8)]
    for ratio in found:
        assert np.log(ratio).std() == pytest.approx(sigma, rel=0.4)
    assert not np.allclose(found[0], found[1], rtol=0.1)


def test_what_was_not_measured_is_nan_and_the_rest_reaches_100():
    lines, heights = [10.0, 40.0, 80.0], [1.0, 0.5, 0.2]
    pattern = measured(lines, heights, first_deg=20.0, last_deg=65.0)[0]
    outside = (GRID < 19.99) | (GRID > 65.01)
    assert np.array_equal(np.isnan(pattern), outside)
    assert np.nanmax(pattern) == pytest.approx(100, abs=1e-3)
    assert GRID[np.nanargmax(pattern)] == pytest.approx(40, abs=0.03)


def make_batch(n):
    rng = np.random.default_rng(1)
    row = np.repeat(np.arange(n), rng.integers(1, 120, n))
    return rng.uniform(5, 90, len(row)), rng.exponential(size=len(row)), row


def test_a_sample_depends_on_nothing_else_of_its_batch():
    two_theta, intensity, row = make_batch(12)
    measurements = draw(0, 12)
    together = measured(two_theta, intensity, row, measurements)
    for k in (0, 5, 11):
        own = row == k
        zeros = np.zeros(own.sum(), dtype=int)
        alone = measured(two_theta[own], intensity[own], zeros, measurements[k : k + 1])[0]
        np.testing.assert_allclose(together[k], alone, rtol=0, atol=2e-3)


def test_bits_do_not_depend_on_threads_or_autocast():
    two_theta, intensity, row = make_batch(12)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=count == 2):
                found.append(measured(two_theta, intensity, row, draw(0, 12)))
    finally:
        torch.set_num_threads(threads)
    assert found[0].dtype == np.float32
    assert np.array_equal(found[0], found[1], equal_nan=True)
    measured_part = found[0][~np.isnan(found[0])]
    assert measured_part.min() >= 0
    assert measured_part.max() <= 100


def test_a_sample_without_lines_is_finite():
    pattern = measured([30.0], row=[1], measurements=draw(0, 2, cut=False))
    assert np.isfinite(pattern).all()
