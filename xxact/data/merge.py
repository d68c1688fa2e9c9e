"""Merging shards into a store: two passes that stream, duplicates dropped, manifest last."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np

from xxact.data.compute import Job
from xxact.data.labels import class_indices, ordered_classes
from xxact.data.shard import RAGGED_COLUMNS, read_failures
from xxact.data.sources.source import Source, TargetColumn
from xxact.data.store import FAILURES, MANIFEST, SPLITS, ColumnWriter, described
from xxact.errors import UserError
from xxact.files import sha256_of, write_atomically


class NothingStored(UserError):
    """No row could be used; `failures.csv` says why."""


def merge(source: Source, jobs: list[Job], out: Path, manifest: dict) -> None:
    """Stream the shards into columns in `out`, an empty folder; the manifest is written last.

    Rows whose id came before are dropped. `NothingStored` if there is no usable row.
    """
    shards = [(job, job.directory / f"{k:06d}.npz") for job in jobs for k in range(job.shards)]
    sizes = _Sizes(shards, [t.name for t in source.targets if t.is_class])
    failures = _FailureWriter(out / FAILURES)
    if not sizes.n:
        raise _nothing_stored(jobs, [path for _, path in shards], failures)
    manifest = manifest | {"targets": {t.name: _described(t, sizes) for t in source.targets}}
    writers = _writers(source, out, sizes)
    splits: Counter[int] = Counter()
    rows = hashlib.sha256()
    start = 0
    for job, path in shards:
        with np.load(path) as shard:
            keep = sizes.keep[start : start + len(shard["ids"])]
            start += len(keep)
            split = _split(job, shard, manifest["split"]["by"])[keep]
            splits.update(split.tolist())
            rows.update(np.column_stack([split, shard["digests"][keep]]).tobytes())
            _append(writers, shard, keep, split, manifest["targets"])
            failures.extend(read_failures(shard["failures"]))
            repeated = [i.decode() for i in shard["ids"][~keep]]
            failures.extend([(i, "duplicate_id", "an earlier row has this id") for i in repeated])
    columns = {w.file: w.finish() for w in writers.values()}
    counts = {"n": sizes.n, "splits": {p: splits[c] for p, c in SPLITS.items() if splits[c]}}
    files = {FAILURES: failures.finish()}
    counts |= {"failures": dict(sorted(failures.reasons.items()))}
    if broken := {job.entry.path.name: job.broken for job in jobs if job.broken}:
        counts["unreadable"] = broken
    counts["content_sha256"] = _content_hash(manifest, rows.digest())
    manifest = manifest | counts | {"columns": columns, "files": files}
    write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def _nothing_stored(jobs: list[Job], paths: list[Path], failures: _FailureWriter) -> NothingStored:
    for path in paths:
        with np.load(path) as shard:
            failures.extend(read_failures(shard["failures"]))
    failures.finish()
    names = ", ".join(job.entry.path.name for job in jobs)
    return NothingStored(f"no row of {names} could be stored ({failures.summary()})")


def _described(target: TargetColumn, sizes: _Sizes) -> dict:
    """What the manifest says of a target: its unit, or its classes."""
    if not target.is_class:
        return {"unit": target.unit}
    return {"unit": "", "classes": ordered_classes(sizes.labels[target.name], target.name)}


def _content_hash(manifest: dict, rows: bytes) -> str:
    """The identity of the data (see `Store.content_sha256`).

    rows: hash over the rows of the store, in their order, of the code of the split (1 byte) and
    the digest of what the source says (`shard.row_digest`, 32 bytes).
    """
    settings = ["reader", "kind", "targets"]  # not the format: a layout changes no value
    if manifest["kind"] == "composition+xrd":
        settings += ["symprec", "wavelength", "two_theta_range_deg"]
    fields = json.dumps({name: manifest[name] for name in settings}, sort_keys=True)
    return hashlib.sha256(fields.encode() + rows).hexdigest()


class _Sizes:
    """First pass over the shards: which rows to keep (9 bytes a row in memory), column sizes.

    entries: elements and reflections of the kept rows together.
    labels: the labels of each class target that kept rows have.
    """

    def __init__(self, shards: list[tuple[Job, Path]], class_targets: list[str]):
        self.id_bytes = 1
        self.labels: dict[str, set[str]] = {name: set() for name in class_targets}
        hashes = [np.empty(0, np.uint64)]
        for _, path in shards:
            with np.load(path) as shard:
                hashes.append(shard["id_hash"])
                self.id_bytes = max(self.id_bytes, shard["ids"].dtype.itemsize)
        self.keep = _first_occurrences(np.concatenate(hashes))
        self.n = int(self.keep.sum())
        self.entries = dict.fromkeys(RAGGED_COLUMNS, 0)
        start = 0
        for _, path in shards:
            with np.load(path) as shard:
                keep = self.keep[start : start + len(shard["id_hash"])]
                start += len(keep)
                for what in self.entries:
                    lengths = shard[f"n_{what}s"]  # none where the source has no crystals
                    if len(lengths):
                        self.entries[what] += int(lengths[keep].sum(dtype=np.int64))
                for name, found in self.labels.items():
                    found |= {label.decode() for label in np.unique(shard[f"target_{name}"][keep])}
        for found in self.labels.values():
            found.discard("")


def _first_occurrences(hashes: np.ndarray) -> np.ndarray:
    """Mask of the rows whose 64-bit hash of the id did not occur before."""
    order = np.argsort(hashes, kind="stable")
    first = np.ones(len(hashes), bool)
    first[order[1:]] = hashes[order[1:]] != hashes[order[:-1]]
    return first


def _writers(source: Source, out: Path, sizes: _Sizes) -> dict[str, ColumnWriter]:
    def ragged(what: str) -> dict[str, tuple[str, int]]:
        columns = RAGGED_COLUMNS[what].items()
        entries = {name: (dtype, sizes.entries[what]) for name, dtype in columns}
        return {f"{what}_offsets": ("i8", sizes.n + 1)} | entries

    plan = {"ids": (f"S{sizes.id_bytes}", sizes.n), "split": ("u1", sizes.n), **ragged("element")}
    plan |= {f"target_{t.name}": ("i2" if t.is_class else "f4", sizes.n) for t in source.targets}
    if source.has_source_space_group:
        plan["source_space_group"] = ("u1", sizes.n)
    if source.kind == "composition+xrd":
        plan |= {"n_sites": ("i4", sizes.n), "space_group": ("u1", sizes.n), **ragged("reflection")}
    writers = {n: ColumnWriter(out, n, np.dtype(d), rows) for n, (d, rows) in plan.items()}
    for name, writer in writers.items():
        if name.endswith("_offsets"):
            writer.append(np.zeros(1, np.int64))
    return writers


def _split(job: Job, shard: np.lib.npyio.NpzFile, by: str) -> np.ndarray:
    """Codes of the splits of a shard's rows: that of their input, or by hash of id or formula."""
    if job.entry.split is not None:
        return np.full(len(shard["ids"]), SPLITS[job.entry.split], np.uint8)
    return shard[f"split_by_{by}"]


