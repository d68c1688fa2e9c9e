"""The text of a CIF to its data blocks, and what a block says of cell and sites, strictly.

gemmi reads the grammar. A value that is no number is never taken for one: `.` is the default of
the CIF dictionary where it has one (occupancy 1, angles 90), `?` is unknown, and everything else
that cannot be read is named in the error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from gemmi import cif

from xxact.data.cif.symbols import HYDROGEN, read_label, read_type_symbol
from xxact.xrd.crystal import CrystalError
from xxact.xrd.orbits import Site

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\(\d+\))?")
_HEADER = re.compile(r"^[ \t]*data_", re.MULTILINE | re.IGNORECASE)
_UNKNOWN = ("?", ".", "")


@dataclass(frozen=True)
class Block:
    """A data block: its name and the values of each tag, in lower case with `_` for `.`."""

    name: str
    values: dict[str, list[str]]

    def column(self, *tags: str) -> list[str]:
        """The values of the first tag that is there, or an empty list."""
        return next((self.values[tag] for tag in tags if tag in self.values), [])

    def text(self, *tags: str) -> str:
        """The first known value among the tags, or an empty text."""
        known = (self.values[tag][0] for tag in tags if self.values.get(tag))
        return next((value for value in known if value not in _UNKNOWN), "")

    @property
    def describes_a_crystal(self) -> bool:
        """Whether there is a cell or atoms in it, and not text alone."""
        return any(tag.startswith(("_cell_length_", "_atom_site_")) for tag in self.values)


def parse_blocks(text: str) -> list[Block]:
    """The blocks of a CIF; `CrystalError` (`unreadable_cif`) says why a text is none."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    header = _HEADER.search(text)
    if header is None:
        raise CrystalError("unreadable_cif", _why_no_cif(text.strip()))
    line = text.count("\n", 0, header.start())
    try:
        document = cif.read_string(text[header.start() :], 0)
    except (ValueError, RuntimeError) as error:
        raise CrystalError("unreadable_cif", _with_line(str(error), line)) from None
    return [Block(block.name.strip(), _values(block)) for block in document]


def parse_number(text: str, what: str, reason: str) -> float:
    """A number, with or without its uncertainty in brackets; `CrystalError` names what it is of."""
    match = _NUMBER.fullmatch(text)
    if match:
        return float(match[1])
    if text in _UNKNOWN:
        raise CrystalError(reason, f"{what} is unknown ('{text}')")
    hint = ": write a point, no comma" if re.fullmatch(r"[+-]?\d*,\d+(\(\d+\))?", text) else ""
    raise CrystalError(reason, f"{what} is '{text:.40}', which is no number{hint}")


def parse_cell(block: Block) -> tuple[float, ...]:
    """a, b, c in angstrom and alpha, beta, gamma in degrees (90 where they are left out)."""
    cell = []
    for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"):
        values = block.column(f"_cell_{name}")
        if len(set(values)) > 1:
            raise CrystalError("invalid_lattice", f"_cell_{name} has several values")
        if not values and name.startswith("length"):
            raise CrystalError("invalid_lattice", f"there is no _cell_{name}")
        if name.startswith("angle") and (not values or values[0] == "."):
            values = ["90"]
        number = parse_number(values[0], f"_cell_{name}", "invalid_lattice")
        if not 0 < number < (1e4 if name.startswith("length") else 180):
            raise CrystalError("invalid_lattice", f"_cell_{name} cannot be {values[0]}")
        cell.append(number)
    return tuple(cell)


@dataclass(frozen=True)
class Sites:
    """The sites that have atoms, and what the file says of atoms without a place.

    implied: where it says so, the atomic numbers, and whether that is but the label of a site.
    """

    sites: list[Site]
    implied: list[tuple[str, frozenset[int], bool]]


