"""Files of measured patterns: angles and counts by format, the rest from their headers."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import zlib
from pathlib import Path

import numpy as np

from xxact.errors import UserError
from xxact.inference.binaries import read_binary
from xxact.inference.columns import read_columns
from xxact.inference.headers import as_text, read_header, without_data
from xxact.inference.measured import Measured, measured_pattern
from xxact.inference.radiation import Radiation
from xxact.inference.texts import Scan, read_text

#: How files that are not plain columns begin, or what stands in them; `geddes` reads these.
_BYTES = (b"PK\x03\x04", b"RAW1.01", b"RAW4")
_TEXTS = re.compile(
    r"<xrdMeasurement|^\*RAS_|^_FILEVERSION|^_(?:2THETA)?(?:COUNTS|CPS)\b|^BANK +\d|^data_\S", re.M
)
#: How packed files begin, and what unpacks them; the suffixes that they add to another.
_PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
_PACKED_SUFFIX = re.compile(r"\.(?:gz|bz2)$")
#: Where a RAW1.01 has the code of its scan: that of a linear detector swept over 2-theta, to which
#: each point of the pattern is one of a coupled scan.
_RAW1_SCAN = slice(908, 912)
_SWEPT, _COUPLED = (code.to_bytes(4, "little") for code in (130, 0))
#: A file of more bytes is no powder pattern.
LARGEST_BYTES = 200_000_000
#: Suffixes of files that a folder is searched for.
SUFFIXES = frozenset(
    {"xy", "xye", "csv", "dat", "txt", "asc", "prn", "gsas", "gsa", "gda", "gss", "xra", "fxye"}
    | {"raw", "uxd", "brml", "ras", "rasx", "xrdml", "chi", "cif", "rd", "udf", "cpi", "mdi", "xdd"}
    | {"dbw", "rit"}
)
#: What to do with a file that cannot be read.
_EXPORT = "export it as two columns of text, 2-theta and counts"
#: Wavelengths of the user and of the file that differ by less, as a fraction, agree.
_AGREE = 2e-3


def read_pattern(path: Path | str, radiation: Radiation | None = None) -> Measured:
    """The pattern in a file: columns of text, GSAS, UXD, RAW and brml of Bruker and Siemens, ras,
    rasx and text of Rigaku, xrdml, RD and UDF of Philips, RAW of Stoe, chi of FIT2D, pdCIF, CPI,
    MDI, and texts of start, step and counts (FullProf, DBWS, XDD, MAUD); also packed by gzip
    or bzip2.

    `radiation` is the user's word, which counts more than the file's. Raises `UserError`, with
    the path, for a file that is not one scan of X-rays over 2-theta.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, and a file is expected")
    if (size := path.stat().st_size) > LARGEST_BYTES:
        raise UserError(f"{path} has {size / 1e6:.0f} MB: that is no powder pattern")
    remarks = []
    try:
        content = _content(path)
        scan = _laid_out(content)
        header = read_header(content, scan and scan.said)
        if header.complaint and radiation is None:
            raise UserError(f"{header.complaint}; another one can be given (--wavelength)")
        if header.n_scans > 1:
            raise UserError(
                f"it holds {header.n_scans} scans, and one is read: export each to a file alone"
            )
        angles, counts = (scan.angles, scan.counts) if scan else _points(content, path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if radiation and header.radiation and not _agree(radiation, header.radiation):
        remarks.append(f"the file says {header.radiation}, and {radiation} was asked for and taken")
    name = os.fsencode(path).decode(errors="replace")  # what can be printed of it
    found = measured_pattern(name, angles, counts, radiation or header.radiation)
    return Measured(
        found.name,
        found.two_theta_deg,
        found.counts,
        found.radiation,
        (*remarks, *found.remarks),
    )


def find_patterns(paths: list[Path]) -> list[Path]:
    """The files among `paths`, and those in folders among them that have a known suffix."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if _could_be_one(p)]
            if not inside:
                raise UserError(f"{path} holds no file that could be a pattern")
            found += inside
        else:
            found.append(path)
    return found


def _could_be_one(path: Path) -> bool:
    is_hidden = path.name.startswith(".")
    return _suffix(path) in SUFFIXES and not is_hidden and not path.is_dir()


def _suffix(path: Path) -> str:
    """What the name of a file ends with, but for what packing adds."""
    return Path(_PACKED_SUFFIX.sub("", path.name)).suffix[1:].lower()


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked where they are packed."""
    content = path.read_bytes()
    unpack = next(
        (opened for begins, opened in _PACKED.items() if content.startswith(begins)), None
    )
    if unpack is None:
        return content
    try:
        with unpack(path) as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"the archive is damaged: {error}") from None
    if len(content) > LARGEST_BYTES:
        raise UserError(f"unpacked it has more than {LARGEST_BYTES / 1e6:.0f} MB")
    return content


def _laid_out(content: bytes) -> Scan | None:
    """The scan of a file whose layout `geddes` does not know."""
    if content.startswith(_BYTES):
        return None
    return read_binary(content) or read_text(as_text(content))


def _points(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Angles and counts in the order of the file."""
    if not content.strip():
        raise UserError("the file is empty")
    is_text = not content.startswith(_BYTES)
    if is_text and b"\0" in content and content[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"this is no format of patterns that is known: unpack it, or {_EXPORT}")
    text = as_text(content) if is_text else ""
    is_fit2d = _suffix(path) == "chi" and not text.startswith("#")
    if is_text and not is_fit2d and not _TEXTS.search(without_data(text)):
        return read_columns(text)
    import geddes

    if content.startswith(b"RAW1.01") and content[_RAW1_SCAN] == _SWEPT:  # unknown to it
        content = content[: _RAW1_SCAN.start] + _COUPLED + content[_RAW1_SCAN.stop :]
    try:
        pattern = geddes.read_bytes(content, f"pattern.{_suffix(path)}")
    except (ValueError, OSError) as error:
        raise UserError(f"it cannot be read ({' '.join(str(error).split())}): {_EXPORT}") from None
    return np.asarray(pattern.x, dtype=np.float64), np.asarray(pattern.y, dtype=np.float64)


def _agree(one: Radiation, other: Radiation) -> bool:
    return abs(one.mean / other.mean - 1) < _AGREE
