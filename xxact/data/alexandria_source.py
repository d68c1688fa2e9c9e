"""Alexandria's releases: bzip2-compressed JSON of `ComputedStructureEntry` dictionaries.

A file is `{"entries": [...]}` or a bare list. It is streamed: the parent process cuts it into the
texts of its entries by counting brackets, workers parse them. An entry of broken JSON costs itself
alone: the reader finds the next place where an entry starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import orjson

from xxact.compiled import compiled
from xxact.data.cif import lattice_vectors
from xxact.data.elements import ATOMIC_NUMBERS
from xxact.data.source import (
    READ_ERRORS,
    Columns,
    Input,
    RawRow,
    Row,
    RowError,
    TargetColumn,
    UnreadableInput,
    decompressed,
    read_space_group,
)
from xxact.data.targets import UNITS
from xxact.xrd.crystal import Crystal

#: Keys of an entry's `data` that hold the known targets.
TARGET_KEYS = {"formation_energy_per_atom": "e_form", "band_gap": "band_gap_ind"}

#: Left sides that `--column` takes, and the value each stands for.
KNOWN_KEYS = {name: name for name in TARGET_KEYS} | {
    "id": "material_id",
    "material_id": "material_id",
    "spacegroup.number": "spacegroup.number",
    "space_group": "spacegroup.number",
}

_CHUNK = 1 << 20
_LONGEST_ENTRY = 1 << 23
_ISOTOPES = {"D": 1, "T": 1}

_INCOMPLETE = -1

_LIST = re.compile(rb'\s*(?:\[|\{(?:[^\[]*?,)?\s*"entries"\s*:\s*\[)')
_OPENING = re.compile(rb"\s*(?:(?=\{)|(\]))")
_FOLLOWING = re.compile(rb"\s*(?:,|(?=\]))")
_CANDIDATE = re.compile(rb",\s*(?=\{)")
_ID = re.compile(rb'"mat_id"\s*:\s*"([^"\\]+)"')


@dataclass(frozen=True)
class AlexandriaSource:
    """Entries of JSON files; see `Source` for the methods."""

    targets: tuple[TargetColumn, ...]
    id_key: str = "mat_id"
    space_group_key: str = "spg"
    kind: str = "composition+xrd"
    has_source_space_group: bool = True

    def settings(self) -> dict:
        """Which keys are read as what."""
        return {
            "source": "alexandria",
            "id": self.id_key,
            "space_group": self.space_group_key,
            "targets": [[t.name, t.unit, t.column] for t in self.targets],
        }

    def read(self, stream: IO[bytes], path: Path) -> Iterator[RawRow]:
        """The text of each entry, cut out of the stream."""
        for number, (text, message) in enumerate(_Entries(decompressed(stream)), start=1):
            place = f"{path.name}#{number}"
            if message:
                yield RawRow(_name(text, place), None, "invalid_json", message)
            else:
                yield RawRow(place, text)

    def decode(self, raw: RawRow) -> Row:
        """Id, values and structure of an entry; `RowError` where they are missing."""
        try:
            entry = _parse(raw.content)
        except RowError as error:
            raise RowError(error.reason, str(error), _name(raw.content, raw.id)) from error
        data = entry.get("data") if isinstance(entry, dict) else None
        if not isinstance(data, dict):
            raise RowError("invalid_entry", "the entry has no 'data'")
        identifier = data.get(self.id_key)
        if not isinstance(identifier, str | int) or identifier == "":
            raise RowError("missing_id", f"the entry's data have no '{self.id_key}'")
        identifier = str(identifier)
        values = tuple(t.value(data.get(t.column), identifier) for t in self.targets)
        space_group = read_space_group(data.get(self.space_group_key))
        return Row(identifier, entry.get("structure"), values, space_group)

    def crystal(self, row: Row) -> Crystal:
        """The structure of an entry, from its dictionary."""
        return crystal_from_dict(row.content)


def alexandria_source(inputs: Sequence[Input], columns: Columns) -> AlexandriaSource:
    """The source with the user's own keys, if any; the files are not looked at."""
    known = [
        TargetColumn(name, UNITS[name], columns.names.get(name, key))
        for name, key in TARGET_KEYS.items()
    ]
    own = {t.name for t in columns.targets}
    return AlexandriaSource(
        (*(t for t in known if t.name not in own), *columns.targets),
        columns.names.get("material_id", "mat_id"),
        columns.names.get("spacegroup.number", "spg"),
    )


