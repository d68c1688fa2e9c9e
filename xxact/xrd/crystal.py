"""A crystal as plain arrays: what the reflection engine and the symmetry finder read.

A reader of files can build a `Crystal` from its own arrays and never make a pymatgen object.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xxact.arguments import described
from xxact.compiled import compiled
from xxact.errors import UserError

if TYPE_CHECKING:
    from pymatgen.core import Structure

MAX_ATOMIC_NUMBER = 118
_ANISOTROPIC = tuple(f"U{axes}_cif" for axes in (11, 22, 33, 23, 13, 12))


class CrystalError(UserError, ValueError):
    """A crystal that has no pattern or no symmetry.

    `reason` is a short stable word to count failures by: `invalid_lattice`, `invalid_coordinates`,
    `invalid_occupancy`, `invalid_displacement`, `no_sites`, `unknown_element`,
    `no_scattering_factors`, `overlapping_atoms`, `cell_too_large`, `no_reflection`, `no_symmetry`;
    of CIFs also `unreadable_cif`, `several_crystals`, `missing_element`, `wrong_composition`,
    `wrong_z`, `unreadable_symmetry`, `unknown_symmetry`, `contradictory_symmetry`,
    `ambiguous_symmetry`, `wrong_axes`.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):
        return type(self), (self.reason, str(self))


@dataclass(frozen=True, eq=False)
class Crystal:
    """Atoms in a periodic cell; a site shared by several species has one row for each of them.

    lattice: (3, 3) cell vectors as rows, in angstrom.
    frac_coords: (N, 3) fractional coordinates, any real numbers.
    atomic_numbers: (N,) 1 to 118.
    occupancies: (N,) fraction of the site that the atom takes, 0 to 1; None means 1 everywhere.
    site: (N,) index of the site of each row, counting up from 0; None means a site per row.
    u_star: (N, 3, 3) anisotropic displacement U* (dimensionless), or None.
    """

    lattice: np.ndarray
    frac_coords: np.ndarray
    atomic_numbers: np.ndarray
    occupancies: np.ndarray | None = None
    site: np.ndarray | None = None
    u_star: np.ndarray | None = None

    def __post_init__(self):
        arrays = {
            "lattice": np.ascontiguousarray(self.lattice, dtype=np.float64),
            "frac_coords": np.ascontiguousarray(self.frac_coords, dtype=np.float64),
            "atomic_numbers": np.ascontiguousarray(self.atomic_numbers, dtype=np.int64),
        }
        n = len(arrays["atomic_numbers"])
        occupancies = np.ones(n) if self.occupancies is None else self.occupancies
        arrays["occupancies"] = np.ascontiguousarray(occupancies, dtype=np.float64)
        site = np.arange(n) if self.site is None else self.site
        arrays["site"] = np.ascontiguousarray(site, dtype=np.int64)
        if self.u_star is not None:
            arrays["u_star"] = np.ascontiguousarray(self.u_star, dtype=np.float64)
        _check_shapes(arrays, n)
        _check_values(arrays)
        self.__dict__.update(arrays)

    @classmethod
    def from_structure(cls, structure: Structure | Crystal) -> Crystal:
        """The arrays of a pymatgen structure, disorder and `U11_cif` site properties included.

        Empty sites and vacancies (dummy species called `Vac` or the like) have no rows. Raises
        `CrystalError` for values that are not finite and for species without an element,
        `UserError` for what is no structure.
        """
        if isinstance(structure, cls):
            return structure
        _require_structure(structure)
        coords, numbers, occupancies, site_of_row = [], [], [], []
        anisotropic = False
        filled = [site for site in structure if not all(map(_is_vacancy, site.species))]
        for index, site in enumerate(filled):
            anisotropic = anisotropic or _ANISOTROPIC[0] in site.properties
            position = site.frac_coords
            for species, occupancy in site.species.items():
                if _is_vacancy(species):
                    continue
                coords.append(position)
                numbers.append(_atomic_number(species))
                occupancies.append(occupancy)
                site_of_row.append(index)
        if not numbers:
            raise CrystalError("no_sites", "the structure has no atoms")
        lattice = structure.lattice.matrix
        u_star = _u_star(lattice, filled, site_of_row) if anisotropic else None
        return cls(lattice, np.array(coords), numbers, occupancies, site_of_row, u_star)


_SHAPES = {
    "lattice": ("invalid_lattice", (3, 3)),
    "frac_coords": ("invalid_coordinates", (-1, 3)),
    "atomic_numbers": ("unknown_element", (-1,)),
    "occupancies": ("invalid_occupancy", (-1,)),
    "site": ("invalid_occupancy", (-1,)),
    "u_star": ("invalid_displacement", (-1, 3, 3)),
}


def _check_shapes(arrays: dict[str, np.ndarray], n: int) -> None:
    """Refuse arrays that do not belong together."""
    if n == 0:
        raise CrystalError("no_sites", "the crystal has no atoms")
    for name, array in arrays.items():
        reason, shape = _SHAPES[name]
        if array.shape != tuple(n if size == -1 else size for size in shape):
            raise CrystalError(
                reason, f"{name} of a crystal of {n} atoms cannot have the shape {array.shape}"
            )


