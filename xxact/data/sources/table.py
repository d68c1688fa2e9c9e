"""Tables of text as spreadsheets, databases and instruments write them.

Fields stand between commas, semicolons, tabs or bars. Above the header, blank lines, lines that
start with `#` and Excel's `sep=;` are passed over.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import IO

from xxact.data.sources.source import READ_ERRORS, UnreadableInput
from xxact.data.sources.text import text_stream
from xxact.errors import UserError

_DELIMITERS = (",", ";", "\t", "|")
_LARGEST_FIELD = 1 << 30


class Table:
    """The rows of a text table below its header, as lists of fields.

    header: (n,) names as the file has them, without blanks around them.
    names: gives the columns names if the first line is a row already, and None if it is a header.
    decimal_comma: whether numbers may have a decimal comma, as where semicolons separate fields.
    Raises `UnreadableInput` where there is no text, or none but the header's.
    """

    def __init__(
        self,
        stream: IO[bytes],
        names: Callable[[Sequence[str]], tuple[str, ...] | None] = lambda first: None,
    ):
        csv.field_size_limit(_LARGEST_FIELD)
        raw, encoding = text_stream(stream)
        self._lines = io.TextIOWrapper(raw, encoding, newline="")
        self._passed = 0  # lines above the header
        with self._faults_named():
            first, delimiter = self._first_line()
        self.decimal_comma = delimiter == ";"
        self._reader = csv.reader(chain([first], self._lines), delimiter=delimiter, strict=True)
        with self._faults_named():
            row = next(self._reader)
        invented = names(row)
        self.header = invented or tuple(name.strip() for name in row)
        self._first_row = [row] if invented else []

    def __iter__(self) -> Iterator[list[str]]:
        """Rows with something in them."""
        with self._faults_named():
            for fields in chain(self._first_row, self._reader):
                if any(map(str.strip, fields)):
                    yield fields

    def _first_line(self) -> tuple[str, str]:
        """The header (or the first row) and what separates its fields."""
        said = ""
        for line in self._lines:
            text = line.strip()
            if text[:4].lower() == "sep=" and len(text) <= 5:
                said = line.lstrip()[4:5].strip("\r\n")
            elif text and not text.startswith("#"):
                return line, said or max(_DELIMITERS, key=lambda d: _count(line, d))
            self._passed += 1
        raise UnreadableInput("the file is empty")

    @contextmanager
    def _faults_named(self) -> Iterator[None]:
        """`UnreadableInput`, with the line of a misplaced quotation mark, for what goes wrong."""
        try:
            yield
        except csv.Error as error:
            line = self._passed + self._reader.line_num
            what = "a quotation mark is not closed" if "end of data" in str(error) else error
            raise UnreadableInput(f"line {line}: {what}") from error
        except READ_ERRORS as error:
            raise UnreadableInput(f"{type(error).__name__}: {error}") from error


def column_index(header: Sequence[str], name: str) -> int:
    """Where the column `name` stands, -1 if nowhere; capitals and blanks around it do not matter.

    A name that is spelt alike goes first; `UserError` where two columns are meant equally well.
    """
    for spelling in (str, str.strip, lambda text: text.strip().casefold()):
        found = [k for k, other in enumerate(header) if spelling(other) == spelling(name)]
        if len(found) > 1:
            names = ", ".join(f"'{header[k]}'" for k in found)
            raise UserError(f"the column '{name}' may be any of {names}: rename all but one")
        if found:
            return found[0]
    return -1


def _count(line: str, delimiter: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter)))
