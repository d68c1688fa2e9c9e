"""What a source of crystals has to offer, and how its files are opened.

A source splits a file into raw rows (in the parent process, so it must be quick) and turns a raw
row into a `Row` and its crystal (in a worker). A new source is one class with these methods.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from xxact.data.labels import read_label
from xxact.data.store import SPLITS
from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP, UNITS
from xxact.errors import UserError
from xxact.xrd.crystal import Crystal

#: The unit, as typed, of a target that is a class.
CLASS = "class"

#: What opening or reading a damaged or foreign file raises.
READ_ERRORS = (OSError, EOFError, lzma.LZMAError, UnicodeError)

_MAGIC = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"7z\xbc\xaf": "a 7z archive",
}
_MISSING = frozenset({"", "nan", "none", "null", "na", "n/a"})
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
#: What float32 keeps of a number: values that lose more (too large, too small) are refused.
_FLOAT32_PRECISION = 1e-6


@dataclass(frozen=True)
class Input:
    """One input file and the split it belongs to (None: splits follow from the hash of the id)."""

    path: Path
    split: str | None = None


@dataclass(frozen=True)
class RawRow:
    """One row as the file has it. `id` is where it stands until the row's own id is known."""

    id: str
    content: object = None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Row:
    """One material: what its structure or formula is read from, and its values.

    values: a number (NaN where missing) or a label ("" where missing) for each target.
    """

    id: str
    content: object
    values: tuple[float | str, ...]
    source_space_group: int = 0


@dataclass(frozen=True)
class TargetColumn:
    """A target: its unit (or `CLASS`) and the column or key it is read from."""

    name: str
    unit: str
    column: str

    @property
    def is_class(self) -> bool:
        """Whether the column holds labels of classes rather than numbers."""
        return self.unit == CLASS

    def value(self, cell: object, identifier: str) -> float | str:
        """The number or label in a cell (see `Row.values`); `RowError` where it is neither."""
        try:
            return read_label(cell) if self.is_class else read_number(cell)
        except ValueError as error:
            message = f"{self.column}: {error}"
            is_text = isinstance(cell, str | bool) and not _NUMBER.fullmatch(str(cell).strip())
            if is_text and not self.is_class and self.name not in UNITS:
                message += f" (for classes: --target {self.name}:{CLASS}={self.column})"
            raise RowError("invalid_target", message, identifier) from error


class RowError(Exception):
    """A row that cannot be used. `reason` is what failures are counted by."""

    def __init__(self, reason: str, message: str, identifier: str | None = None):
        super().__init__(message)
        self.reason = reason
        self.identifier = identifier


class UnreadableInput(Exception):
    """A file that cannot be read, or not to its end; the rows before are kept."""


class Source(Protocol):
    """Picklable; what it says of itself holds for all of its inputs.

    has_ids: whether rows come with ids or their formulas are taken for that; only a source of kind
    "composition" needs to say.
    """

    kind: str
    targets: tuple[TargetColumn, ...]
    has_source_space_group: bool
    has_ids: bool

    def settings(self) -> dict:
        """Everything beside the files' bytes that the rows depend on, as JSON."""

    def read(self, stream: IO[bytes], path: Path) -> Iterator[RawRow]:
        """Raw rows of an input opened in binary mode; `UnreadableInput` where it breaks off."""

    def decode(self, raw: RawRow) -> Row:
        """Id and values of a row; `RowError` if it has none."""

    def crystal(self, row: Row) -> Crystal:
        """The structure of a row (kind "composition+xrd")."""

    def formula(self, row: Row) -> str:
        """The formula of a row; only a source of kind "composition" needs one."""


@dataclass(frozen=True)
class Columns:
    """What the user said about columns: `names` maps ours to theirs, `targets` adds targets."""

    names: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[TargetColumn, ...] = ()


def parse_inputs(texts: list[str]) -> list[Input]:
    """Inputs of the form `FILE`, or `SPLIT=FILE` to keep a given split; `UserError` if mixed."""
    inputs = [_parse_input(text) for text in texts]
    if not inputs:
        raise UserError("no input: name at least one file with --input FILE")
    for entry in inputs:
        if not entry.path.exists():
            raise UserError(f"there is no input file {entry.path}")
        if entry.path.is_dir():
            raise UserError(
                f"the input {entry.path} is a directory; name the files in it "
                "(of a folder of CIF files, the CSV file that lists them)"
            )
        if not entry.path.is_file():
            raise UserError(
                f"the input {entry.path} is a pipe or a device, which cannot be read twice: "
                "write what comes out of it to a file"
            )
    if len({entry.split is None for entry in inputs}) > 1:
        raise UserError(
            "some inputs have a split (--input train=FILE) and some have none; give all or none"
        )
    return inputs


