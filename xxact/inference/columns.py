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
_DECIMAL_COMMA = re.compile(r"^[ \t\"]*[+-]?\d+,\d+[ \t\"]*[;\t ]", re.MULTILINE)
#: A number with marks between thousands, by whether commas are decimal: what stands before it tells
#: it from two numbers.
_MARKS = {False: ",'\u00a0\u202f", True: ".'\u00a0\u202f"}
_THOUSANDS = {
    commas: re.compile(
        rf"(?:(?<=[\t;\"])|(?<=\d ))[1-9]\d{{0,2}}(?:[{marks}]\d{{3}})+(?![\d{marks}])"
    )
    for commas, marks in _MARKS.items()
}
#: Between words; of two marks in a row something is missing, except at the ends of a line.
_SEPARATORS = str.maketrans(",;\t", "   ")
_MISSING = re.compile(r"[,;][ \t]*(?=[,;])")
_ENDS = re.compile(r"^[ \t,;]+|[ \t,;]+$", re.MULTILINE)
_ANGLE = re.compile(r"2 ?-?_?(theta|th\b|θ)|two.?theta|angle|pos|tth", re.IGNORECASE)
_COUNTS = re.compile(r"int|count|cps|obs|signal|^[iy]$", re.IGNORECASE)
#: What a first column is that is no angle.
_OTHER = re.compile(r"(?:q|d|s|e|k|tof|time|energy|channel|2\*?pi/d)\b(?!.*theta)", re.IGNORECASE)
#: So many lines above the data may hold the names of the columns: units follow them.
_NAMES_WITHIN = 3


def read_columns(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Angles (n,) and counts (n,) in the order of the file. `UserError` if there are none."""
    text = text.lstrip("\ufeff").replace('",', '";').replace(',"', ';"')
    has_decimal_commas, rows = False, _rows(text, False)
    if "," in text and _DECIMAL_COMMA.search(text):
        others = _rows(text, True)
        if _n_wide(others) >= _n_wide(rows):
            has_decimal_commas, rows = True, others
    lines = text.splitlines()
    start = _start(rows)
    width = len(rows[start])
    data = [k for k in range(start, len(rows)) if rows[k] and len(rows[k]) == width]
    last = next(k for k in reversed(range(len(rows))) if rows[k])
    for k in sorted(set(range(start, last + 1)).difference(data)):
        if not _COMMENT.match(lines[k]):
            shown = lines[k].strip()
            raise UserError(f"line {k + 1}, '{shown:.40}', is not {width} numbers as those before")
    table = np.array([rows[k] for k in data])
    headings = lines[max(0, start - _NAMES_WITHIN) : start][::-1]
    angle, counts = _which(table, headings, has_decimal_commas)
    return table[:, angle], table[:, counts]


def _rows(text: str, has_decimal_commas: bool) -> list[list[float] | None]:
    """The numbers of each line, an empty list for an empty one, None where anything else is."""
    return [_numbers(line) for line in _separated(text, has_decimal_commas).splitlines()]


def _numbers(line: str) -> list[float] | None:
    try:
        return list(map(float, line.split()))
    except ValueError:
        return None


def _separated(text: str, has_decimal_commas: bool) -> str:
    """The text with blanks alone between words; of a whole file at once, which is fast."""
    if re.search(rf"[{_MARKS[has_decimal_commas]}]\d{{3}}", text):  # several times as fast
        text = _THOUSANDS[has_decimal_commas].sub(lambda found: re.sub(r"\D", "", found[0]), text)
    if has_decimal_commas:
        text = text.replace(",", ".")
    text = text.replace('"', "")
    if _MISSING.search(text):
        text = _MISSING.sub(" - ", _ENDS.sub("", text))
    return text.translate(_SEPARATORS)


def _start(rows: list[list[float] | None]) -> int:
    """The first line of the data: of several in a row with equally many numbers, at least two."""
    widths = [len(row) if row else 0 for row in rows]
    wide = [k for k, width in enumerate(widths) if width >= 2]
    if not wide:
        raise UserError("there are no two columns of numbers, 2-theta and counts, in it")
    return next((k for k in wide if widths[k : k + _FEWEST] == _FEWEST * [widths[k]]), wide[0])


def _n_wide(rows: list[list[float] | None]) -> int:
    """How many lines hold two numbers or more."""
    return sum(row is not None and len(row) >= 2 for row in rows)


def _which(table: np.ndarray, headings: list[str], has_decimal_commas: bool) -> tuple[int, int]:
    """The columns of angles and of counts: by their names, else the first two that can be.

    Counts go up and down: a column that only rises or falls, as d does, is passed over for another.

    headings: the lines above the data, the nearest first. `UserError` if a name says that the
    first column is no angle.
    """
    for heading in headings:
        names = re.split(r"\s*[,;\t]\s*|\s{2,}", heading.replace('"', "").strip("#;!% \t"))
        if len(names) != table.shape[1]:
            names = _separated(heading.strip("#;!% "), has_decimal_commas).split()
        if len(names) == table.shape[1]:
            angles = [k for k, name in enumerate(names) if _ANGLE.search(name)]
            counts = [k for k, name in enumerate(names) if _COUNTS.search(name) and k not in angles]
            if angles and counts:
                return angles[0], counts[0]
            if counts and _OTHER.match(names[0]):
                raise UserError(f"the first column is '{names[0]:.40}', and 2-theta is expected")
    width, steps = table.shape[1], np.diff(table, axis=0)
    is_numbered = width > 2 and np.all(steps[:, 0] == 1) and np.all(steps[:, 1] > 0)
    angle = 1 if is_numbered else 0
    later = range(angle + 1, width)
    one_way = [np.all(steps[:, k] >= 0) != np.all(steps[:, k] <= 0) for k in later]
    return angle, next((k for k, is_so in zip(later, one_way, strict=True) if not is_so), angle + 1)