def _append(
    writers: dict[str, ColumnWriter],
    shard: np.lib.npyio.NpzFile,
    keep: np.ndarray,
    split: np.ndarray,
    targets: dict[str, dict],
) -> None:
    """Append the kept rows of a shard to every column; `targets` is that of the manifest."""
    writers["split"].append(split)
    for name, target in targets.items():
        values = shard[f"target_{name}"][keep]
        if "classes" in target:
            values = class_indices(values, target["classes"])
        writers[f"target_{name}"].append(values)
    for name in ("ids", "n_sites", "space_group", "source_space_group"):
        if name in writers:
            writers[name].append(shard[name][keep])
    for what, columns in RAGGED_COLUMNS.items():
        if offsets := writers.get(f"{what}_offsets"):
            n = shard[f"n_{what}s"].astype(np.int64)
            offsets.append(offsets.last + np.cumsum(n[keep]))  # on from the last shard's end
            rows = np.repeat(keep, n)
            for name in columns:
                writers[name].append(shard[name][rows])


class _FailureWriter:
    """`failures.csv`, written as the shards come; counts the failures by reason."""

    def __init__(self, path: Path):
        self._path = path
        self._stream = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(["id", "reason", "message"])
        self.reasons: Counter[str] = Counter()

    def extend(self, failures: list[tuple[str, str, str]]) -> None:
        """Write (id, reason, message) rows."""
        if failures and not self.reasons:
            self._first = f"{failures[0][0]}: {failures[0][2]}"
        self._writer.writerows(failures)
        self.reasons.update(reason for _, reason, _ in failures)

    def summary(self) -> str:
        """The reasons with their counts, in one line."""
        if not self.reasons:
            return "it holds no rows"
        counts = ", ".join(f"{reason}: {n}" for reason, n in self.reasons.most_common())
        return f"{counts}; the first: {self._first}"

    def finish(self) -> dict:
        """Close the file, and return its entry for the manifest."""
        self._stream.close()
        return described(self._path, sha256_of(self._path))
