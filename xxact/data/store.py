"""The store: a directory of `.npy` columns with a `manifest.json`, read through memory maps.

Layout (N samples; CSR offsets have N + 1 entries):

    ids.npy                S     (N,)    identifiers, UTF-8
    split.npy              u1    (N,)    0 audit, 1 test, 2 validation, 3 train
    element_offsets.npy    i8    (N+1,)  the elements of sample i are rows offsets[i]:offsets[i+1]
    element_z.npy          u1            atomic numbers, ascending within a sample
    element_fraction.npy   f4            atomic fractions, sum 1 within a sample
    target_<name>.npy      f4    (N,)    a regression target, NaN where missing; or
                           i2    (N,)    the index of a class, -1 where unlabelled
    space_group.npy        u1    (N,)    1 to 230, 0 where missing      (composition+xrd only)
    reflection_offsets.npy i8    (N+1,)                                 (composition+xrd only)
    two_theta.npy          f4            degrees, ascending in a sample (composition+xrd only)
    intensity.npy          f4            the strongest of a sample is 1 (composition+xrd only)
    n_sites.npy            i4    (N,)    sites of the cell              (composition+xrd only)
    source_space_group.npy u1    (N,)    the source's own number, 0 where missing (if it has one)
    failures.csv           id, reason and message of every row that could not be used
    manifest.json          written last: a directory without it is no store
    .xxact.lock            empty; held by who prepares the store, shared by who trains on it

The manifest holds hashes, counts, sources and versions, and neither times nor worker counts, so
that the same inputs and settings give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import numpy as np

from xxact.data.keys import composition_words, row_keys
from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP, Target, crystal_system_index
from xxact.errors import UserError
from xxact.files import being_read, naming, sha256_of

FORMAT = 2
MANIFEST = "manifest.json"
FAILURES = "failures.csv"
LOCK = ".xxact.lock"

#: A file is told from another one of its length, when a store is opened, by this many of its
#: blocks of this many bytes, spread evenly.
_PROBES, _PROBE_BYTES = 8, 4096

#: Code of each split in `split.npy`.
SPLITS = {"audit": 0, "test": 1, "validation": 2, "train": 3}


class Store:
    """A prepared data set. Columns are memory-mapped: opening one reads no more than samples."""

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
        except (FileNotFoundError, ValueError) as error:
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
    def split(self) -> np.ndarray:
        """(N,) uint8 codes of `SPLITS`."""
        return self.column("split")

    def indices(self, split: str) -> np.ndarray:
        """Ascending int64 indices of the samples of `split` ("train", "validation", "test")."""
        if split not in SPLITS:
            raise UserError(f"there is no split '{split}'; the splits are: {', '.join(SPLITS)}")
        return np.flatnonzero(self.split == SPLITS[split])

    @cached_property
    def targets(self) -> dict[str, Target]:
        """What the store can be used to train, by name."""
        targets = {
            name: Target(name, said["unit"], tuple(said.get("classes", ())))
            for name, said in self.manifest["targets"].items()
        }
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
        values = np.array(self.column(f"target_{target}"))
        return values.astype(np.int64) if self.targets[target].is_class else values

    element_offsets = cached_property(lambda self: self.column("element_offsets"))
    element_z = cached_property(lambda self: self.column("element_z"))
    element_fraction = cached_property(lambda self: self.column("element_fraction"))
    reflection_offsets = cached_property(lambda self: self.column("reflection_offsets"))
    two_theta = cached_property(lambda self: self.column("two_theta"))
    intensity = cached_property(lambda self: self.column("intensity"))

    def formula_keys(self) -> np.ndarray:
        """(N,) uint64 keys, equal for equal compositions (fractions to 1e-5)."""
        words = composition_words(self.element_z, self.element_fraction)
        return row_keys(words, self.element_offsets)

    def chemical_system_keys(self) -> np.ndarray:
        """(N,) uint64 keys, equal for equal sets of elements."""
        return row_keys(self.element_z.astype(np.uint64), self.element_offsets)

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """Keep the store as it is while the block runs: nobody can replace it.

        Many may read at a time. `UserError`, naming the process, if it is being replaced already.
        """
        lock = self.path / LOCK
        with suppress(OSError):  # where nothing can be written, nothing can be replaced
            lock.touch()
        with being_read(lock, f"{self.path} is being replaced"):
            yield

    def problems(self) -> list[str]:
        """Columns that are not those of the manifest, by size and samples of their content.

        Takes a millisecond, whatever the size of the store, and notices columns of another
        preparation; a flipped bit is found by `verify`.
        """
        columns = self.manifest["columns"].items()
        return [p for file, want in columns if (p := self._differs(file, want))]

    def verify(self) -> list[str]:
        """Compare every byte of every file with the manifest; a line per damaged or missing one."""
        files = self.manifest["columns"] | self.manifest["files"]
        problems = []
        for file, want in files.items():
            problem = self._differs(file, want)
            if problem is None and sha256_of(self.path / file) != want["sha256"]:
                problem = f"{file}: damaged (SHA-256 differs from the manifest)"
            problems += [problem] if problem else []
        return problems

    def _differs(self, file: str, want: dict) -> str | None:
        path = self.path / file
        if not path.exists():
            return f"{file}: missing"
        if (size := path.stat().st_size) != want["bytes"]:
            return f"{file}: damaged ({size:,} bytes, the manifest says {want['bytes']:,})"
        if probe_of(path) != want["probe"]:
            return f"{file}: damaged (its content is not that of the manifest)"
        return None


def open_store(path: str | os.PathLike, check: bool = True) -> Store:
    """Open the store in `path`.

    `UserError` if there is none, if its preparation is unfinished, or if files in it are not those
    that were prepared (see `Store.problems`; `check=False` leaves this out).
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(
            f"there is no data set at {path}: make one with "
            f"`xxact data prepare --source csv --input FILE --out {path}` "
            "(or `--source mini` for the embedded one)"
        )
    manifest = read_manifest(path)
    if manifest is None:
        raise UserError(
            f"{path} holds no finished data set ({MANIFEST} is missing): run the same "
            "`xxact data prepare` again, it goes on where it stopped"
        )
    found = manifest["format"]
    if found != FORMAT:
        raise UserError(f"{path} has store format {found}, this version reads {FORMAT}: prepare it")
    store = Store(path, manifest, sha256_of(path / MANIFEST))
    if check and (problems := store.problems()):
        raise UserError(
            f"{path} does not hold what was prepared there ({'; '.join(problems)}): "
            f"see `xxact data verify {path}`, then prepare it again with --overwrite"
        )
    return store