def _check_values(arrays: dict[str, np.ndarray]) -> None:
    """Refuse what would otherwise end as NaN, an endless loop or a wrong pattern."""
    lattice, coords = arrays["lattice"], arrays["frac_coords"]
    numbers, occupancies = arrays["atomic_numbers"], arrays["occupancies"]
    reason, atom = _first_problem(lattice, coords, numbers, occupancies, arrays["site"])
    if reason == _LATTICE:
        raise CrystalError(
            "invalid_lattice",
            f"the lattice vectors {lattice.tolist()} (angstrom) do not span a cell: they must be "
            "finite and linearly independent",
        )
    if reason == _COORDINATES:
        raise CrystalError(
            "invalid_coordinates", f"atom {atom} is at {coords[atom].tolist()}, not finite"
        )
    if reason == _ELEMENT:
        raise CrystalError(
            "unknown_element", f"atom {atom} has the atomic number {numbers[atom]}, not 1 to 118"
        )
    if reason == _OCCUPANCY:
        raise CrystalError(
            "invalid_occupancy", f"atom {atom} has an occupancy of {occupancies[atom]}, not 0 to 1"
        )
    if reason == _SITE:
        raise CrystalError(
            "invalid_occupancy", f"site must count up from 0 without gaps; row {atom} does not"
        )
    if "u_star" in arrays and not np.isfinite(arrays["u_star"]).all():
        raise CrystalError("invalid_displacement", "anisotropic displacements must be finite")


_LATTICE, _COORDINATES, _ELEMENT, _OCCUPANCY, _SITE = range(1, 6)


@compiled
def _first_problem(lattice, coords, numbers, occupancies, site):
    """The first condition on a crystal's values that fails, and for which atom; 0 if none."""
    box, volume = 1.0, 0.0
    for i in range(3):
        a, b, c = lattice[i, 0], lattice[i, 1], lattice[i, 2]
        box *= math.sqrt(a * a + b * b + c * c)
        j, k = (i + 1) % 3, (i + 2) % 3
        volume += lattice[0, i] * (lattice[1, j] * lattice[2, k] - lattice[1, k] * lattice[2, j])
    volume = abs(volume)
    if not (1e-9 * box < volume < np.inf and volume > 1e-3):
        return _LATTICE, 0
    for i in range(len(numbers)):
        for axis in range(3):
            if not abs(coords[i, axis]) < 1e9:
                return _COORDINATES, i
        if numbers[i] < 1 or numbers[i] > MAX_ATOMIC_NUMBER:
            return _ELEMENT, i
        if not 0 <= occupancies[i] <= 1 + 1e-6:
            return _OCCUPANCY, i
        step = site[i] - (site[i - 1] if i > 0 else -1)
        if step != 1 and (step != 0 or i == 0):
            return _SITE, i
    return 0, 0


def _require_structure(structure: object) -> None:
    """`UserError` for what has no lattice or no sites: a file name, a dictionary, a molecule."""
    is_object = not isinstance(structure, type)  # Structure itself, where one of them is meant
    if is_object and hasattr(structure, "lattice") and hasattr(structure, "composition"):
        return
    hint = ""
    if isinstance(structure, str | os.PathLike):
        hint = "; read a file with pymatgen's Structure.from_file(...)"
    elif isinstance(structure, dict):
        hint = "; make one with pymatgen's Structure.from_dict(...)"
    raise UserError(
        "structure must be a periodic pymatgen Structure or an xxact.xrd.Crystal, got "
        + described(structure)
        + hint
    )


_VACANCIES = ("vac", "va", "vacancy", "xvac", "xva")
_NUMBER_OF_SPECIES: dict[object, int] = {}


def _is_vacancy(species: object) -> bool:
    return species.__class__.__name__ == "DummySpecies" and species.symbol.lower() in _VACANCIES


def _atomic_number(species) -> int:
    """Atomic number of a pymatgen element or species; `CrystalError` for a dummy species."""
    number = _NUMBER_OF_SPECIES.get(species)
    if number is None:
        number = species.Z
        if species.__class__.__name__ == "DummySpecies" or not 1 <= number <= MAX_ATOMIC_NUMBER:
            raise CrystalError("unknown_element", f"'{species.symbol}' is not a chemical element")
        _NUMBER_OF_SPECIES[species] = number
    return number


def _u_star(lattice: np.ndarray, sites: list, site_of_row: list[int]) -> np.ndarray:
    """U* = N U_cif N with N = diag(a*, b*, c*), Grosse-Kunstleve and Adams (2002), eq. 4a."""
    try:
        rows = [[float(site.properties[key]) for key in _ANISOTROPIC] for site in sites]
    except (KeyError, TypeError, ValueError):
        raise CrystalError(
            "invalid_displacement",
            "some sites have U11_cif, ..., U12_cif properties; then every site needs all six",
        ) from None
    u11, u22, u33, u23, u13, u12 = np.array(rows).T
    u_cif = np.array([[u11, u12, u13], [u12, u22, u23], [u13, u23, u33]]).transpose(2, 0, 1)
    lengths = np.linalg.norm(np.linalg.inv(lattice), axis=0)  # (3,) a*, b*, c*
    return (u_cif * lengths[:, None] * lengths)[site_of_row]
