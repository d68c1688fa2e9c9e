"""Patterns as bytes that `geddes` does not read: fields at fixed places, then the counts.

Read are Siemens RAW of versions 1 ("RAW ") and 2 ("RAW2"), RAW of Stoe WinXPOW and RD of Philips.
Places of the fields: xylib (bruker_raw.cpp, philips_raw.cpp), DASH (LoadRAWFiles.f90,
PolyLoadFiles.f90) and PyXRD (rd_parser.py); of DASH alone is that the counts of a continuous RD are
of the middles of its steps. Real files of all but version 5 of RD and the short counts of Stoe
confirm them: by their lengths, by the lowest and highest count that their headers say, by the lines
of zincite. All numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xxact.errors import UserError
from xxact.inference.texts import Scan, stepped


def _layout(**fields: tuple[str, int]) -> np.dtype:
    """A header's fields: the type of each, as of numpy, and its place in bytes."""
    formats, offsets = zip(*fields.values(), strict=True)
    return np.dtype({"names": list(fields), "formats": formats, "offsets": offsets})


_SIEMENS1 = _layout(
    n_points=("<u4", 4),
    step=("<f4", 12),
    start=("<f4", 24),
    alpha1=("<f4", 72),
    alpha2=("<f4", 76),
    n_following=("<u4", 152),
)
_SIEMENS1_DATA = 156
_SIEMENS2 = _layout(
    n_ranges=("<u2", 4), alpha1=("<f4", 190), alpha2=("<f4", 194), ratio=("<f4", 198)
)
_SIEMENS2_RANGES = 256
_SIEMENS2_RANGE = _layout(
    n_bytes=("<u2", 0), n_points=("<u2", 2), step=("<f4", 12), start=("<f4", 16)
)
#: In records of so many bytes: the one of a range's header, counted from 1, is before its counts.
_STOE = _layout(
    alpha1=("<f4", 322), alpha2=("<f4", 326), n_ranges=("<u2", 378), record=("<u2", 480)
)
_STOE_RECORD = 512
_STOE_RANGE = _layout(
    n_points=("<u2", 34),
    is_short=("<u2", 38),
    divisor=("<f4", 40),
    start=("<f4", 44),
    step=("<f4", 60),
    least=("<i4", 120),
    most=("<i4", 124),
)
_PHILIPS = _layout(
    alpha1=("<f8", 94),
    alpha2=("<f8", 102),
    ratio=("<f8", 110),
    is_continuous=("u1", 126),
    step=("<f8", 214),
    start=("<f8", 222),
    end=("<f8", 230),
)
_PHILIPS_DATA = {b"V3": 250, b"V5": 810}


def read_binary(content: bytes) -> Scan | None:
    """The one scan of a file of these formats, None of others.

    `UserError` for one that is cut short, or holds several scans or one that is none of 2-theta.
    """
    for begins, read in _FORMATS.items():
        if content.startswith(begins):
            return read(content)
    return None


def _siemens1(content: bytes) -> Scan:
    header = _fields(content, _SIEMENS1)
    _check_alone(1 + header["n_following"])
    counts = _counts(content, _SIEMENS1_DATA, "<f4", header["n_points"])
    return stepped(header["start"], header["step"], counts, _said(header))


def _siemens2(content: bytes) -> Scan:
    header = _fields(content, _SIEMENS2)
    _check_alone(header["n_ranges"])
    scan = _fields(content, _SIEMENS2_RANGE, _SIEMENS2_RANGES)
    counts = _counts(content, _SIEMENS2_RANGES + scan["n_bytes"], "<f4", scan["n_points"])
    return stepped(scan["start"], scan["step"], counts, _said(header))


def _stoe(content: bytes) -> Scan:
    header = _fields(content, _STOE)
    _check_alone(header["n_ranges"])
    place = _STOE_RECORD * header["record"]
    scan = _fields(content, _STOE_RANGE, place - _STOE_RECORD)
    counts = _counts(content, place, "<i2" if scan["is_short"] else "<i4", scan["n_points"])
    if scan["most"] and (counts.min(), counts.max()) != (scan["least"], scan["most"]):
        raise UserError(
            f"the counts are from {counts.min()} to {counts.max()}, and the header says from"
            f" {scan['least']} to {scan['most']}: the file is damaged"
        )
    return stepped(scan["start"], scan["step"], counts / max(scan["divisor"], 1), _said(header))


def _philips(content: bytes) -> Scan:
    """Counts are kept as their roots; those of a continuous scan are of the middles of steps."""
    header = _fields(content, _PHILIPS)
    start, step = header["start"], header["step"]
    n_steps = round(min((header["end"] - start) / step, len(content))) if step > 0 else 0
    n_points = n_steps + (not header["is_continuous"])
    roots = _counts(content, _PHILIPS_DATA[content[:2]], "<u2", n_points)
    start += step / 2 if header["is_continuous"] else 0
    return stepped(start, step, (roots / 10) ** 2, _said(header))


_FORMATS: dict[bytes, Callable[[bytes], Scan]] = {
    b"RAW ": _siemens1,
    b"RAW2": _siemens2,
    b"RAW_1.0": _stoe,
    b"V3RD": _philips,
    b"V5RD": _philips,
}
#: How files of these formats begin.
BEGINNINGS = tuple(_FORMATS)


def _fields(content: bytes, layout: np.dtype, place: int = 0) -> dict[str, int | float]:
    """The fields of a header at a place, floats as they are written in decimals."""
    try:
        (record,) = np.frombuffer(content, layout, 1, place)
    except ValueError:
        raise UserError("the file ends within its header: it is cut short") from None
    values = {name: record[name] for name in layout.names}
    if not np.all(np.isfinite(list(values.values()))):
        raise UserError("its header holds what is no number: it is damaged")
    return {
        name: float(str(value)) if value.dtype.kind == "f" else int(value)
        for name, value in values.items()
    }


def _counts(content: bytes, place: int, kind: str, n_points: int) -> np.ndarray:
    n_there = max(0, len(content) - place) // np.dtype(kind).itemsize
    if not 0 < n_points <= n_there:
        raise UserError(
            f"its header says {n_points} points, and {n_there} are there: it is cut short"
        )
    return np.frombuffer(content, kind, n_points, place)


def _check_alone(n_scans: int) -> None:
    if n_scans > 1:
        raise UserError("it holds several scans, and one is read: export each to a file alone")


def _said(header: dict[str, int | float]) -> dict[str, str]:
    """What of a header is radiation; a wavelength of zero says nothing."""
    names = [name for name in ("alpha1", "alpha2", "ratio") if header.get(name)]
    return {name: f"{header[name]:.7f}" for name in names}