def crystal_from_dict(structure: object) -> Crystal:
    """A pymatgen `Structure.as_dict()` as a `Crystal`; `RowError` where something is missing."""
    if not isinstance(structure, dict):
        raise RowError("missing_structure", "the entry has no 'structure'")
    lattice = _lattice(structure.get("lattice"))
    coords, numbers, occupancies, sites = [], [], [], []
    try:
        for index, site in enumerate(structure["sites"]):
            position = _position(site, lattice)
            for species in site["species"]:
                numbers.append(_atomic_number(species["element"]))
                occupancies.append(species.get("occu", 1))
                coords.append(position)
                sites.append(index)
    except (KeyError, TypeError, AttributeError) as error:
        raise RowError("invalid_structure", f"a site cannot be read ({error!r:.80})") from error
    if not numbers:
        raise RowError("no_sites", "the structure has no sites")
    try:
        return Crystal(lattice, coords, numbers, occupancies, sites)
    except TypeError as error:  # e.g. null among the coordinates
        raise RowError("invalid_structure", str(error)) from error


def _lattice(lattice: object) -> np.ndarray:
    if not isinstance(lattice, dict):
        raise RowError("missing_lattice", "the structure has no lattice")
    try:
        if "matrix" in lattice:
            return np.array(lattice["matrix"], np.float64).reshape(3, 3)
        return lattice_vectors(*(lattice[k] for k in ("a", "b", "c", "alpha", "beta", "gamma")))
    except (KeyError, TypeError, ValueError) as error:
        raise RowError("invalid_lattice", f"the lattice cannot be read ({error!r:.80})") from error


def _position(site: dict, lattice: np.ndarray) -> Sequence[float]:
    """Fractional coordinates of a site, from Cartesian ones if it has no others."""
    if "abc" in site:
        return site["abc"]
    return np.linalg.solve(lattice.T, np.array(site["xyz"], np.float64))


def _atomic_number(symbol: str) -> int:
    number = ATOMIC_NUMBERS.get(symbol) or _ISOTOPES.get(symbol)
    if number is None:
        raise RowError("unknown_element", f"'{symbol!s:.20}' is not a chemical element")
    return number


