"""The store: a directory of `.npy` columns with a `manifest.json`, read through memory maps.

Layout (N samples; CSR offsets have N + 1 entries):

    ids.npy                S     (N,)    identifiers, UTF-8
    part.npy               u1    (N,)    0 audit, 1 test, 2 validation, 3 train
    element_offsets.npy    i8    (N+1,)  the elements of sample i are rows offsets[i]:offsets[i+1]
    element_z.npy          u1            atomic numbers, ascending within a sample
    element_fraction.npy   f4            atomic fractions, sum 1 within a sample
    target_<name>.npy      f4    (N,)    a regression target, NaN where missing
    space_group.npy        u1    (N,)    1 to 230, 0 where missing      (composition+xrd only)
    reflection_offsets.npy i8    (N+1,)                                 (composition+xrd only)
    two_theta.npy          f4            degrees, ascending in a sample (composition+xrd only)
    intensity.npy          f4            the strongest of a sample is 1 (composition+xrd only)
    n_sites.npy            i4    (N,)    sites of the cell              (composition+xrd only)
    source_space_group.npy u1    (N,)    the source's own number, 0 where missing (if it has one)
    failures.csv           id, reason and message of every row that could not be used
    manifest.json          written last: a directory without it is no store

The manifest holds hashes, counts, sources and versions, and neither times nor worker counts, so
that the same inputs and settings give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path

import numpy as np

from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP, Target, crystal_system_index
from xxact.errors import UserError
from xxact.files import sha256_of

FORMAT = 2
MANIFEST = "manifest.json"
FAILURES = "failures.csv"

#: Code of each part in `part.npy`.
PARTS = {"audit": 0, "test": 1, "validation": 2, "train": 3}


class Store:
    """A prepared data set. Columns are memory-mapped: opening one reads the manifest only."""

    def __init__(self, path: Path, manifest: dict, sha256: str):
        self.path = path
        self.manifest = manifest
        #: SHA-256 of `manifest.json`: it covers every column through its hash.
        self.sha256 = sha256
        #: The identity of the data: SHA-256 of what the source says of each row in the order of
        #: the store (id, split, text of the crystal or formula, values, space group), of the
        #: targets with their units, and of the settings that columns depend on. Names of folders
        #: and files, compression and the last bits of computed columns, which differ between
        #: processors and versions, do not enter: the same data prepared elsewhere have the same.
        self.content_sha256: str = manifest["content_sha256"]
        self.name: str = manifest["name"]
        self.n: int = manifest["n"]
        self.has_xrd: bool = manifest["kind"] == "composition+xrd"

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, n={self.n})"

    def column(self, name: str) -> np.ndarray:
        """The column in `<name>.npy` as a memory map; `UserError` if the store has none."""
        file = f"{name}.npy"
        if file not in self.manifest["columns"]:
            have = ", ".join(sorted(self.manifest["columns"]))
            raise UserError(f"{self.path} has no column '{file}'; it has: {have}")
        expected = self.manifest["columns"][file]
        try:
            array = np.load(self.path / file, mmap_mode="r" if np.prod(expected["shape"]) else None)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path / file} cannot be read ({error}); "
                f"see `xxact data verify {self.path}`, then prepare the store again"
            ) from error
        if list(array.shape) != expected["shape"] or array.dtype.str != expected["dtype"]:
            raise UserError(
                f"{self.path / file} holds {array.dtype.str}{list(array.shape)}, the manifest says "
                f"{expected['dtype']}{expected['shape']}: prepare the store again"
            )
        return array

    @cached_property
    def ids(self) -> np.ndarray:
        """(N,) identifiers as bytes."""
        return self.column("ids")

    @cached_property
    def part(self) -> np.ndarray:
        """(N,) uint8 codes of `PARTS`."""
        return self.column("part")

    def indices(self, part: str) -> np.ndarray:
        """Ascending int64 indices of the samples of `part` ("train", "validation", "test")."""
        if part not in PARTS:
            raise UserError(f"there is no part '{part}'; the parts are: {', '.join(PARTS)}")
        return np.flatnonzero(self.part == PARTS[part])

    @cached_property
    def targets(self) -> dict[str, Target]:
        """What the store can be used to train, by name."""
        targets = {n: Target(n, unit) for n, unit in self.manifest["targets"].items()}
        if "space_group.npy" in self.manifest["columns"]:
            targets |= {t.name: t for t in (CRYSTAL_SYSTEM, SPACE_GROUP)}
        return targets

    def values(self, target: str) -> np.ndarray:
        """(N,) values of a target: float32 with NaN, or int64 class indices with -1, if missing."""
        if target not in self.targets:
            have = ", ".join(sorted(self.targets))
            raise UserError(f"{self.path} has no target '{target}'; it has: {have}")
        if target == CRYSTAL_SYSTEM.name:
            return crystal_system_index(self.column("space_group"))
        if target == SPACE_GROUP.name:
            return self.column("space_group").astype(np.int64) - 1
        return np.array(self.column(f"target_{target}"))

    element_offsets = cached_property(lambda self: self.column("element_offsets"))
    element_z = cached_property(lambda self: self.column("element_z"))
    element_fraction = cached_property(lambda self: self.column("element_fraction"))
    reflection_offsets = cached_property(lambda self: self.column("reflection_offsets"))
    two_theta = cached_property(lambda self: self.column("two_theta"))
    intensity = cached_property(lambda self: self.column("intensity"))

    def formula_keys(self) -> np.ndarray:
        """(N,) uint64 keys, equal for equal compositions (fractions to 1e-5)."""
        fraction = np.rint(np.asarray(self.element_fraction, np.float64) * 1e5).astype(np.uint64)
        return self._row_keys((fraction << np.uint64(8)) | self.element_z)

    def chemical_system_keys(self) -> np.ndarray:
        """(N,) uint64 keys, equal for equal sets of elements."""
        return self._row_keys(self.element_z.astype(np.uint64))

    def _row_keys(self, words: np.ndarray) -> np.ndarray:
        """Sum of the scrambled words of each sample; distinct rows collide with p = 2^-64."""
        offsets = np.asarray(self.element_offsets)
        if not len(words):
            return np.zeros(self.n, np.uint64)
        return np.add.reduceat(_scramble(words), offsets[:-1])

    def verify(self) -> list[str]:
        """Compare every file with the manifest; one line per damaged or missing file."""
        problems = [self._check_column(f, want) for f, want in self.manifest["columns"].items()]
        problems += [self._check_hash(f, want) for f, want in self.manifest["files"].items()]
        return [p for p in problems if p]

    def _check_column(self, file: str, want: dict) -> str | None:
        try:
            self.column(file.removesuffix(".npy"))
        except UserError:
            if (self.path / file).exists():
                return f"{file}: damaged (header or length differ from the manifest)"
        return self._check_hash(file, want["sha256"])

    def _check_hash(self, file: str, want: str) -> str | None:
        if not (self.path / file).exists():
            return f"{file}: missing"
        if sha256_of(self.path / file) != want:
            return f"{file}: damaged (SHA-256 differs from the manifest)"
        return None


def _scramble(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: uint64 in, well-mixed uint64 out (Steele et al. 2014)."""
    x = words + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def open_store(path: str | os.PathLike) -> Store:
    """Open the store in `path`; `UserError` if there is none or its preparation is unfinished."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(
            f"there is no data set at {path}: make one with "
            f"`xxact data prepare --source csv --input FILE --out {path}` "
            "(or `--source mini` for the embedded one)"
        )
    if not (path / MANIFEST).exists():
        raise UserError(
            f"{path} holds no finished data set ({MANIFEST} is missing): run the same "
            "`xxact data prepare` again, it goes on where it stopped"
        )
    manifest = read_manifest(path)
    found = manifest["format"]
    if found != FORMAT:
        raise UserError(f"{path} has store format {found}, this version reads {FORMAT}: prepare it")
    return Store(path, manifest, sha256_of(path / MANIFEST))


def read_manifest(path: Path) -> dict:
    """The manifest of the store in `path`, of whatever format; `UserError` if it is damaged."""
    try:
        fields = json.loads((path / MANIFEST).read_bytes())
        fields["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path / MANIFEST} is damaged ({error}): prepare the store again"
        ) from error
    return fields


class ColumnWriter:
    """Appends blocks to `<name>.npy`, hashing as it writes: memory stays flat.

    The file gets its name when it is complete; the caller gives the number of rows beforehand.
    """

    def __init__(self, directory: Path, name: str, dtype: np.dtype, rows: int):
        self.file = f"{name}.npy"
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._rows = rows
        self._left = rows
        self.last = 0  #: the last value of an integer column, for offsets
        self._path = directory / self.file
        self._partial = directory / f"{self.file}.partial"
        self._stream = open(self._partial, "w+b")  # noqa: SIM115 (closed in `finish`)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (rows,)}
        np.lib.format.write_array_header_1_0(self._stream, header)
        self._stream.seek(0)
        self._digest = hashlib.sha256(self._stream.read())

    def append(self, block: np.ndarray) -> None:
        """Write the next rows."""
        data = np.ascontiguousarray(block, self._dtype)
        self._left -= len(data)
        if len(data) and data.dtype.kind == "i":
            self.last = int(data[-1])
        content = data.tobytes()
        self._digest.update(content)
        self._stream.write(content)

    def finish(self) -> dict:
        """Close the file, give it its name, and return its entry for the manifest."""
        if self._left:
            raise RuntimeError(f"{self.file}: {self._left} rows were not written")
        self._stream.close()
        os.replace(self._partial, self._path)
        return {
            "sha256": self._digest.hexdigest(),
            "dtype": self._dtype.str,
            "shape": [self._rows],
        }


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: it is whole or absent."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
