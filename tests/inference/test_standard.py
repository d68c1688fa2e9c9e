"""A sample's displacement by the lines of a standard, against made-up patterns of known truth."""

import numpy as np
import pytest

from tests.inference.made_up import CU_1, CU_2, CU_MEAN, STRENGTH, cosine, gaussians, line_positions
from xxact import cli
from xxact.errors import UserError
from xxact.inference.cleanup import clean
from xxact.inference.measured import measured_pattern
from xxact.inference.predictor import Predictor
from xxact.inference.radiation import tube
from xxact.inference.standard import STANDARDS, displacement_deg

CU = tube("Cu", "user")
GRID = 5 + 0.02 * np.arange(4250)


def mixture(shift, edge=None, seed=0):
    """A cubic sample of 4 angstrom with a standard of the given edge, displaced by `shift`."""
    x, y = np.arange(10, 90, 0.02), np.zeros(4000)
    for wavelength, share in ((CU_1, 1.0), (CU_2, 0.5)):
        for cell, part in ((4.0, 1.0), (edge, 0.5)):
            lines = line_positions(wavelength, cell) if cell else {}
            if cell and cell > 5:  # silicon's lattice is that of diamond
                lines = {n: lines[n] for n in STANDARDS["Si"].squares if n in lines}
            true = np.array([*lines.values()])
            at = true - shift * np.cos(np.radians(true / 2))
            y += share * part * gaussians(x, at, (STRENGTH[n] for n in lines), 0.04)
    counts = np.random.default_rng(seed).poisson(50 * (y + 5)).astype(float)
    return measured_pattern("made up", x, counts, CU)


def test_the_lines_of_silicon_are_where_its_certificate_puts_them():
    # NIST SRM 640d, table of line positions for Cu K-alpha-1 (1.5405929 angstrom)
    found = STANDARDS["Si"].lines_deg(1.5405929)[:5]
    np.testing.assert_allclose(found, [28.441, 47.300, 56.119, 69.126, 76.372], atol=0.002)


@pytest.mark.parametrize(("name", "edge"), [("Si", 5.43123), ("LaB6", 4.156826)])
@pytest.mark.parametrize("shift", [-0.2, 0.0, 0.05, 0.25])
def test_a_displacement_is_found(name, edge, shift):
    pattern = mixture(shift, edge)
    found = displacement_deg(pattern.two_theta_deg, pattern.counts, name, CU_1)
    assert found == pytest.approx(shift, abs=0.015)


def test_a_displaced_sample_is_read_as_one_in_its_place():
    still, displaced = clean(mixture(0.0)), mixture(0.25, 5.43123)
    corrected = clean(displaced, "Si")
    assert cosine(corrected.pattern, still.pattern) > 0.97
    assert cosine(clean(displaced).pattern, still.pattern) < 0.75
    lines = STANDARDS["Si"].lines_deg(CU_MEAN)
    hidden = (np.abs(GRID[:, None] - lines) < 0.25).any(axis=1)
    assert np.isnan(corrected.pattern[hidden]).all()
    assert any("displacement of 0.25" in step and "Si" in step for step in corrected.steps)


def test_a_standard_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"lines of LaB6 are not in the pattern: \d of 13 agree"):
        clean(mixture(0.1), "LaB6")
    with pytest.raises(UserError, match="lines of Si are not in the pattern"):
        Predictor().sample(mixture(0.1), standard="Si")


@pytest.mark.parametrize("name", STANDARDS)
def test_the_command_line_knows_every_standard(name):
    assert cli._parser().parse_args(["predict", "x.xy", "--standard", name]).standard == name


def test_the_standard_itself_is_no_sample():
    edge = STANDARDS["LaB6"].edge
    with pytest.raises(UserError, match="B6La is the standard"):
        Predictor().sample(mixture(0.1, edge), "B6La", standard="LaB6")