def _parse(text: bytes) -> object:
    """The value of a JSON text; bare NaN, which orjson refuses, is left to the standard library."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RowError("invalid_json", str(error)) from error


def _is_broken(text: bytes) -> bool:
    """Whether a text is no JSON."""
    try:
        _parse(text)
    except RowError:
        return True
    return False


def _name(text: bytes, place: str) -> str:
    """The id that a text seems to have, to name it by if it cannot be parsed."""
    match = _ID.search(text)
    return match[1].decode(errors="replace") if match else place


class _Entries:
    """Cuts a stream of JSON into (text of an entry, what is wrong with it), with flat memory."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self._buffer = b""
        self._place = 0
        self._fault = ""

    def __iter__(self) -> Iterator[tuple[bytes, str]]:
        self._find_list()
        while True:
            self._drop_passed()
            opening = self._match(_OPENING, self._place)
            if opening is None and not self._buffer[self._place :].strip():
                raise UnreadableInput(self._fault or "it ends before its list of entries does")
            if opening is not None and opening[1]:
                return
            end, odd = (-1, False) if opening is None else self._end_of_entry(opening.end())
            following = None if end < 0 else self._match(_FOLLOWING, end)
            last = end > 0 and not self._buffer[end:].strip()
            text = self._buffer[opening.end() : end] if following or last else b""
            if text and not (odd and _is_broken(text)):
                yield text, ""
                self._place = end if following is None else following.end()
            else:
                place = self._next_sound_entry()
                yield self._buffer[self._place : place], "the JSON of the entry is broken"
                if place is None:
                    raise UnreadableInput(self._fault or "it ends inside an entry")
                self._place = place

    def _find_list(self) -> None:
        """Go to the first entry of the list; `UnreadableInput` if there is none."""
        while not _LIST.match(self._buffer) and len(self._buffer) < _CHUNK and self._more():
            pass
        if not self._buffer.strip():
            raise UnreadableInput(self._fault or "the file is empty")
        start = _LIST.match(self._buffer)
        if start is None:
            reason = "it holds neither a list nor an object with a list 'entries'"
            raise UnreadableInput(self._fault or reason)
        first = self._match(_OPENING, start.end())
        if first is not None and first[1]:
            raise UnreadableInput("its list holds no entries")
        self._place = start.end()

    def _end_of_entry(self, start: int) -> tuple[int, bool]:
        """Where the entry that starts at `start` ends (negative if it never does), and `odd`."""
        while True:
            end, odd = object_end(np.frombuffer(self._buffer, np.uint8), start)
            too_long = len(self._buffer) - start > _LONGEST_ENTRY
            if end != _INCOMPLETE or too_long or not self._more():
                return end, odd

    def _match(self, pattern: re.Pattern[bytes], place: int) -> re.Match[bytes] | None:
        """Match at `place`, reading on while nothing but blanks follows."""
        while True:
            match = pattern.match(self._buffer, place)
            if match or self._buffer[place:].strip() or not self._more():
                return match

    def _next_sound_entry(self) -> int | None:
        """Where the next entry starts that can be parsed, in what is in memory."""
        bytes_ = np.frombuffer(self._buffer, np.uint8)
        for match in _CANDIDATE.finditer(self._buffer, self._place + 1):
            end, _ = object_end(bytes_, match.end())
            if end < 0:
                continue
            try:
                value = _parse(self._buffer[match.end() : end])
            except RowError:
                continue
            if isinstance(value.get("data"), dict) or "structure" in value:
                return match.end()
        return None

    def _more(self) -> bool:
        """Read on; False at the end of the stream or where it breaks."""
        try:
            block = self._stream.read(_CHUNK)
        except READ_ERRORS as error:
            self._fault = f"{type(error).__name__}: {error}"
            return False
        self._buffer += block
        return bool(block)

    def _drop_passed(self) -> None:
        if self._place > _CHUNK:
            self._buffer = self._buffer[self._place :]
            self._place = 0


@compiled
def object_end(text, start):
    """Index after the JSON object or list that starts at `start`; -1 incomplete, -2 mismatched.

    text: (n,) uint8. Brackets are counted outside of strings; at most 64 levels. Beside the index
    comes whether a string starts with a colon. Then a quotation mark is probably missing, so that
    insides and outsides of strings are exchanged, and the end may be that of another entry.
    """
    kinds = np.uint64(0)  # a bit a level: 1 for an object
    depth = 0
    in_string = odd = False
    k = start
    n = len(text)
    while k < n:
        c = text[k]
        if in_string:
            if c == 92:  # backslash
                k += 1
            elif c == 34:  # quotation mark
                in_string = False
        elif c == 34:
            in_string = True
            odd = odd or (k + 1 < n and text[k + 1] == 58)
        elif c == 123 or c == 91:  # { [
            if depth == 64:
                return -2, odd
            kinds = (kinds << np.uint64(1)) | np.uint64(1 if c == 123 else 0)
            depth += 1
        elif c == 125 or c == 93:  # } ]
            if (kinds & np.uint64(1)) != np.uint64(1 if c == 125 else 0):
                return -2, odd
            kinds >>= np.uint64(1)
            depth -= 1
            if depth == 0:
                return k + 1, odd
        k += 1
    return -1, odd
