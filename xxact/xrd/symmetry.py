"""Space group of a crystal, found with moyopy (the tests hold it against spglib)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from xxact.arguments import real_number
from xxact.xrd.crystal import Crystal, CrystalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMPREC_ANGSTROM = 0.01
_SYMPREC_RANGE_ANGSTROM = (1e-9, 100.0)

# Of a supercell moyo warns that some operations of the primitive cell do not keep it: as it should.
logging.getLogger("moyo").setLevel(logging.ERROR)


def space_group_number(structure: Structure | Crystal, symprec: float = SYMPREC_ANGSTROM) -> int:
    """Number of the space-group type, 1 to 230.

    structure: a pymatgen `Structure` or a `Crystal`. Sites are alike if they hold the same elements
    in the same proportions; oxidation states and magnetic moments are not looked at.
    symprec: how far (angstrom) atoms may be from the places that symmetry gives them.

    Raises `CrystalError` with reason `no_symmetry` if the search finds no group, for instance
    because atoms overlap or the tolerance exceeds their distances.
    """
    import moyopy

    what = "a positive number of angstroms, such as 0.01"
    symprec = real_number("symprec", symprec, what, *_SYMPREC_RANGE_ANGSTROM)
    crystal = Crystal.from_structure(structure)
    positions, kinds = _sites(crystal)
    try:
        cell = moyopy.Cell(crystal.lattice.tolist(), positions, kinds)
        return moyopy.MoyoDataset(cell, symprec=symprec).number
    except ValueError as error:
        message = f"no space group at symprec {symprec:g}: {error}"
        raise CrystalError("no_symmetry", message) from None


def _sites(crystal: Crystal) -> tuple[list[list[float]], list[int]]:
    """Position and kind of each site; whole atoms keep their atomic number as their kind."""
    if len(crystal.site) == crystal.site[-1] + 1 and crystal.occupancies.min() > 1 - 1e-8:
        return crystal.frac_coords.tolist(), crystal.atomic_numbers.tolist()
    contents: dict[int, list[tuple[int, float]]] = {}
    position: dict[int, list[float]] = {}
    rows = zip(
        crystal.site.tolist(),
        crystal.atomic_numbers.tolist(),
        crystal.occupancies.round(6).tolist(),
        crystal.frac_coords.tolist(),
        strict=True,
    )
    for site, number, occupancy, coordinates in rows:
        contents.setdefault(site, []).append((number, occupancy))
        position.setdefault(site, coordinates)
    keys = [tuple(sorted(content)) for content in contents.values()]
    kind = {key: number for number, key in enumerate(dict.fromkeys(keys), start=1)}
    return list(position.values()), [kind[key] for key in keys]
