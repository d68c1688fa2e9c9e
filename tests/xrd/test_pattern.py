"""Structure to pattern against pymatgen's sticks and a plain sum of Gaussians."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from xxact.errors import UserError
from xxact.xrd import broaden, simulate_pattern
from xxact.xrd.grid import N_POINTS, two_theta_grid
from xxact.xrd.reflections import reflections


def test_real_crystals_equal_pymatgen_smeared_by_numpy(few_crystals, reference, direct_sum):
    worst, name = 0.0, ""
    for material, structure in few_crystals.items():
        sticks = reference(structure)
        difference = np.abs(simulate_pattern(structure) - direct_sum(sticks.x, sticks.y)).max()
        worst, name = max((worst, name), (difference, material))
    print(f"\n{len(few_crystals)} crystals: largest difference {worst:.1e} of 100 ({name})")
    assert worst < 0.1


def test_batched_patterns_are_the_same_patterns(few_crystals):
    lines = [reflections(structure) for structure in few_crystals.values()]
    patterns = broaden(
        torch.from_numpy(np.concatenate([line.two_theta for line in lines])),
        torch.from_numpy(np.concatenate([line.intensity for line in lines])),
        torch.from_numpy(np.repeat(np.arange(len(lines)), [len(line) for line in lines])),
        len(lines),
    )
    expected = np.stack([simulate_pattern(structure) for structure in few_crystals.values()])
    np.testing.assert_allclose(patterns, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("sigma", "within"), [(0.05, 1e-3), (0.1, 1e-4), (2.5, 1e-4)])
@pytest.mark.parametrize("wavelength", ["CuKa", "MoKa"])
def test_any_width_equals_the_direct_sum(handmade, direct_sum, wavelength, sigma, within):
    for structure in handmade.values():
        lines = reflections(structure, wavelength)
        pattern = simulate_pattern(structure, wavelength, sigma)
        assert pattern.shape == (N_POINTS,)
        assert pattern.dtype == np.float32
        expected = direct_sum(lines.two_theta, lines.intensity, sigma)
        np.testing.assert_allclose(pattern, expected, rtol=0, atol=within)


@pytest.mark.parametrize(
    ("name", "value", "was"),
    [
        ("sigma", 0.0, "the float 0.0"),
        ("sigma", float("nan"), "the float nan"),
        ("sigma", np.float64("inf"), "inf"),
        ("sigma", 0.01, "the float 0.01"),
        ("sigma", "0.1", "the str '0.1': a number is written without quotation marks"),
        ("sigma", "CuKa", "the str 'CuKa'"),
        ("sigma", None, "None"),
        ("sigma", True, "True"),
        ("sigma", np.array([0.1, 0.2]), "a ndarray of shape (2,)"),
        ("wavelength", None, "None"),
        ("wavelength", "1.5406", "the str '1.5406': a number is written without quotation marks"),
        ("wavelength", "cuka", "the str 'cuka'"),
        ("wavelength", [1.54], "the list [1.54]"),
        ("wavelength", np.array([1.54]), "a ndarray of shape (1,)"),
        ("wavelength", 0, "the int 0"),
        ("wavelength", -1.54, "the float -1.54"),
        ("wavelength", 1e-300, "the float 1e-300"),
        ("wavelength", False, "False"),
    ],
)
def test_wrong_arguments_are_named_with_what_they_have_to_be(handmade, name, value, was):
    with pytest.raises(UserError) as error:
        simulate_pattern(handmade["Cu"], **{name: value})
    message = str(error.value)
    assert message.startswith(f"{name} must be a number of ")
    assert message.endswith(was)


@pytest.mark.parametrize("kind", [np.float32, np.float64, float])
def test_numbers_of_any_kind_do(handmade, kind):
    pattern = simulate_pattern(handmade["Cu"], kind(1.54184), kind(0.1))
    np.testing.assert_allclose(pattern, simulate_pattern(handmade["Cu"]), rtol=0, atol=1e-3)


def test_the_grid_is_that_of_the_paper():
    grid = two_theta_grid()
    assert len(grid) == 4250
    assert grid[0] == 5
    assert grid[-1] == pytest.approx(89.98)


def test_importing_the_package_brings_nothing_heavy():
    code = (
        "import sys, xxact.xrd, xxact.xrd.grid; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numba', 'pymatgen', 'moyopy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
