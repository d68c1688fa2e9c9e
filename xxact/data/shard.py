"""A shard: the columns of a few hundred rows, computed in a worker and written in one piece."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xxact.data.elements import ATOMIC_NUMBERS
from xxact.data.source import RawRow, Row, RowError, Source
from xxact.data.subset import part_of
from xxact.xrd.crystal import Crystal, CrystalError
from xxact.xrd.reflections import reflections
from xxact.xrd.symmetry import space_group_number

#: Raw rows in a shard: the unit of work, of memory and of what an interruption may cost.
ROWS = 1000

WAVELENGTH = "CuKa"

#: Version of what is made of a row: raise it with every change after which the same source text
#: gives another composition, reflections beyond rounding, space group or value. It enters the
#: identity of the data, so that results of before and after are not taken for the same.
READER_VERSION = 1

#: Columns with one entry a sample, with one an element, with one a reflection.
SAMPLE_COLUMNS = {
    "part": "u1",
    "n_elements": "u1",
    "n_reflections": "i4",
    "n_sites": "i4",
    "space_group": "u1",
    "source_space_group": "u1",
    "id_hash": "u8",
}
ELEMENT_COLUMNS = {"element_z": "u1", "element_fraction": "f4"}
REFLECTION_COLUMNS = {"two_theta": "f4", "intensity": "f4"}

_FORMULA = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)")


@dataclass
class _Columns:
    """Lists that the columns of a shard grow in."""

    ids: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    values: list[tuple[float, ...]] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    crystals: list[Crystal] = field(default_factory=list)
    columns: dict[str, list] = field(
        default_factory=lambda: {
            n: [] for n in (*SAMPLE_COLUMNS, *ELEMENT_COLUMNS, *REFLECTION_COLUMNS)
        }
    )

    def append(self, **entries) -> None:
        for name, entry in entries.items():
            self.columns[name].append(entry)


def make_shard(path: Path, source: Source, symprec: float, rows: Sequence[RawRow]) -> dict:
    """Compute a shard, write it to `path`, and return its counts (`stored`, `failed`)."""
    shard = _Columns()
    for raw in rows:
        try:
            _add_raw(shard, source, raw)
        except RowError as error:
            shard.failures.append((error.identifier or raw.id, error.reason, str(error)))
    # All at once: alternating with the other steps costs a tenth of the time, in cache misses.
    shard.columns["space_group"] = [_space_group(crystal, symprec) for crystal in shard.crystals]
    _write(path, shard, len(source.targets))
    return {"stored": len(shard.ids), "failed": len(shard.failures)}


def _add_raw(shard: _Columns, source: Source, raw: RawRow) -> None:
    """Decode, compute and append one raw row; `RowError`, with its id, if it cannot be used."""
    if raw.reason:
        raise RowError(raw.reason, raw.message)
    with _failures_named(raw.id):
        row = source.decode(raw)
    with _failures_named(row.id):
        _add(shard, source, row)


@contextmanager
def _failures_named(identifier: str) -> Iterator[None]:
    """Turn whatever goes wrong with a row into a `RowError` with its id."""
    try:
        yield
    except (RowError, CrystalError) as error:
        known = getattr(error, "identifier", None)
        raise RowError(error.reason, str(error), known or identifier) from error
    except Exception as error:  # a row that breaks a library must not end the run
        raise RowError("error", f"{type(error).__name__}: {error}", identifier) from error


def _add(shard: _Columns, source: Source, row: Row) -> None:
    """Compute the columns of one row and append them."""
    if source.kind == "composition":
        numbers, amounts = parse_formula(source.formula(row))
        structural = {}
    else:
        crystal = source.crystal(row)
        numbers, amounts = crystal.atomic_numbers, crystal.occupancies
        structural = reflection_columns(crystal)
    z, fraction = composition_columns(numbers, amounts)
    identifier = row.id.replace("\0", "").encode(errors="replace")
    shard.ids.append(identifier)
    shard.digests.append(row_digest(identifier, row))
    shard.values.append(row.values)
    shard.append(
        part=part_of(identifier),
        id_hash=int.from_bytes(hashlib.sha1(identifier).digest()[:8], "little"),
        source_space_group=row.source_space_group,
        n_elements=len(z),
        element_z=z,
        element_fraction=fraction,
        **structural,
    )
    if structural:
        shard.crystals.append(crystal)


def row_digest(identifier: bytes, row: Row) -> bytes:
    """SHA-256 (32 bytes) of what the source says of a row: id, content, values, space group.

    Values are hashed as they are stored, in float32. Content that is no text, as the dictionary of
    a structure, is hashed as JSON with sorted keys.
    """
    content = row.content
    if not isinstance(content, str | bytes):
        content = json.dumps(content, sort_keys=True)
    values = [v if isinstance(v, str) else str(np.float32(v)) for v in row.values]
    digest = hashlib.sha256(json.dumps([values, row.source_space_group]).encode())
    for text in (identifier, content):
        raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        digest.update(b"%d:" % len(raw) + raw)  # with its length: where one ends is part of it
    return digest.digest()


def reflection_columns(crystal: Crystal) -> dict:
    """Reflections in [5, 90] degrees (the strongest is 1) and the number of sites."""
    pattern = reflections(crystal, WAVELENGTH)
    return {
        "n_reflections": len(pattern.two_theta),
        "two_theta": pattern.two_theta,
        "intensity": pattern.intensity / pattern.intensity.max(),
        "n_sites": int(crystal.site.max()) + 1,
    }


def _space_group(crystal: Crystal, symprec: float) -> int:
    """Space-group number, 0 if none is found: such a row lacks this target alone."""
    try:
        return space_group_number(crystal, symprec)
    except Exception:
        return 0


def composition_columns(numbers: np.ndarray, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers in ascending order and their atomic fractions, which sum to 1."""
    totals = np.bincount(numbers, weights=amounts)
    z = np.flatnonzero(totals > 0)
    if not len(z):
        raise RowError("no_sites", "the composition is empty")
    return z, totals[z] / totals[z].sum()


