"""Structures to crystals: sites without atoms, and what is no structure."""

import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import DummySpecies, Lattice, Molecule, Structure

from xxact.errors import UserError
from xxact.xrd.crystal import Crystal, CrystalError
from xxact.xrd.reflections import reflections
from xxact.xrd.symmetry import space_group_number


def rock_salt(first="Na", second="Cl"):
    return Structure(Lattice.cubic(5.64), [first, second], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize("empty", ["Na", "Cl"])
def test_an_empty_site_has_no_rows(empty):
    structure = rock_salt()
    structure.replace_species({empty: {}})
    expected = XRDCalculator("CuKa").get_pattern(structure, two_theta_range=(5, 90))
    got = reflections(structure)
    assert got.two_theta == pytest.approx(expected.x, abs=1e-6)
    assert got.intensity == pytest.approx(expected.y, abs=0.1)
    assert space_group_number(structure) == 221


def test_a_vacancy_as_dummy_species_has_no_rows_and_shares_sites():
    vacancy = DummySpecies("Xvac")
    assert list(Crystal.from_structure(rock_salt(vacancy)).atomic_numbers) == [17]
    shared = rock_salt({"Na": 0.75, vacancy: 0.25})
    assert list(Crystal.from_structure(shared).occupancies) == [0.75, 1.0]


def test_empty_sites_alone_are_no_crystal():
    structure = rock_salt()
    structure.replace_species({"Na": {}, "Cl": {}})
    with pytest.raises(CrystalError) as caught:
        Crystal.from_structure(structure)
    assert caught.value.reason == "no_sites"


@pytest.mark.parametrize("function", [Crystal.from_structure, reflections, space_group_number])
@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("x.cif", "from_file"),
        (rock_salt().as_dict(), "from_dict"),
        (Molecule(["O"], [[0, 0, 0]]), "Molecule"),
        (Structure, "ABCMeta"),
        (None, "None"),
        ([1, 2], "list"),
    ],
)
def test_what_is_no_structure_is_named(function, value, word):
    with pytest.raises(UserError, match="structure must be") as caught:
        function(value)
    assert word in str(caught.value)


@pytest.mark.parametrize("symprec", ["0.1", None, 0, -1, float("nan"), True])
def test_symprec_is_named(symprec):
    with pytest.raises(UserError, match="symprec must be"):
        space_group_number(rock_salt(), symprec=symprec)
