"""Crystals from the dictionaries that pymatgen and JARVIS write as JSON."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xxact.data.cif.reader import lattice_vectors
from xxact.data.elements import ATOMIC_NUMBERS
from xxact.data.formula import ISOTOPES
from xxact.data.sources.source import RowError
from xxact.xrd.crystal import Crystal

_CELL = ("a", "b", "c", "alpha", "beta", "gamma")


def crystal_from_dict(structure: object) -> Crystal:
    """A pymatgen `Structure.as_dict()` or JARVIS `Atoms.to_dict()` as a `Crystal`.

    Sites without species are empty and left out; D and T are hydrogen. Raises `RowError` where
    something is missing or is of another type: a number is neither a text nor true or false.
    """
    if not isinstance(structure, dict):
        raise RowError("missing_structure", "there is no structure")
    read = _from_jarvis if "lattice_mat" in structure else _from_pymatgen
    try:
        return read(structure)
    except (KeyError, TypeError, AttributeError) as error:
        raise RowError("invalid_structure", f"a site cannot be read ({error!r:.80})") from error


def _from_pymatgen(structure: dict) -> Crystal:
    lattice = _lattice(structure.get("lattice"))
    coords, numbers, occupancies, site_of_row = [], [], [], []
    sites = [site for site in structure["sites"] if site["species"]]
    for index, site in enumerate(sites):
        position = _position(site, lattice)
        for species in site["species"]:
            numbers.append(_atomic_number(species["element"]))
            occupancies.append(species.get("occu", 1))
            coords.append(position)
            site_of_row.append(index)
    if not numbers:
        raise RowError("no_sites", "the structure has no atoms")
    occupancies = _floats(occupancies, "invalid_occupancy", (-1,))
    return Crystal(lattice, np.array(coords), numbers, occupancies, site_of_row)


def _from_jarvis(atoms: dict) -> Crystal:
    lattice = _floats(atoms["lattice_mat"], "invalid_lattice", (3, 3))
    numbers = [_atomic_number(symbol) for symbol in atoms["elements"]]
    if not numbers:
        raise RowError("no_sites", "the structure has no atoms")
    coords = _floats(atoms["coords"], "invalid_coordinates", (-1, 3))
    cartesian = atoms.get("cartesian", False)
    if not isinstance(cartesian, bool):
        raise RowError("invalid_coordinates", f"'cartesian' is {cartesian!r:.40}")
    return Crystal(lattice, _fractional(coords, lattice) if cartesian else coords, numbers)


def _lattice(lattice: object) -> np.ndarray:
    """(3, 3) cell vectors as rows, from a matrix or from lengths and angles."""
    if not isinstance(lattice, dict):
        raise RowError("missing_lattice", "the structure has no lattice")
    if "matrix" in lattice:
        return _floats(lattice["matrix"], "invalid_lattice", (3, 3))
    if missing := [key for key in _CELL if key not in lattice]:
        raise RowError("invalid_lattice", f"the lattice has no {', '.join(missing)}")
    return lattice_vectors(*_floats([lattice[key] for key in _CELL], "invalid_lattice", (6,)))


def _position(site: dict, lattice: np.ndarray) -> np.ndarray:
    """(3,) fractional coordinates of a site, from Cartesian ones if it has no others."""
    if "abc" in site:
        return _floats(site["abc"], "invalid_coordinates", (3,))
    return _fractional(_floats(site["xyz"], "invalid_coordinates", (3,)), lattice)


def _fractional(cartesian: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Fractional coordinates (..., 3) of Cartesian ones in angstrom."""
    try:
        return np.linalg.solve(lattice.T, cartesian.T).T
    except np.linalg.LinAlgError as error:
        raise RowError("invalid_lattice", "the cell has no volume") from error


def _floats(values: object, reason: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of JSON as an array of a shape; `RowError` for anything that is no number."""
    for value in _flat(values):
        if type(value) not in (int, float):
            raise RowError(reason, f"{value!r:.40} is not a number")
    try:
        return np.array(values, np.float64).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise RowError(reason, f"{values!r:.40} does not have the right length") from error


def _flat(values: object) -> Iterator[object]:
    if isinstance(values, list):
        for value in values:
            yield from _flat(value)
    else:
        yield values


def _atomic_number(symbol: object) -> int:
    number = ATOMIC_NUMBERS.get(ISOTOPES.get(symbol, symbol)) if isinstance(symbol, str) else None
    if number is None:
        raise RowError("unknown_element", f"'{symbol!s:.20}' is not a chemical element")
    return number
