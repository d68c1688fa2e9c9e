"""The quick reader gives what pymatgen's `CifParser` gives, or leaves the text to it."""

import csv
import lzma

import numpy as np
import pytest

from xxact.data.cif import read_cif, read_pymatgen_p1, read_with_pymatgen
from xxact.xrd.crystal import CrystalError


def sorted_sites(crystal):
    """Rows (Z, x, y, z) in an order that does not depend on the reader."""
    rows = np.column_stack([crystal.atomic_numbers, crystal.frac_coords])
    return rows[np.lexsort(rows.T[::-1])]


def assert_same(a, b):
    np.testing.assert_array_equal(a.lattice, b.lattice)
    np.testing.assert_array_equal(sorted_sites(a), sorted_sites(b))


@pytest.mark.parametrize("name", ["mp_structures", "mp_2025_structures"])
def test_equals_cif_parser_on_real_crystals(test_data, name):
    with lzma.open(test_data / f"{name}.csv.xz", "rt", newline="") as stream:
        texts = [row["cif"] for k, row in enumerate(csv.DictReader(stream)) if k % 60 == 0]
    assert len(texts) >= 400
    for text in texts:
        quick = read_pymatgen_p1(text)
        assert quick is not None
        assert_same(quick, read_with_pymatgen(text))


def test_finite_precision_and_negative_coordinates_are_treated_as_in_pymatgen(cubic_cif):
    text = cubic_cif(6.0, [("Na", 0.33333, 0.66667, -0.25), ("Cl", 1.2, 0.3334, 0.9)])
    quick = read_pymatgen_p1(text)
    assert_same(quick, read_with_pymatgen(text))
    assert quick.frac_coords[0, 0] == 1 / 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1  'x, y, z'", "1  'x, y, z'\n  2  '-x, -y, -z'"),
        ("  1\n", "  0.5\n"),
        ("_symmetry_Int_Tables_number   1", "_symmetry_Int_Tables_number   2"),
        ("  Na  Na0", "  Na+  Na0"),
        ("0.10000000", "0.1000(2)"),
    ],
)
def test_any_other_layout_goes_to_pymatgen(cubic_cif, old, new):
    text = cubic_cif(5.6, [("Na", 0.1, 0.1, 0.1), ("Cl", 0.6, 0.6, 0.6)])
    changed = text.replace(old, new)
    assert changed != text
    assert read_pymatgen_p1(changed) is None
    assert_same(read_cif(changed), read_with_pymatgen(changed))


def test_symmetry_operations_are_applied(cubic_cif):
    text = cubic_cif(5.6, [("Na", 0.1, 0.1, 0.1), ("Cl", 0.6, 0.6, 0.6)])
    inverted = text.replace("1  'x, y, z'", "1  'x, y, z'\n  2  '-x, -y, -z'")
    assert len(read_cif(inverted).atomic_numbers) == 4


@pytest.mark.parametrize("text", ["", "no CIF at all", "data_x\n_cell_length_a 3\n"])
def test_what_cannot_be_read_is_named(text):
    with pytest.raises(CrystalError) as error:
        read_cif(text)
    assert error.value.reason == "unreadable_cif"
