"""The embedded data set and its card, from a few made-up crystals."""

import re

import build_mini
import numpy as np
import pandas as pd
import pytest
from mini_card import card, formula_floor

from xxact.data.prepare import prepare

CIF = """data_{id}
_symmetry_space_group_name_H-M 'P 1'
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90.0
_cell_angle_beta 90.0
_cell_angle_gamma 90.0
loop_
_symmetry_equiv_pos_as_xyz
 'x, y, z'
loop_
_atom_site_type_symbol
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cs Cs0 0.0 0.0 0.0 1
{x} {x}1 0.5 0.5 {z} 1
"""


def row(number, x, energy, z=0.5, n_sites=2, source="megnet_mp2018"):
    """A CsCl structure of a halide `x`, tetragonal where z is not 0.5."""
    identifier = f"mp-{number}"
    return {
        "material_id": identifier,
        "pretty_formula": f"Cs{x}",
        "formation_energy_per_atom": energy,
        "energy_source": source,
        "band_gap": "5.0" if x == "Cl" else "",
        "gap_source": "megnet_mp2018" if x == "Cl" else "",
        "nsites": str(n_sites),
        "cif": CIF.format(id=identifier, a=4.0 + 0.01 * number, x=x, z=z),
    }


@pytest.fixture
def rows():
    return pd.DataFrame(
        [
            row(1, "Cl", "-2.0"),
            row(2, "Cl", "-1.9", z=0.48),
            row(3, "Br", "-1.8"),
            row(4, "Cl", "-1.5", z=0.46, source="anchored_sibling"),
            row(5, "I", "-1.6"),
            row(6, "I", "-1.5", n_sites=21),  # too large, which leaves one of its formula
            row(7, "Br", "-1.7", z=0.48),
            # sodium nitride, as it is written, is no missing value
            row(8, "Na", "0.1") | {"pretty_formula": "NaN"},
            row(9, "Na", "0.30000000000000004") | {"pretty_formula": "NaN"},
        ]
    ).iloc[::-1]


def test_formulas_with_two_small_structures_are_taken_in_their_order(rows):
    assert list(build_mini.polymorphs(rows).material_id) == [
        f"mp-{k}" for k in (9, 8, 7, 4, 3, 2, 1)
    ]


def test_the_same_rows_give_the_same_bytes_and_come_back_as_they_were(rows, tmp_path):
    kept = build_mini.polymorphs(rows)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        build_mini.write_mini(kept, tmp_path / folder)
    content = (tmp_path / "a/mini.csv.xz").read_bytes()
    assert content == (tmp_path / "b/mini.csv.xz").read_bytes()
    again = build_mini.read_rows(tmp_path / "a/mini.csv.xz")
    assert again.to_dict("list") == kept.to_dict("list")


def test_the_floor_is_the_distance_from_the_median_of_the_formula():
    energy, formula = pd.Series([1.0, 2.0, 4.0, 7.0, 7.5]), pd.Series(list("aaabb"))
    np.testing.assert_allclose(formula_floor(energy, formula), [1, 0, 2, 0.25, 0.25])


def test_the_card_counts_what_is_there(rows, tmp_path):
    path = build_mini.write_mini(build_mini.polymorphs(rows), tmp_path)
    store = prepare("csv", [path], tmp_path / "store").store
    agreement = {"anchored_sibling": {"n": 1234, "p50": 0.001, "p90": 0.0125, "p99": 0.1}}
    text = card(build_mini.read_rows(path), store, agreement)
    assert "{" not in text
    assert text.startswith(
        "# The data set `mini`\n\n7 crystals of the Materials Project, of 3 formulas"
    )
    # Cl: 0.1, 0, 0.4 from the median; Br: 0.05 each; Na: 0.1 each
    assert "**114.3 meV/atom**" in text
    counts = dict(re.findall(r"^\| ([\w ()]+) \| ([\d,]+) \| [\d.]+ % \|$", text, re.MULTILINE))
    assert (counts["anchored_sibling"], counts["not known"]) == ("1", "4")
    assert (counts["cubic"], counts["tetragonal"]) == ("4", "3")
    splits = {name: int(counts.get(name, 0)) for name in store.manifest["splits"]}
    assert splits == store.manifest["splits"]
    assert "| anchored_sibling | 1,234 | 1.0 | 12.5 | 100.0 |" in text
    assert "| 2 | 2 | 4 |\n| 3 | 1 | 3 |" in text
    assert "each of the 4 elements: Cs 7, Cl 3, Na 2, Br 2." in text
