"""Units are converted where that is certain, and only there."""

import pytest

from xxact.data.units import factor


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ("GPa", "GPa", 1),
        ("Mbar", "GPa", 100),
        ("kbar", "GPa", 0.1),
        ("MPa", "GPa", 1e-3),
        ("mPa", "MPa", 1e-9),
        ("eV", "meV", 1000),
        ("meV/atom", "eV/atom", 1e-3),
        ("eV per atom", "eV/atom", 1),
        ("eV / Atom", "ev/atoms", 1),
        ("eV atom^-1", "eV/atom", 1),
        ("eV·atom⁻¹", "meV/atom", 1000),
        ("W/m", "W/m", 1),
    ],
)
def test_what_is_certain(given, wanted, expected):
    assert factor(given, wanted) == pytest.approx(expected, rel=1e-12)
    assert factor(wanted, given) == pytest.approx(1 / expected, rel=1e-12)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("", "GPa"), ("eV", "eV/atom"), ("eV", "GPa"), ("W/m", "mW/m"), ("eV/cell", "eV/atom")],
)
def test_what_is_not(given, wanted):
    assert factor(given, wanted) is factor(wanted, given) is None