def parse_sites(block: Block, elements: frozenset[int] | None) -> Sites:
    """The atoms of the block; empty sites, dummies and vacancies are passed over.

    elements: atomic numbers in the formula of the file, or None.
    """
    symbols = block.column("_atom_site_type_symbol")
    labels = block.column("_atom_site_label") or symbols
    n = len(labels)
    if not n:
        raise CrystalError("no_sites", f"the block '{block.name}' has no atoms")
    axes = [block.column(f"_atom_site_fract_{axis}") for axis in "xyz"]
    occupancies = block.column("_atom_site_occupancy") or ["."] * n
    hydrogens = block.column("_atom_site_attached_hydrogens") or ["."] * n
    flags = block.column("_atom_site_calc_flag") or ["."] * n
    columns = (symbols or ["."] * n, labels, *axes, occupancies, hydrogens, flags)
    if not all(len(column) == n for column in columns):
        raise CrystalError("invalid_coordinates", "some atoms have no fractional coordinates")
    result = Sites([], [])
    for symbol, label, *coords, occupancy, attached, flag in zip(*columns, strict=True):
        named = symbol in _UNKNOWN
        contents = read_label(label, elements) if named else read_type_symbol(symbol, elements)
        amount = _not_negative(occupancy, "1", f"the occupancy of {label}")
        if flag.lower() == "dum" or amount == 0 or not contents.atoms:
            continue
        place = tuple(
            parse_number(text, f"coordinate {axis} of {label}", "invalid_coordinates")
            for axis, text in zip("xyz", coords, strict=True)
        )
        atoms = tuple((z, fraction * amount) for z, fraction in contents.atoms)
        result.sites.append(Site(label, place, atoms))
        if contents.implied:
            what = f"the label '{label}'" if named else f"the type symbol '{symbol}' of {label}"
            result.implied.append((what, contents.implied, named))
        what = f"_atom_site_attached_hydrogens of {label}"
        if attached != "?" and _not_negative(attached, "0", what):
            result.implied.append((what, frozenset({HYDROGEN}), False))
    if not result.sites:
        raise CrystalError("no_sites", "every site of the file is empty")
    return result


def _not_negative(text: str, default: str, what: str) -> float:
    """A number of at least 0; `.` stands for its default."""
    number = parse_number(default if text == "." else text, what, "invalid_occupancy")
    if number < 0:
        raise CrystalError("invalid_occupancy", f"{what} is {text}, below 0")
    return number


def _values(block: cif.Block) -> dict[str, list[str]]:
    """Values by tag; a tag that comes again adds to those before."""
    values: dict[str, list[str]] = {}
    for item in block:
        if item.pair is not None:
            _add(values, item.pair[0], [item.pair[1]])
        elif item.loop is not None:
            raw = np.array(item.loop.values, dtype=object).reshape(-1, len(item.loop.tags))
            for tag, column in zip(item.loop.tags, raw.T, strict=True):
                _add(values, tag, column.tolist())
    return values


def _add(values: dict[str, list[str]], tag: str, raw: list[str]) -> None:
    name = tag.lower().replace(".", "_").rstrip("_")
    texts = [value if cif.is_null(value) else cif.as_string(value).strip() for value in raw]
    values[name] = values.get(name, []) + texts


def _with_line(message: str, first_line: int) -> str:
    """gemmi's message with the line of the text."""
    match = re.match(r"string:(\d+)(?::\d+\(\d+\))?:?\s*(.*)", message, re.DOTALL)
    if match is None:
        return message
    return f"line {int(match[1]) + first_line}: {match[2]}"


def _why_no_cif(text: str) -> str:
    """What a text without a `data_` line seems to be."""
    start = text.splitlines()[0][:60] if text else ""
    if not text:
        return "the text is empty"
    if text.startswith("<"):
        return f"this is a web page or XML, no CIF: it begins with '{start}'"
    if "\n" not in text and re.fullmatch(r"\S*(/|\\|\.cif|\.\w{1,6})\S*", text):
        return f"'{start}' is a path, not the text of a CIF"
    return f"there is no data_ line, so this is no CIF: it begins with '{start}'"
