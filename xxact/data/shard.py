"""A shard: the columns of a few hundred rows, computed in a worker and written in one piece."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xxact.data.formula import FormulaError, parse_formula
from xxact.data.keys import composition_words
from xxact.data.sources.source import RawRow, Row, RowError, Source, TargetColumn
from xxact.data.subset import split_of
from xxact.files import written_whole
from xxact.xrd.crystal import Crystal, CrystalError
from xxact.xrd.reflections import reflections
from xxact.xrd.symmetry import space_group_number

#: Raw rows in a shard: the unit of work, of memory and of what an interruption may cost.
ROWS = 1000

WAVELENGTH = "CuKa"

#: Atomic fractions below this would lose digits in float32.
_LEAST_FRACTION = 1e-37

#: Version of what is made of a row: raise it with every change after which the same source text
#: gives another composition, reflections beyond rounding, space group or value. It enters the
#: identity of the data, so that results of before and after are not taken for the same.
READER_VERSION = 2

#: Columns with one entry a sample, and those with one an element or a reflection of a sample,
#: of which it has `n_elements` or `n_reflections`.
SAMPLE_COLUMNS = {
    "split_by_id": "u1",
    "split_by_formula": "u1",
    "n_elements": "u1",
    "n_reflections": "i4",
    "n_sites": "i4",
    "space_group": "u1",
    "source_space_group": "u1",
    "id_hash": "u8",
}
RAGGED_COLUMNS = {
    "element": {"element_z": "u1", "element_fraction": "f4"},
    "reflection": {"two_theta": "f4", "intensity": "f4"},
}
_FLAT_COLUMNS = RAGGED_COLUMNS["element"] | RAGGED_COLUMNS["reflection"]


@dataclass
class _Columns:
    """Lists that the columns of a shard grow in."""

    ids: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    values: list[tuple[float | str, ...]] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    crystals: list[Crystal] = field(default_factory=list)
    columns: dict[str, list] = field(
        default_factory=lambda: {n: [] for n in (*SAMPLE_COLUMNS, *_FLAT_COLUMNS)}
    )


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
    _write(path, shard, source.targets)
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
    except (RowError, CrystalError, FormulaError) as error:
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
    identifier = _encoded_id(row.id)
    digest = row_digest(identifier, row)
    columns = structural | {
        "split_by_id": split_of(identifier),
        "split_by_formula": split_of(composition_words(z, fraction.astype("f4")).tobytes()),
        "id_hash": int.from_bytes(hashlib.sha1(identifier).digest()[:8], "little"),
        "source_space_group": row.source_space_group,
        "n_elements": len(z),
        "element_z": z,
        "element_fraction": fraction,
    }
    for name, entry in columns.items():  # from here on nothing can go wrong: all grow by one row
        shard.columns[name].append(entry)
    shard.ids.append(identifier)
    shard.digests.append(digest)
    shard.values.append(row.values)
    if structural:
        shard.crystals.append(crystal)


def _encoded_id(identifier: str) -> bytes:
    """An id as UTF-8, unaltered; `RowError` where that cannot be stored."""
    try:
        encoded = identifier.encode()
    except UnicodeEncodeError as error:  # half a character, which JSON can spell out
        raise RowError("invalid_id", f"the id {identifier!a:.60} is no text ({error})") from error
    if b"\0" in encoded:
        raise RowError("invalid_id", f"the id {identifier!a:.60} holds a NUL character")
    return encoded


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
    """Atomic numbers in ascending order and their atomic fractions, which sum to 1.

    `RowError` where float32 cannot hold a fraction.
    """
    totals = np.bincount(numbers, weights=amounts)
    z = np.flatnonzero(totals > 0)
    if not len(z):
        raise RowError("no_sites", "the composition is empty")
    fraction = totals[z] / totals[z].sum()
    if not (fraction > _LEAST_FRACTION).all():
        raise RowError("invalid_composition", "an element's share is too small to be stored")
    return z, fraction


def _write(path: Path, shard: _Columns, targets: Sequence[TargetColumn]) -> None:
    arrays = {n: np.array(shard.columns[n], d) for n, d in SAMPLE_COLUMNS.items()}
    for name, dtype in _FLAT_COLUMNS.items():
        blocks = shard.columns[name]
        arrays[name] = np.concatenate(blocks).astype(dtype) if blocks else np.empty(0, dtype)
    arrays["ids"] = np.array(shard.ids, dtype="S") if shard.ids else np.empty(0, "S1")
    digests = np.frombuffer(b"".join(shard.digests), np.uint8)
    arrays["digests"] = digests.reshape(-1, hashlib.sha256().digest_size)
    for k, target in enumerate(targets):
        values = [row[k] for row in shard.values]
        if target.is_class:  # which index each label has is known when all shards are
            arrays[f"target_{target.name}"] = np.array([v.encode() for v in values], "S")
        else:
            arrays[f"target_{target.name}"] = np.array(values, "f4")
    clean = [text.replace("\0", "") for failure in shard.failures for text in failure]
    text = "\0".join(clean).encode(errors="backslashreplace")
    arrays["failures"] = np.frombuffer(text, np.uint8)
    with written_whole(path) as file:
        np.savez(file, **arrays)


def read_failures(content: np.ndarray) -> list[tuple[str, str, str]]:
    """(id, reason, message) of each failure of a shard."""
    fields = content.tobytes().decode().split("\0") if len(content) else []
    return list(zip(fields[0::3], fields[1::3], fields[2::3], strict=True))
