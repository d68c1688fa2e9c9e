"""Tables of text as spreadsheets, databases and instruments write them.

Read are UTF-8 and UTF-16 (with or without a byte order mark), and fields between commas,
semicolons, tabs or bars. Eight-bit encodings look all alike, so that reading one as another changes
what the file says without an error: such a file is refused with the line where it stops being
UTF-8. Above the header, blank lines, lines that start with `#` and Excel's `sep=;` are passed over.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from xxact.data.source import READ_ERRORS, UnreadableInput, decompressed
from xxact.errors import UserError

_DELIMITERS = (",", ";", "\t", "|")
#: Byte order marks; the longer ones first, since UTF-32's begins like UTF-16's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_BLOCK = 1 << 20
_LARGEST_FIELD = 1 << 30


class Table:
    """The rows of a text table below its header, as lists of fields.

    header: (n,) names as the file has them, without blanks around them; with `named=False` the
    first line that is not passed over is a row, and `header` is empty.
    decimal_comma: whether numbers may have a decimal comma, as where semicolons separate fields.
    Raises `UnreadableInput` where there is no text, or none but the header's.
    """

    def __init__(self, stream: IO[bytes], named: bool = True):
        csv.field_size_limit(_LARGEST_FIELD)
        raw, encoding = text_stream(stream)
        self._lines = io.TextIOWrapper(raw, encoding, newline="")
        first, delimiter = self._first_line()
        self.decimal_comma = delimiter == ";"
        self._rows = csv.reader(_chained(first, self._lines), delimiter=delimiter)
        self.header = tuple(name.strip() for name in next(self._rows)) if named else ()

    def __iter__(self) -> Iterator[list[str]]:
        """Rows with something in them."""
        try:
            yield from (fields for fields in self._rows if any(map(str.strip, fields)))
        except (*READ_ERRORS, csv.Error) as error:
            raise UnreadableInput(f"{type(error).__name__}: {error}") from error

    def _first_line(self) -> tuple[str, str]:
        """The header (or the first row) and what separates its fields."""
        said = ""
        try:
            for line in self._lines:
                text = line.strip()
                if text[:4].lower() == "sep=" and len(text) == 5:
                    said = text[4]
                elif text[:4].lower() == "sep=" and line[4:5] == "\t":
                    said = "\t"
                elif text and not text.startswith("#"):
                    return line, said or max(_DELIMITERS, key=lambda d: _count(line, d))
        except READ_ERRORS as error:
            raise UnreadableInput(f"{type(error).__name__}: {error}") from error
        raise UnreadableInput("the file is empty")


def text_stream(stream: IO[bytes]) -> tuple[IO[bytes], str]:
    """The unpacked bytes of a text file behind its byte order mark, and their encoding.

    Raises `UnreadableInput` for what is no text.
    """
    raw = io.BufferedReader(decompressed(stream))
    try:
        head = raw.peek(_BLOCK)
    except READ_ERRORS as error:
        raise UnreadableInput(f"{type(error).__name__}: {error}") from error
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            raw.read(len(mark))
            return raw, encoding
    # Without a mark, UTF-16 shows by the zeros of its ASCII characters: names, digits, commas.
    zeros = [head[k::2].count(0) / max(1, len(head[k::2])) for k in (0, 1)]
    if max(zeros) > 0.3:
        return raw, "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    if any(zeros):
        raise UnreadableInput("it is no text: it holds NUL bytes")
    return raw, "utf-8"


def check_encoding(path: Path) -> None:
    """Read a text file through; `UserError`, with the line, where its bytes are no characters.

    Damage of other kinds is left to those who read the rows.
    """
    line = 1
    try:
        with open(path, "rb") as stream:
            raw, encoding = text_stream(stream)
            decoder = codecs.getincrementaldecoder(encoding)()
            while block := raw.read(_BLOCK):
                line += decoder.decode(block).count("\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, {_where(error, line)}") from error
    except (UnreadableInput, *READ_ERRORS):
        return


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


def _where(error: UnicodeDecodeError, line: int) -> str:
    """Line and bytes that cannot be decoded, and what they probably are."""
    before = error.object[: error.start].decode(error.encoding)
    line += before.count("\n")
    wrong = error.object[error.start : error.end].hex(" ")
    if error.encoding != "utf-8":
        return f"line {line}: the bytes {wrong} are not {error.encoding.upper()}; save it as UTF-8"
    start = error.object.rfind(b"\n", 0, error.start) + 1
    end = error.object.find(b"\n", error.start)
    shown = error.object[start : end if end >= 0 else None].strip().decode("cp1252", "replace")
    return (
        f"line {line}: the byte {wrong} is not UTF-8. In Windows-1252 the line reads "
        f"'{shown:.60}': if that is right, convert the file, e.g. with "
        "`iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`, or save it as 'CSV UTF-8'"
    )


def _count(line: str, delimiter: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter)))


def _chained(first: str, lines: IO[str]) -> Iterator[str]:
    yield first
    yield from lines
