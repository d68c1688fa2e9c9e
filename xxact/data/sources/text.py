"""Bytes to characters: the encodings that can be told, and where a file is not in one of them.

UTF-8 and UTF-16 are read, with or without a byte order mark. Eight-bit encodings look all alike, so
that reading one as another changes what the file says without an error: such a file is refused with
the line where it stops being UTF-8.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
from pathlib import Path
from typing import IO

from xxact.data.sources.source import READ_ERRORS, UnreadableInput
from xxact.errors import UserError

_MAGIC = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"7z\xbc\xaf": "a 7z archive",
}
#: Byte order marks; the longer ones first, since UTF-32's begins like UTF-16's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_BLOCK = 1 << 20


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


def read_text(path: Path) -> str:
    """The text of a small file whose content is ASCII, as that of a CIF is.

    Letters of other alphabets stand in names of authors and comments only, so that bytes that are
    not UTF-8 are read as Latin-1. Raises `UnreadableInput` for what is no text.
    """
    with open(path, "rb") as stream:
        raw, encoding = text_stream(stream)
        content = raw.read()
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("latin-1")


class Utf8Stream:
    """The text of a file as UTF-8, whatever it is encoded in; `read` like that of a file."""

    def __init__(self, stream: IO[bytes]):
        self._raw, encoding = text_stream(stream)
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()

    def read(self, size: int) -> bytes:
        """The next bytes, about `size`; none at the end."""
        block = self._raw.read(size)
        if self._decoder is None:
            return block
        return self._decoder.decode(block, final=len(block) < size).encode()


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
