"""Which symmetry a CIF states, and the crystal that follows from it.

A file may give operators, a Hall symbol, Hermann-Mauguin symbols and a number. What it gives has to
agree, and every reading that it leaves open (two origins, hexagonal or rhombohedral axes, unique
axes) is tried: those that change the metric of the cell, or contradict the formula, Z or
occupancies, or put atoms into one another drop out. One crystal has to remain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gemmi
import numpy as np

from xxact.data.cif.block import Block, parse_number
from xxact.xrd.crystal import Crystal, CrystalError
from xxact.xrd.reflections import check_distances
from xxact.xrd.settings import (
    has_one_setting,
    keep_metric,
    number_of_hall,
    number_of_operators,
    operators_of,
    operators_of_hall,
    parse_operators,
    same_operators,
    settings_of_number,
    settings_of_symbol,
)
from xxact.xrd.symmetry import space_group_number

_OPERATORS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_magn_operation_xyz",
)
_SYMBOLS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h_m_alt",
    "_symmetry_space_group_name_h_m",
    "_space_group_name_h-m",
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_CODE = "_space_group_it_coordinate_system_code"

#: Two atoms closer than this part of their covalent radii are no reading to prefer.
_PLAUSIBLE_CONTACT = 0.6


_NOT_STATED = "the file says nothing of its symmetry"
_IDENTITY = np.eye(3, 4)[None]  # (1, 3, 4)

Build = Callable[[np.ndarray], Crystal]


@dataclass(frozen=True)
class Reading:
    """One way to understand a file: how it is called, its number, its operators (N, 3, 4)."""

    name: str
    number: int
    operators: np.ndarray


def crystal_of(block: Block, lattice: np.ndarray, build: Build) -> Crystal:
    """The one crystal that the stated symmetry leaves; `CrystalError` says why there is none.

    lattice: (3, 3) angstrom.
    build: makes the crystal from operators (N, 3, 4) and raises `CrystalError` where it contradicts
    what the file says.
    """
    number = _stated_number(block)
    named = _named_readings(block, number, lattice)
    listed = [text for tag in _OPERATORS for text in block.column(tag)]
    listed = [text for text in dict.fromkeys(listed) if text not in ("?", ".", "")]
    if listed:
        operators = _with_centring(parse_operators(listed), block)
        return _crystal_of_operators(operators, named, number, lattice, build)
    return _only_crystal(named or _readings_of_number(block, number), lattice, build)


def _crystal_of_operators(
    operators: np.ndarray, named: list[Reading], number: int, lattice: np.ndarray, build: Build
) -> Crystal:
    """The crystal of listed operators; the symbol or number beside them must not contradict them.

    Operators of a subgroup are sound if the atoms have the stated symmetry (all atoms listed, P 1).
    Those of another setting are sound if the symbol cannot be meant as it stands.
    """
    crystal = _checked(Reading("operators of the file", 0, operators), lattice, build)
    if any(same_operators(operators, reading.operators) for reading in named):
        return crystal
    said = f"'{named[0].name}'" if named else f"number {number}"
    number = named[0].number if named else number
    found = number_of_operators(operators, lattice) if number else 0
    if found != number and space_group_number(crystal) != number:
        raise _contradiction(
            f"its operators are those of the space-group type {found}",
            f"it names {said}" + (f", type {number}" if named else ""),
        )
    if found == number and any(_rivals(crystal, reading, lattice, build) for reading in named):
        raise _contradiction(
            f"its operators are those of another setting of type {found}", f"it names {said}"
        )
    return crystal


def _rivals(crystal: Crystal, reading: Reading, lattice: np.ndarray, build: Build) -> bool:
    """Whether a reading makes another crystal that is as good."""
    try:
        return not _same(crystal, _checked(reading, lattice, build))
    except CrystalError:
        return False


def _only_crystal(readings: list[Reading], lattice: np.ndarray, build: Build) -> Crystal:
    """The crystal of the one reading that nothing speaks against."""
    crystals: list[tuple[Reading, Crystal]] = []
    failures: list[tuple[Reading, CrystalError]] = []
    for reading in readings:
        try:
            crystal = _checked(reading, lattice, build)
        except CrystalError as error:
            failures.append((reading, error))
        else:
            if not any(_same(crystal, other) for _, other in crystals):
                crystals.append((reading, crystal))
    if not crystals:
        raise _none_fits(failures)
    if len(crystals) > 1:
        crystals = [pair for pair in crystals if _is_plausible(pair[1])] or crystals
    if len(crystals) > 1:
        names = " or ".join(f"'{reading.name}'" for reading, _ in crystals)
        raise CrystalError(
            "ambiguous_symmetry",
            f"the space group may be {names}: these are different crystals, and neither cell, "
            "formula, Z nor distances tell which; give the symmetry operators",
        )
    return crystals[0][1]


def _none_fits(failures: list[tuple[Reading, CrystalError]]) -> CrystalError:
    """Why no reading is left; axes that do not fit say nothing where others do."""
    if failures[0][0].name == _NOT_STATED:
        error = failures[0][1]
        return CrystalError(error.reason, f"{_NOT_STATED}, and {error}")
    telling = [pair for pair in failures if pair[1].reason != "wrong_axes"] or failures
    if len(telling) == 1:
        return telling[0][1]
    message = "; ".join(f"as '{reading.name}': {error}" for reading, error in telling)
    return CrystalError(telling[0][1].reason, message)


def _checked(reading: Reading, lattice: np.ndarray, build: Build) -> Crystal:
    """The crystal of a reading if its operators belong to the cell and no atoms overlap."""
    if not keep_metric(reading.operators, lattice):
        raise CrystalError(
            "wrong_axes",
            f"the symmetry ({reading.name}) does not go with the axes: its operators change the "
            "lengths or angles of the cell",
        )
    crystal = build(reading.operators)
    check_distances(crystal)
    return crystal


def _named_readings(block: Block, number: int, lattice: np.ndarray) -> list[Reading]:
    """What the Hermann-Mauguin and Hall symbols leave open; they and the number have to agree."""
    code = block.text(_CODE)
    symbols = dict.fromkeys(text for tag in _SYMBOLS if (text := block.text(tag)))
    readings: list[Reading] = []
    origin = ""
    for symbol in symbols:
        settings = _settings_that_fit(symbol, code, lattice)
        found = [Reading(s.xhm(), s.number, operators_of(s.operations())) for s in settings]
        readings = _agreeing(readings, found, origin, f"'{symbol}'")
        origin = origin or (f"'{symbol}'" if found else "")
    hall = block.text(*_HALL)
    operators = operators_of_hall(hall) if hall else None
    if operators is not None:
        type_number = number_of_hall(hall)
        definite = [Reading(hall, type_number, operators)]
        readings = _agreeing(readings, definite, origin, f"the Hall symbol '{hall}'")
        origin = origin or f"'{hall}'"
    if readings and number and readings[0].number not in (0, number):
        raise _contradiction(
            f"it names {origin}, of type {readings[0].number}", f"the number {number}"
        )
    return readings


def _settings_that_fit(symbol: str, code: str, lattice: np.ndarray) -> list[gemmi.SpaceGroup]:
    """Settings of a symbol; of several unique axes the first (b before c and a) that fits."""
    settings = settings_of_symbol(symbol, code)
    if len({s.monoclinic_unique_axis() for s in settings}) > 1:
        fit = [s for s in settings if keep_metric(operators_of(s.operations()), lattice)]
        return (fit or settings)[:1]
    return settings


def _agreeing(before: list[Reading], found: list[Reading], *said: str) -> list[Reading]:
    """Those of `found` that are among the readings before; `said` are the words for both."""
    if not before or not found:
        return before or found
    both = [f for f in found if any(same_operators(f.operators, b.operators) for b in before)]
    if not both:
        raise _contradiction(*(f"it names {words}" for words in said))
    return both


def _readings_of_number(block: Block, number: int) -> list[Reading]:
    """The standard setting of a number, or P 1 if the file says nothing at all.

    A symbol that is not understood may mean another setting, so that the number is not enough.
    """
    words = [text for tag in (*_SYMBOLS, *_HALL) if (text := block.text(tag))]
    if words and not (number and has_one_setting(number)):
        code = block.text(_CODE)
        raise CrystalError(
            "unknown_symmetry",
            f"the space group {', '.join(repr(w) for w in dict.fromkeys(words))}"
            + (f" with the code '{code}'" if code else "")
            + " is not understood, and the file has no symmetry operators",
        )
    if number:
        settings = settings_of_number(number)
        return [Reading(s.xhm(), number, operators_of(s.operations())) for s in settings]
    return [Reading(_NOT_STATED, 1, _IDENTITY)]


def _stated_number(block: Block) -> int:
    """The space-group number, 0 if there is none."""
    text = block.text(*_NUMBER)
    if not text:
        return 0
    number = parse_number(text, "the space-group number", "unknown_symmetry")
    if number not in range(1, 231):
        raise CrystalError("unknown_symmetry", f"there is no space group of number {text}")
    return int(number)


def _with_centring(operators: np.ndarray, block: Block) -> np.ndarray:
    """The operators of a magCIF, which lists its centring apart."""
    centring = block.column("_space_group_symop_magn_centering_xyz")
    if not centring:
        return operators
    shifts = parse_operators(centring)[:, :, 3]  # (C, 3)
    moved = np.repeat(operators[None], len(shifts), axis=0)
    moved[:, :, :, 3] += shifts[:, None]
    return moved.reshape(-1, 3, 4)


def _same(a: Crystal, b: Crystal) -> bool:
    """Whether two crystals of one cell have the same atoms at the same places."""
    if len(a.atomic_numbers) != len(b.atomic_numbers):
        return False
    offsets = a.frac_coords[:, None] - b.frac_coords  # (N, N, 3)
    near = np.linalg.norm((offsets - np.round(offsets)) @ a.lattice, axis=-1) < 0.05
    return bool((near & (a.atomic_numbers[:, None] == b.atomic_numbers)).any(1).all())


def _is_plausible(crystal: Crystal) -> bool:
    """Whether no two whole atoms are much closer than their covalent radii."""
    whole = crystal.occupancies > 0.99
    points, numbers = crystal.frac_coords[whole], crystal.atomic_numbers[whole]
    offsets = points[:, None] - points
    distances = np.linalg.norm((offsets - np.round(offsets)) @ crystal.lattice, axis=-1)
    radii = np.array([gemmi.Element(int(z)).covalent_r for z in numbers])
    np.fill_diagonal(distances, np.inf)
    return bool((distances > _PLAUSIBLE_CONTACT * (radii[:, None] + radii)).all())


def _contradiction(*statements: str) -> CrystalError:
    message = "the file contradicts itself: " + " and ".join(statements)
    return CrystalError("contradictory_symmetry", message)
