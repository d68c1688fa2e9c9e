"""Space groups against spglib, called through pymatgen as the paper did."""

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from xxact.errors import UserError
from xxact.xrd import Crystal, CrystalError, space_group_number

LEAST_AGREEMENT = 0.995


def test_real_crystals_agree_with_spglib(crystals):
    disagreements = []
    for name, structure in crystals.items():
        expected = SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number()
        found = space_group_number(structure)
        if found != expected:
            disagreements.append(f"{name}: {found}, spglib {expected}")
    print(f"\n{len(crystals)} crystals, {len(disagreements)} disagreements: {disagreements}")
    assert len(disagreements) <= (1 - LEAST_AGREEMENT) * len(crystals), disagreements


def test_handmade_crystals(handmade):
    expected = {"NaCl": 225, "CsCl": 221, "Cu": 225, "Po": 221, "ZnO": 186, "triclinic": 1}
    assert {name: space_group_number(handmade[name]) for name in expected} == expected


def test_disordered_sites_differ_by_what_they_hold(handmade):
    structure = handmade["disordered"]
    expected = SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number()
    assert space_group_number(structure) == expected
    half = Structure(Lattice.cubic(4), [{"Cu": 0.5}, {"Cu": 0.5}], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert space_group_number(half) == 229
    half.replace(1, {"Cu": 0.4})
    assert space_group_number(half) == 221


def test_symprec_decides_about_a_small_displacement():
    structure = Structure(Lattice.cubic(4), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.505]])
    assert space_group_number(structure, symprec=0.1) == 221
    assert space_group_number(structure, symprec=0.001) == 99


def test_a_crystal_without_symmetry_analysis_is_a_named_failure():
    atoms = Crystal([[4, 0, 0], [0, 4, 0], [0, 0, 4]], [[0, 0, 0], [0, 0, 1e-5]], [29, 29])
    with pytest.raises(CrystalError) as caught:
        space_group_number(atoms)
    assert caught.value.reason == "no_symmetry"


@pytest.mark.parametrize("symprec", [0.0, -1.0, float("nan")])
def test_a_senseless_symprec_is_refused(handmade, symprec):
    with pytest.raises(UserError, match="symprec"):
        space_group_number(handmade["Cu"], symprec)


def test_a_supercell_is_recognised_without_a_warning(handmade, caplog):
    structure = handmade["NaCl"].copy()
    structure.make_supercell([2, 1, 1])
    assert space_group_number(structure) == 225
    assert not caplog.records
