"""What a source of crystals has to offer, and what sources have in common.

A source splits a file into raw rows (in the parent process, so it must be quick) and turns a raw
row into a `Row` and its crystal (in a worker). A new source is one class with these methods.
"""

from __future__ import annotations

import lzma
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, TypeVar

import numpy as np

from xxact.data.labels import read_label
from xxact.data.targets import UNITS
from xxact.errors import UserError
from xxact.xrd.crystal import Crystal

T = TypeVar("T")

#: The unit, as typed, of a target that is a class.
CLASS = "class"

#: What opening or reading a damaged or foreign file raises.
READ_ERRORS = (OSError, EOFError, lzma.LZMAError, UnicodeError)

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


def read_each(inputs: Sequence[Input], read: Callable[[Path], T]) -> dict[Path, T]:
    """What `read` makes of each input that can be read; `UserError`, with reasons, if none can.

    A file that cannot be read is passed over, if there are others: reading it later records why.
    """
    found, reasons = {}, []
    for entry in inputs:
        try:
            found[entry.path] = read(entry.path)
        except (UnreadableInput, *READ_ERRORS) as error:
            reasons.append(f"{entry.path}: {error}")
    if not found:
        raise UserError(f"no input can be read: {'; '.join(reasons)}")
    return found


def wanted_targets(
    columns: Columns, known: Mapping[str, str], is_there: Callable[[str], bool]
) -> tuple[TargetColumn, ...]:
    """The targets of `UNITS` whose column is there, and the user's own.

    known: the column of each target that the source may have.
    """
    names = {**known, **columns.names}
    own = {t.name for t in columns.targets}
    found = (TargetColumn(n, UNITS[n], names[n]) for n in UNITS if n in names and n not in own)
    return (*(t for t in found if is_there(t.column)), *columns.targets)


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
