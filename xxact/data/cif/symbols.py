"""What sits at a site, from its type symbol or, where there is none, its label.

Deuterium and tritium are hydrogen. A symbol for a group (`OH`, `OH2`, `NO3`, `Wat`) places its
first heavy atom and *implies* the others, which have no coordinates. A vacancy has no atoms.
Without a formula of the file, `PO4` and `CO3` are groups, `PO` and `CO3+` polonium and cobalt.
Labels are names: where the formula of the file says which elements there are, it decides between
`Co1` and C or O; symbols in capitals (`CO`) are read in the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from xxact.data.elements import ATOMIC_NUMBERS, SYMBOLS
from xxact.xrd.crystal import CrystalError

HYDROGEN = 1
_VACANCIES = ("va", "vac", "vacancy")
_WATER = {"WAT": "OH2", "OW": "OH2", "O-H": "OH", "HW": "H"}
_ION = re.compile(r"([A-Za-z]{1,2})(?:\d*\.?\d*[+-]?|[+-]\d*\.?\d*)")
_MIXTURE = re.compile(r"(?:^|[+,])\s*(\d*\.\d+|1)\s*([A-Z][a-z]?)(?:\d*[+-])?\s*(?=[+,]|$)")
_GROUP = re.compile(r"([A-Z][a-z]?)\d*")
_CHARGE = re.compile(r"\d*[+-]\d*$")
_HYDRIDES = {"OH": "O", "OW": "O", "WA": "O", "NH": "N", "CH": "C"}
_LARGEST_USUAL_Z = 98  # in `NO3` there is no nobelium


@dataclass(frozen=True)
class Contents:
    """(atomic number, fraction) of each species, and atomic numbers without a place."""

    atoms: tuple[tuple[int, float], ...] = ()
    implied: frozenset[int] = frozenset()


def atomic_number(symbol: str) -> int:
    """Atomic number of an element's symbol, 1 for D and T; 0 if it is none."""
    return HYDROGEN if symbol in ("D", "T") else ATOMIC_NUMBERS.get(symbol, 0)


def element_names(numbers) -> str:
    """`H, O` from atomic numbers."""
    return ", ".join(SYMBOLS[z] for z in sorted(numbers))


def read_type_symbol(symbol: str, elements: frozenset[int] | None) -> Contents:
    """`Fe3+`, `CL`, `OH2`, `0.8Nb + 0.2Zr`; `elements` are those of the formula, or None."""
    if symbol.lower() in _VACANCIES:
        return Contents()
    mixture = _MIXTURE.findall(symbol)
    if mixture and all(atomic_number(name) for _, name in mixture):
        return Contents(tuple((atomic_number(name), float(part)) for part, name in mixture))
    symbol = _WATER.get(symbol.upper(), symbol)
    ion = _ION.fullmatch(symbol)
    number = atomic_number(ion[1].capitalize()) if ion else 0
    group = _CHARGE.sub("", symbol)
    members = [atomic_number(name) for name in _GROUP.findall(group)]
    is_group = all(members) and len(members) > 1 and not _GROUP.sub("", group)
    counts_atoms = re.search("[2-9]", group) is not None and "+" not in symbol
    usual = number <= _LARGEST_USUAL_Z and not counts_atoms
    likely = usual if elements is None else number in elements
    if number and (ion[1][1:].islower() or likely or not is_group):
        return Contents(((number, 1.0),))
    if is_group:
        heavy = next((z for z in members if z != HYDROGEN), HYDROGEN)
        return Contents(((heavy, 1.0),), frozenset(members) - {heavy})
    raise CrystalError("unknown_element", f"the type symbol '{symbol:.40}' names no element")


def read_label(label: str, elements: frozenset[int] | None) -> Contents:
    """`Na1`, `O2A`, `OW1`, `SiT1`: the element at the beginning of a label."""
    letters = re.match(r"[A-Za-z]*", label)[0]
    if letters.lower() in _VACANCIES:
        return Contents()
    start = letters[:2].upper()
    if start in _HYDRIDES and (start != "WA" or letters[:3].upper() == "WAT"):
        return Contents(((atomic_number(_HYDRIDES[start]), 1.0),), frozenset({HYDROGEN}))
    candidates = [atomic_number(letters[:2].capitalize()), atomic_number(letters[:1].upper())]
    candidates = [z for z in candidates if z]
    if start == "HW":
        candidates = [HYDROGEN]
    usual = [z for z in candidates if z <= _LARGEST_USUAL_Z] or candidates
    for number in [z for z in candidates if elements and z in elements] + usual:
        return Contents(((number, 1.0),))
    raise CrystalError("unknown_element", f"the label '{label:.40}' begins with no element")
