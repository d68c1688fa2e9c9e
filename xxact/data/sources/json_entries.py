"""Cutting files of JSON into the texts of their entries, streamed and with flat memory.

A file may hold a list, an object with a list `entries`, an object with an entry under each id, or
one object after another (JSON lines, or a single one). The entries are cut out by counting brackets
and are parsed by others: an entry of broken JSON costs itself alone, since the cutter goes on where
it finds the next place at which a sound entry starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import orjson

from xxact.compiled import compiled
from xxact.data.sources.source import READ_ERRORS, RowError, UnreadableInput
from xxact.data.sources.text import Utf8Stream

_CHUNK = 1 << 20
_LONGEST_ENTRY = 1 << 23
_INCOMPLETE = -1

_LIST = re.compile(rb'\s*(?:\[|\{(?:[^\[]*?,)?\s*"entries"\s*:\s*\[)')
_OBJECT = re.compile(rb"\s*(?=\{)")
_NAMED = rb'"(?P<name>(?!(?:structure|atoms|data|lattice)")(?:[^"\\]|\\.)*)"\s*:\s*(?=\{)'
_BY_ID = re.compile(rb"\s*\{(?=\s*" + _NAMED + rb")")


@dataclass(frozen=True)
class Entry:
    """The text of an entry, the name it stands under (or ""), and what is wrong with the text."""

    text: bytes
    name: str = ""
    fault: str = ""


@dataclass(frozen=True)
class _Shape:
    """How entries follow each other: patterns of what stands before, after and between them.

    opening: what comes before an entry (group `name`: its name), or the end (group `end`).
    candidate: where an entry may start, to find the next sound one behind a broken one.
    """

    opening: re.Pattern[bytes]
    following: re.Pattern[bytes]
    candidate: re.Pattern[bytes]


_IN_LIST = _Shape(
    re.compile(rb"\s*(?:(?=\{)|(?P<end>\]))"),
    re.compile(rb"\s*(?:,|(?=\]))"),
    re.compile(rb",\s*(?=\{)"),
)
_UNDER_IDS = _Shape(
    re.compile(rb"\s*(?:" + _NAMED + rb"|(?P<end>\}))"),
    re.compile(rb"\s*(?:,|(?=\}))"),
    re.compile(rb",\s*" + _NAMED),
)
_IN_LINES = _Shape(
    re.compile(rb"\s*(?=\{)"),
    re.compile(rb"\s*(?=\{)"),
    re.compile(rb"\n(?=\{)"),
)


def parse_json(text: bytes) -> object:
    """The value of a JSON text; bare NaN, which orjson refuses, is left to the standard library."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RowError("invalid_json", str(error)) from error


def is_entry(value: object) -> bool:
    """Whether a JSON value looks like a material: it has a structure, or data of a calculation."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("data"), dict) or not value.keys().isdisjoint(
        ("structure", "atoms", "lattice")
    )


class Entries:
    """Iterates over the entries of a stream; `UnreadableInput` where it breaks off."""

    def __init__(self, stream: IO[bytes]):
        self._stream = Utf8Stream(stream)
        self._buffer = b""
        self._place = 0
        self._fault = ""

    def __iter__(self) -> Iterator[Entry]:
        shape = self._shape()
        while True:
            self._drop_passed()
            opening = self._match(shape.opening, self._place)
            if opening is None and not self._buffer[self._place :].strip():
                if shape is _IN_LINES and not self._fault:
                    return
                raise UnreadableInput(self._fault or "it ends before its list of entries does")
            if opening is not None and opening.groupdict().get("end"):
                return
            end, odd = (-1, False) if opening is None else self._end_of_entry(opening.end())
            following = None if end < 0 else self._match(shape.following, end)
            last = end > 0 and not self._buffer[end:].strip()
            text = self._buffer[opening.end() : end] if following or last else b""
            if text and not (odd and _value(text) is None):
                yield Entry(text, _name(opening))
                self._place = end if following is None else following.end()
            else:
                place = self._next_sound_entry(shape)
                text = self._buffer[self._place : place]
                yield Entry(text, _name(opening), "the JSON of the entry is broken")
                if place is None:
                    raise UnreadableInput(self._fault or "it ends inside an entry")
                self._place = place

    def _shape(self) -> _Shape:
        """Go to the first entry and tell how the others follow; `UnreadableInput` without any."""
        while not _LIST.match(self._buffer) and len(self._buffer) < _CHUNK and self._more():
            pass
        if not self._buffer.strip():
            raise UnreadableInput(self._fault or "the file is empty")
        if start := _LIST.match(self._buffer):
            self._place = start.end()
            first = self._match(_IN_LIST.opening, self._place)
            if first is not None and first["end"]:
                raise UnreadableInput("its list holds no entries")
            return _IN_LIST
        start = _OBJECT.match(self._buffer)
        end, _ = (-2, False) if start is None else self._end_of_entry(start.end())
        value = _value(self._buffer[start.end() : end]) if end > 0 else None
        if is_entry(value) or (value is None and _IN_LINES.candidate.search(self._buffer)):
            return _IN_LINES
        if start := _BY_ID.match(self._buffer):
            self._place = start.end()
            return _UNDER_IDS
        raise UnreadableInput(
            self._fault
            or "it holds neither a list nor an object with a list 'entries', nor an entry under "
            "each id, nor one entry (with a 'structure' or 'atoms') after another"
        )

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

    def _next_sound_entry(self, shape: _Shape) -> int | None:
        """Where what stands before the next entry that can be parsed starts, in memory."""
        bytes_ = np.frombuffer(self._buffer, np.uint8)
        for match in shape.candidate.finditer(self._buffer, self._place + 1):
            end, _ = object_end(bytes_, match.end())
            if end > 0 and is_entry(_value(self._buffer[match.end() : end])):
                return match.start() + 1  # behind the comma or the line's end
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


def _name(opening: re.Match[bytes] | None) -> str:
    """The name that an entry stands under, if it has one."""
    name = None if opening is None else opening.groupdict().get("name")
    try:
        return "" if name is None else json.loads(b'"' + name + b'"')
    except ValueError:
        return ""


def _value(text: bytes) -> object:
    """The value of a JSON text; None where it is broken."""
    try:
        return parse_json(text)
    except RowError:
        return None


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
