"""Atoms of the asymmetric unit to all atoms of the cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xxact.xrd.crystal import Crystal, CrystalError

#: Images of an atom that are closer than this are one atom on a special position, written with few
#: digits, and two sites closer than this are one place that they share.
SAME_PLACE_ANGSTROM = 0.05

#: Sums of occupancies up to this come from rounding and are scaled down to 1.
MAX_OCCUPANCY = 1.01


@dataclass(frozen=True)
class Site:
    """What a file lists at one place: its name, (3,) fractional coordinates, atoms and amounts.

    atoms: (atomic number, occupancy) of each species.
    """

    label: str
    coords: tuple[float, float, float]
    atoms: tuple[tuple[int, float], ...]


def expand(lattice: np.ndarray, sites: Sequence[Site], operators: np.ndarray) -> Crystal:
    """All atoms of the cell: `sites` under `operators` (N, 3, 4).

    An atom near a special position is moved onto it (the mean of its images there); sites at one
    place share it. Raises `CrystalError` (`invalid_occupancy`) where occupancies add to more than
    `MAX_OCCUPANCY`.
    """
    points = np.empty((0, 3))  # all atoms so far, by orbit
    orbit_of_point = np.empty(0, np.int64)
    shared: list[list[Site]] = []  # by orbit
    for site in sites:
        point = _on_special_position(np.array(site.coords), operators, lattice)
        taken = np.flatnonzero(_distances(points - point, lattice) < SAME_PLACE_ANGSTROM)
        if len(taken):
            shared[orbit_of_point[taken[0]]].append(site)
            continue
        orbit = _orbit(point, operators, lattice)
        points = np.concatenate([points, orbit])
        orbit_of_point = np.append(orbit_of_point, np.full(len(orbit), len(shared)))
        shared.append([site])
    if not len(points):
        raise CrystalError("no_sites", "the crystal has no atoms")
    contents = [_contents(group) for group in shared]
    atoms = [contents[k] for k in orbit_of_point.tolist()]  # of each point
    index = np.repeat(np.arange(len(points)), [len(group) for group in atoms])
    numbers, occupancies = zip(*(atom for group in atoms for atom in group), strict=True)
    return Crystal(lattice, points[index], numbers, occupancies, index)


def _on_special_position(
    point: np.ndarray, operators: np.ndarray, lattice: np.ndarray
) -> np.ndarray:
    """The mean of the images that fall on the point itself, (3,)."""
    offsets = operators[:, :, :3] @ point + operators[:, :, 3] - point  # (N, 3)
    offsets -= np.round(offsets)
    near = np.linalg.norm(offsets @ lattice, axis=1) < SAME_PLACE_ANGSTROM
    return point + offsets[near].mean(axis=0)


def _orbit(point: np.ndarray, operators: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """The different images (M, 3) of a point in the cell, itself first."""
    images = operators[:, :, :3] @ point + operators[:, :, 3]  # (N, 3)
    images -= np.floor(images)
    same = _distances(images[:, None] - images, lattice) < SAME_PLACE_ANGSTROM  # (N, N)
    first = same.argmax(axis=1) == np.arange(len(images))
    return images[first]


def _distances(offsets: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Lengths in angstrom of offsets (..., 3) to the nearest lattice point, if they are short."""
    return np.linalg.norm((offsets - np.round(offsets)) @ lattice, axis=-1)


def _contents(group: list[Site]) -> list[tuple[int, float]]:
    """Atomic numbers and occupancies at a place that the sites share."""
    amounts: dict[int, float] = {}
    for site in group:
        for number, occupancy in site.atoms:
            amounts[number] = amounts.get(number, 0.0) + occupancy
    total = sum(amounts.values())
    if total > MAX_OCCUPANCY + 1e-9:
        place = " ".join(f"{x:g}" for x in group[0].coords)
        names = ", ".join(site.label for site in group)
        taken = f"is taken {len(group)} times" if len(group) > 1 else "is more than full"
        raise CrystalError(
            "invalid_occupancy",
            f"the site at {place} ({names}) {taken}: its occupancies add to {total:g}",
        )
    scale = max(total, 1.0)
    return [(number, amount / scale) for number, amount in amounts.items()]