def parse_formula(formula: str) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and amounts of a formula; `RowError` if it cannot be read.

    pymatgen reads what has brackets; the grammar of a plain formula is read here.
    """
    if not formula:
        raise RowError("unreadable_formula", "the formula is empty")
    if re.fullmatch(rf"(?:{_FORMULA.pattern})+", formula):
        parts = _FORMULA.findall(formula)
    else:
        from pymatgen.core import Composition

        try:
            parts = [(str(e), a) for e, a in Composition(formula).get_el_amt_dict().items()]
        except (ValueError, KeyError) as error:
            raise RowError("unreadable_formula", f"'{formula:.80}': {error}") from error
    unknown = sorted({symbol for symbol, _ in parts if symbol not in ATOMIC_NUMBERS})
    if unknown:
        raise RowError("unknown_element", f"'{formula:.80}' has {', '.join(unknown)}")
    numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol, _ in parts])
    return numbers, np.array([float(a) if a != "" else 1.0 for _, a in parts])


def _write(path: Path, shard: _Columns, n_targets: int) -> None:
    arrays = {n: np.array(shard.columns[n], d) for n, d in SAMPLE_COLUMNS.items()}
    for name, dtype in (ELEMENT_COLUMNS | REFLECTION_COLUMNS).items():
        blocks = shard.columns[name]
        arrays[name] = np.concatenate(blocks).astype(dtype) if blocks else np.empty(0, dtype)
    arrays["ids"] = np.array(shard.ids, dtype="S") if shard.ids else np.empty(0, "S1")
    digests = np.frombuffer(b"".join(shard.digests), np.uint8)
    arrays["digests"] = digests.reshape(-1, hashlib.sha256().digest_size)
    arrays["values"] = np.array(shard.values, "f4").reshape(len(shard.ids), n_targets)
    clean = [text.replace("\0", "") for failure in shard.failures for text in failure]
    text = "\0".join(clean).encode(errors="replace")
    arrays["failures"] = np.frombuffer(text, np.uint8)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
    np.savez(partial, **arrays)
    os.replace(partial, path)


def read_failures(content: np.ndarray) -> list[tuple[str, str, str]]:
    """(id, reason, message) of each failure of a shard."""
    fields = content.tobytes().decode().split("\0") if len(content) else []
    return list(zip(fields[0::3], fields[1::3], fields[2::3], strict=True))
