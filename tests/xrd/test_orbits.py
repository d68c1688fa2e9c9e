"""All atoms of a cell from those that a file lists, against pymatgen."""

import gemmi
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from xxact.xrd.crystal import CrystalError
from xxact.xrd.orbits import Site, expand
from xxact.xrd.settings import operators_of

OPERATORS = operators_of(gemmi.find_spacegroup_by_name("F m -3 m").operations())
LATTICE = np.eye(3) * 5.64


def site(*coords, atoms=((11, 1.0),), label="Na1"):
    return Site(label, coords, atoms)


def test_orbits_are_those_of_pymatgen():
    sites = [site(0.0, 0.0, 0.0), site(0.25, 0.25, 0.25, atoms=((9, 1.0),)), site(0.3, 0.1, 0.0)]
    crystal = expand(LATTICE, sites, OPERATORS)
    coords = [s.coords for s in sites]
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "F", "Na"], coords)
    assert sorted(crystal.atomic_numbers) == sorted(s.specie.Z for s in structure)
    offsets = crystal.frac_coords[:, None] - structure.frac_coords
    assert (np.abs(offsets - np.round(offsets)).max(-1).min(1) < 1e-9).all()


def test_an_atom_beside_a_special_position_is_moved_onto_it():
    crystal = expand(LATTICE, [site(0.002, 0.001, 0.0)], OPERATORS)
    assert len(crystal.atomic_numbers) == 4
    assert np.allclose(crystal.frac_coords * 2, np.round(crystal.frac_coords * 2))


def test_sites_at_one_place_share_it_and_rounded_sums_are_scaled():
    shared = [site(0, 0, 0, atoms=((20, 0.504),)), site(0, 0.5, 0.5, atoms=((38, 0.5),))]
    crystal = expand(LATTICE, shared, OPERATORS)
    assert np.bincount(crystal.site).tolist() == [2] * 4
    assert np.allclose(crystal.occupancies[:2], [0.504 / 1.004, 0.5 / 1.004])


def test_a_place_that_is_more_than_full_is_refused_by_name():
    with pytest.raises(CrystalError, match=r"\(Na1, K1\) is taken 2 times.*add to 2") as caught:
        expand(LATTICE, [site(0, 0, 0), site(0, 0, 0, label="K1", atoms=((19, 1.0),))], OPERATORS)
    assert caught.value.reason == "invalid_occupancy"


def test_no_atoms():
    with pytest.raises(CrystalError, match="no atoms"):
        expand(LATTICE, [], OPERATORS)
