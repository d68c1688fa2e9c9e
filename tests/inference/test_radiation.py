"""Wavelengths in words and numbers."""

import pytest

from xxact.errors import UserError
from xxact.inference.radiation import of_word


@pytest.mark.parametrize(
    "word", ["CuKa", "cuka", "Cu", "Cu K-alpha", "Cu K\u03b1", "Cu_Ka", "Cu Ka1,2"]
)
def test_names_of_the_doublet(word):
    found = of_word(word)
    assert (found.alpha1, found.alpha2, found.certain) == (1.54056, 1.54439, True)
    assert found.mean == pytest.approx(1.54184, abs=1e-5)


@pytest.mark.parametrize(
    ("word", "alpha1"), [("CuKa1", 1.54056), ("mo kalpha1", 0.7093), ("Cu K\u03b1\u2081", 1.54056)]
)
def test_names_of_one_line(word, alpha1):
    assert (of_word(word).alpha1, of_word(word).alpha2) == (alpha1, None)


@pytest.mark.parametrize("word", ["1.5406", "1.5418", "1.54184", "1.54"])
def test_numbers_of_a_tube_are_its_doublet_unless_the_pattern_says_no(word):
    found = of_word(word)
    assert (found.alpha1, found.alpha2, found.certain) == (1.54056, 1.54439, False)


@pytest.mark.parametrize(
    "word", ["0.9 A", "0.9\u212b", "0.9 angstrom", "0.09nm", "90 pm", "9e-1 \u00c5"]
)
def test_units(word):
    assert of_word(word).alpha1 == pytest.approx(0.9)


def test_nanometres_are_noticed():
    with pytest.raises(UserError, match=r"0.15406 looks like nanometres.* 1.5406"):
        of_word("0.15406")


def test_numbers_of_a_synchrotron_are_one_line():
    found = of_word("0.41326")
    assert (found.alpha1, found.alpha2, found.is_of_a_tube) == (0.41326, None, False)


@pytest.mark.parametrize("word", ["CuKx", "copper", "", "nan", "1,54", "8 keV"])
def test_no_wavelength(word):
    with pytest.raises(UserError, match="is no wavelength"):
        of_word(word)


@pytest.mark.parametrize("word", ["15.4", "0", "-1.54", "154.06"])
def test_wavelengths_out_of_range(word):
    with pytest.raises(UserError, match=r"has to be from 0.1 to 3"):
        of_word(word)