def read_manifest(path: Path) -> dict | None:
    """The manifest in `path`, of whatever format, if there is one; `UserError` if it is damaged."""
    try:
        fields = json.loads((path / MANIFEST).read_bytes())
        fields["format"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path / MANIFEST} is damaged, or not of a data set ({error!r:.80}): prepare it "
            "again in another directory"
        ) from error
    return fields


def described(path: Path, sha256: str) -> dict:
    """What the manifest holds of a file: its hash, its size and the hash of its samples."""
    return {"sha256": sha256, "bytes": path.stat().st_size, "probe": probe_of(path)}


def probe_of(path: Path) -> str:
    """Hash of blocks that are spread evenly over a file, its first and last among them.

    It tells columns of different content apart without reading them: these differ all over.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        last = max(0, os.fstat(stream.fileno()).st_size - _PROBE_BYTES)
        for place in sorted({last * k // (_PROBES - 1) for k in range(_PROBES)}):
            stream.seek(place)
            digest.update(stream.read(_PROBE_BYTES))
    return digest.hexdigest()[:16]


class ColumnWriter:
    """Appends blocks to `<name>.npy`, hashing as it writes: memory stays flat.

    The caller gives the number of rows beforehand, and a directory that nobody else writes to: a
    store is built aside, and put in place when it is whole.
    """

    def __init__(self, directory: Path, name: str, dtype: np.dtype, rows: int):
        self.file = f"{name}.npy"
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._rows = rows
        self._left = rows
        self.last = 0  #: the last value of an integer column, for offsets
        self._path = directory / self.file
        self._stream = open(self._path, "w+b")  # noqa: SIM115 (closed in `finish`)
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
        with naming(self._path):
            self._stream.write(content)

    def finish(self) -> dict:
        """Force the file to disk, and return its entry for the manifest."""
        if self._left:
            raise RuntimeError(f"{self.file}: {self._left} rows were not written")
        with naming(self._path), self._stream as stream:
            stream.flush()
            os.fsync(stream.fileno())
        layout = {"dtype": self._dtype.str, "shape": [self._rows]}
        return described(self._path, self._digest.hexdigest()) | layout