def _parse_input(text: str) -> Input:
    match = re.fullmatch(r"([A-Za-z_]+)=(.+)", text)
    if match is None or Path(text).exists():
        return Input(Path(text))
    name = {"val": "validation", "valid": "validation"}.get(match[1].lower(), match[1].lower())
    if name not in SPLITS:
        raise UserError(
            f"--input {text}: there is no split '{match[1]}'; "
            f"the splits are: train, validation (or val), test, audit"
        )
    return Input(Path(match[2]), name)


def parse_columns(columns: list[str], targets: list[str], known: Mapping[str, str]) -> Columns:
    """`OURS=THEIRS` and `NAME[:UNIT]=COLUMN` as typed; `known` maps the names that may be ours.

    Keys of `known` are what may stand on the left, its values the canonical names.
    """
    names = {}
    for text in columns:
        ours, equals, theirs = text.partition("=")
        if not equals or not theirs or ours not in known:
            raise UserError(
                f"--column {text}: write OURS=THEIRS, where OURS is one of "
                f"{', '.join(sorted(known))} (other regression targets: --target NAME:UNIT=COLUMN)"
            )
        if names.get(known[ours], theirs) != theirs:
            raise UserError(f"--column {text}: '{ours}' is '{names[known[ours]]}' already")
        names[known[ours]] = theirs
    parsed = tuple(_parse_target(text) for text in targets)
    for name, n in Counter([t.name for t in parsed] + [k for k in names if k in UNITS]).items():
        if n > 1:
            raise UserError(f"the target '{name}' is given twice; give each a name of its own")
    return Columns(names, parsed)


def _parse_target(text: str) -> TargetColumn:
    match = re.fullmatch(r"([a-z][a-z0-9_]*)(?::([^=]*))?=(?s:(.+))", text)
    if match is None or match[1] in (CRYSTAL_SYSTEM.name, SPACE_GROUP.name):
        raise UserError(
            f"--target {text}: write NAME:UNIT=COLUMN, e.g. bulk_modulus:GPa=K_VRH, or "
            f"NAME:{CLASS}=COLUMN for classes, with NAME in lower case, digits and underscores "
            "(crystal system and space group are computed)"
        )
    name, unit, column = match.groups()
    if unit == CLASS and name in UNITS:
        raise UserError(f"--target {text}: '{name}' is a number; give the classes another name")
    return TargetColumn(name, UNITS.get(name, "") if unit is None else unit.strip(), column)


def decompressed(stream: IO[bytes]) -> IO[bytes]:
    """The content of a plain, gzip, xz or bzip2 stream, told apart by its first bytes.

    `UnreadableInput` for archives and spreadsheets.
    """
    head = stream.read(6)
    stream.seek(0)
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            raise UnreadableInput(f"it is {name}: unpack it, or save a spreadsheet as CSV")
    for magic, opener in _MAGIC.items():
        if head.startswith(magic):
            return opener(stream, "rb")
    return stream


def read_number(value: object) -> float:
    """A number from a cell or JSON value; NaN where it is missing, `ValueError` where it is none.

    So is a number that float32, in which targets are stored, cannot hold to six digits: beyond
    3.4e38, or so small that it becomes 0 or loses its digits (below about 1e-38).
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in _MISSING):
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"not a number: {value!r:.40}")
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise ValueError(f"not a number: {value!r:.40}")
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if math.isnan(number):
        return number
    with np.errstate(over="ignore", under="ignore"):
        kept = float(np.float32(number))
    if not abs(kept - number) <= _FLOAT32_PRECISION * abs(number):
        far = "3.4e38, the largest" if abs(number) > 1 else "1.2e-38, the smallest"
        raise ValueError(f"{value!s:.40} is beyond {far} number of float32; choose another unit")
    return number


def read_space_group(value: object) -> int:
    """A space-group number; 0 where it is missing or none of 1 to 230."""
    try:
        number = read_number(value)
    except ValueError:
        return 0
    return int(number) if 1 <= number <= 230 and number == int(number) else 0
