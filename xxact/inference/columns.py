"""Patterns in columns of plain text, with whatever separators, headers and comments.

The general readers of such files take the first two columns and leave out lines they cannot read;
here a column of names decides, and a line that is no data is an error with its number.
"""

from __future__ import annotations

import re

import numpy as np

from xxact.errors import UserError

#: So many lines of numbers in a row, of one length, are data and no header.
_FEWEST = 5
_COMMENT = re.compile(r"\s*([#;!%*'\"/]|$)")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*[;\t ]")
_ANGLE = re.compile(r"2 ?-?_?(theta|th\b|θ)|two.?theta|angle|pos|tth", re.IGNORECASE)
_COUNTS = re.compile(r"int|count|cps|obs|signal|^[iy]$", re.IGNORECASE)


def read_columns(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Angles (n,) and counts (n,) in the order of the file. `UserError` if there are none."""
    lines = text.splitlines()
    has_decimal_commas = any(map(_DECIMAL_COMMA.match, lines))
    rows = [_numbers(line, has_decimal_commas) for line in lines]
    stepped = _stepped(rows)
    if stepped is not None:
        return stepped
    start = _start(rows)
    width = len(rows[start])
    stop = max(k for k, row in enumerate(rows) if row and len(row) == width) + 1
    for k in range(start, stop):
        is_data = bool(rows[k]) and len(rows[k]) == width
        if not (is_data or _COMMENT.match(lines[k])):
            shown = lines[k].strip()
            raise UserError(f"line {k + 1}, '{shown:.40}', is not {width} numbers as those before")
    table = np.array([row for row in rows[start:stop] if row and len(row) == width])
    angle, counts = _which(table, lines[start - 1] if start else "", has_decimal_commas)
    return table[:, angle], table[:, counts]


def _numbers(line: str, has_decimal_commas: bool) -> list[float] | None:
    """The numbers of a line that holds nothing else, an empty list for an empty line."""
    try:
        return [float(word) for word in _words(line, has_decimal_commas)]
    except ValueError:
        return None


def _words(line: str, has_decimal_commas: bool) -> list[str]:
    line = line.replace('"', "")
    if has_decimal_commas:
        line = line.replace(",", ".")
    return re.split(r"\s*[,;\t]\s*|\s+", line.strip(" \t,;\ufeff")) if line.strip() else []


def _start(rows: list[list[float] | None]) -> int:
    """The first line of the data: of several in a row with equally many numbers, at least two."""
    widths = [len(row) if row else 0 for row in rows]
    wide = [k for k, width in enumerate(widths) if width >= 2]
    if not wide:
        raise UserError("there are no two columns of numbers, 2-theta and counts, in it")
    return next((k for k in wide if widths[k : k + _FEWEST] == _FEWEST * [widths[k]]), wide[0])


def _stepped(rows: list[list[float] | None]) -> tuple[np.ndarray, np.ndarray] | None:
    """Of the form of FullProf and DBWS: a line of start, step and end, then counts alone."""
    first = next((k for k, row in enumerate(rows) if row), None)
    if first is None or len(rows[first]) < 3:
        return None
    start, step, end = rows[first][:3]
    if not 0 < step < end - start:
        return None
    counts = np.array([number for row in rows[first + 1 :] for number in row or ()])
    angles = start + step * np.arange(round((end - start) / step) + 1)
    return (angles, counts) if len(angles) == len(counts) else None


def _which(table: np.ndarray, heading: str, has_decimal_commas: bool) -> tuple[int, int]:
    """The columns of angles and of counts: by their names, else the first two that can be."""
    names = re.split(r"\s*[,;\t]\s*|\s{2,}", heading.strip().lstrip("#;!% "))
    if len(names) != table.shape[1]:
        names = _words(heading.lstrip("#;!% "), has_decimal_commas)
    if len(names) == table.shape[1]:
        angles = [k for k, name in enumerate(names) if _ANGLE.search(name)]
        counts = [k for k, name in enumerate(names) if _COUNTS.search(name) and k not in angles]
        if angles and counts:
            return angles[0], counts[0]
    is_numbered = table.shape[1] > 2 and bool(np.all(np.diff(table[:, 0]) == 1))
    return (1, 2) if is_numbered and np.all(np.diff(table[:, 1]) > 0) else (0, 1)
