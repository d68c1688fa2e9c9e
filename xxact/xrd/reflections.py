"""Powder reflections of a crystal (kinematic, X-rays, without anomalous scattering), compiled.

The physics and the rules are those of pymatgen's `XRDCalculator`, the reference of the tests:
the scattering factors that pymatgen ships, f(s) = Z - 41.78214 s^2 sum_k a_k exp(-b_k s^2) with
s = sin(theta) / wavelength (De Graef and McHenry, Structure of Materials, ch. 12), the factor
(1 + cos^2 2 theta) / (sin^2 theta cos theta), reflections merged in bins of 1e-5 degrees, and those
below 1e-5 of the strongest dropped. What differs is the way there (kernel.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xxact.arguments import described, real_number
from xxact.errors import UserError
from xxact.xrd.crystal import Crystal, CrystalError
from xxact.xrd.grid import TWO_THETA_MAX_DEG, TWO_THETA_MIN_DEG
from xxact.xrd.kernel import MAX_LATTICE_POINTS, closest_clash, merge, points_and_sums
from xxact.xrd.scattering import form_factor_table, missing_factors

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: X-ray wavelengths in angstrom, with pymatgen's names and values.
WAVELENGTHS_ANGSTROM = {
    **{"CuKa": 1.54184, "CuKa2": 1.54439, "CuKa1": 1.54056, "CuKb1": 1.39222},
    **{"MoKa": 0.71073, "MoKa2": 0.71359, "MoKa1": 0.70930, "MoKb1": 0.63229},
    **{"CrKa": 2.29100, "CrKa2": 2.29361, "CrKa1": 2.28970, "CrKb1": 2.08487},
    **{"FeKa": 1.93735, "FeKa2": 1.93998, "FeKa1": 1.93604, "FeKb1": 1.75661},
    **{"CoKa": 1.79026, "CoKa2": 1.79285, "CoKa1": 1.78896, "CoKb1": 1.63079},
    **{"AgKa": 0.560885, "AgKa2": 0.563813, "AgKa1": 0.559421, "AgKb1": 0.497082},
}
#: Wavelengths of X-rays, from hard to soft.
WAVELENGTH_RANGE_ANGSTROM = (0.01, 100.0)
MIN_DISTANCE_ANGSTROM = 0.5  # pymatgen's tolerance for valid structures; H-H is 0.74
_NO_DISPLACEMENT = np.empty((0, 3, 3))


@dataclass(frozen=True, eq=False)
class Reflections:
    """Merged reflections of one crystal, by ascending angle.

    two_theta: (R,) float64, degrees.
    intensity: (R,) float64, the strongest reflection in range is 100.
    hkl: on request, for each reflection the families that coincide in it, each by its largest
    (h, k, l); indices that are permutations of each other up to signs are one family
    (in hexagonal cells permutations of the four-index symbol, given here without the third index).
    multiplicity: on request, the number of lattice points in each of those families.
    """

    two_theta: np.ndarray
    intensity: np.ndarray
    hkl: list[tuple[tuple[int, int, int], ...]] | None = None
    multiplicity: list[tuple[int, ...]] | None = None

    def __len__(self) -> int:
        return len(self.two_theta)


def reflections(
    structure: Structure | Crystal,
    wavelength: str | float = "CuKa",
    two_theta_range: tuple[float, float] = (TWO_THETA_MIN_DEG, TWO_THETA_MAX_DEG),
    with_hkl: bool = False,
    debye_waller_factors: Mapping[int | str, float] | None = None,
    min_distance: float | None = MIN_DISTANCE_ANGSTROM,
) -> Reflections:
    """Reflections of `structure` with both ends of `two_theta_range` (degrees) included.

    structure: a pymatgen `Structure` (disorder and U11_cif, ..., U12_cif site properties count,
    as in pymatgen) or a `Crystal`.
    wavelength: a name of `WAVELENGTHS_ANGSTROM` or a number in angstrom.
    debye_waller_factors: B in square angstrom by atomic number or symbol, the same in all
    directions; scattering factors are multiplied by exp(-B s^2).
    min_distance: atoms of two sites closer than this (angstrom) whose occupancies add to more than
    one are refused; None skips the check.

    Raises `CrystalError`, whose `reason` says which: an element without scattering factors
    (Z >= 99), overlapping atoms, a cell too large, no reflection in range, values not finite.
    """
    crystal = Crystal.from_structure(structure)
    if debye_waller_factors and crystal.u_star is not None:
        raise UserError(
            "a structure with U11_cif, ..., U12_cif site properties has its own displacement "
            "factors: leave debye_waller_factors out"
        )
    if min_distance is not None:
        check_distances(crystal, min_distance)
    wavelength = wavelength_angstrom(wavelength)
    low, high = _angles(two_theta_range)
    table = form_factor_table(debye_waller_factors)
    shell = [2 * math.sin(math.radians(angle / 2)) / wavelength for angle in (low, high)]
    fits, elements, hkl, g_squared, sums = points_and_sums(
        crystal.lattice,
        crystal.frac_coords,
        crystal.atomic_numbers,
        crystal.occupancies,
        _NO_DISPLACEMENT if crystal.u_star is None else crystal.u_star,
        *shell,
    )
    factors = table[elements]  # (E, 9)
    if not fits or np.isnan(factors).any():
        raise _too_large(crystal, high, wavelength) if not fits else missing_factors(elements)
    by_length = np.argsort(g_squared, kind="stable")
    two_theta, intensity, span = merge(
        g_squared, by_length, sums, elements, factors, wavelength, float(low), float(high)
    )
    if len(two_theta) == 0:
        raise CrystalError(
            "no_reflection",
            f"the crystal has no reflection between {low:g} and {high:g} degrees at a wavelength "
            f"of {wavelength:g} angstrom",
        )
    if not with_hkl:
        return Reflections(two_theta, intensity)
    points = [hkl[by_length[start:end]] for start, end in span.tolist()]
    return Reflections(two_theta, intensity, *_hkl_and_multiplicity(points, crystal.lattice))


def wavelength_angstrom(wavelength: str | float) -> float:
    """A wavelength in angstrom from its name (`CuKa`, ...) or from a number of angstroms."""
    if isinstance(wavelength, str) and wavelength in WAVELENGTHS_ANGSTROM:
        return WAVELENGTHS_ANGSTROM[wavelength]
    names = ", ".join(WAVELENGTHS_ANGSTROM)
    low, high = WAVELENGTH_RANGE_ANGSTROM
    what = f"a number of angstroms from {low:g} to {high:g} or one of {names}"
    return real_number("wavelength", wavelength, what, low, high)


def _angles(two_theta_range: tuple[float, float]) -> tuple[float, float]:
    """Both ends of a range of angles in degrees."""
    what = "two numbers of degrees, 0 <= low < high < 180"
    try:
        low, high = two_theta_range
    except (TypeError, ValueError):
        raise UserError(
            f"two_theta_range must be {what}, got {described(two_theta_range)}"
        ) from None
    low = real_number("the first of two_theta_range", low, what, 0, 180)
    high = real_number("the second of two_theta_range", high, what, 0, 180)
    if not low < high < 180:
        raise UserError(f"two_theta_range must be {what}, got ({low:g}, {high:g})")
    return low, high


def check_distances(crystal: Crystal, min_distance: float = MIN_DISTANCE_ANGSTROM) -> None:
    """Raise `CrystalError` if two sites closer than `min_distance` (angstrom) cannot both be there.

    Periodic images count, a site's own included. Two partly occupied sites may be as close as they
    like while their occupancies add up to at most one.
    """
    i, j, distance = closest_clash(
        crystal.lattice, crystal.frac_coords, crystal.occupancies, crystal.site, min_distance
    )
    if i >= 0:
        raise CrystalError(
            "overlapping_atoms",
            f"sites {i} and {j} are {distance:.3f} angstrom apart (the least allowed is "
            f"{min_distance:g})" + (": the cell is shorter than that" if i == j else ""),
        )


def _too_large(crystal: Crystal, high: float, wavelength: float) -> CrystalError:
    return CrystalError(
        "cell_too_large",
        f"a cell of {abs(np.linalg.det(crystal.lattice)):.3g} cubic angstrom with "
        f"{len(crystal.site)} atoms has more than {MAX_LATTICE_POINTS} lattice points, or phases "
        f"to tabulate, up to {high:g} degrees at a wavelength of {wavelength:g} angstrom",
    )


def _hkl_and_multiplicity(points: list[np.ndarray], lattice: np.ndarray) -> tuple[list, list]:
    """The last two fields of `Reflections` from the half-space points (M, 3) of each reflection."""
    from pymatgen.core import Lattice

    hexagonal = Lattice(lattice).is_hexagonal()
    families = [_families(group, hexagonal) for group in points]
    hkl = [tuple(index for index, _ in family) for family in families]
    return hkl, [tuple(count for _, count in family) for family in families]


def _families(hkl: np.ndarray, hexagonal: bool) -> list[tuple[tuple[int, int, int], int]]:
    """Families among the points (M, 3) of a half space and their opposites, with their sizes."""
    sizes: dict[tuple[int, ...], int] = {}
    largest: dict[tuple[int, ...], tuple[int, ...]] = {}
    for h, k, index_l in hkl.tolist():
        point = (h, k, -h - k, index_l) if hexagonal else (h, k, index_l)
        opposite = tuple(-index for index in point)
        key = tuple(sorted(abs(index) for index in point))
        sizes[key] = sizes.get(key, 0) + 2
        largest[key] = max(largest.get(key, point), point, opposite)
    return [((*largest[key][:2], largest[key][-1]), size) for key, size in sizes.items()]
