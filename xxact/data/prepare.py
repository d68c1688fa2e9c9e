"""From a source to a store: in shards over worker processes, resumable, the same bytes always.

Shards are computed in any order under `<out>/.shards/<key>/`, where the key hashes the input's
bytes and every setting, and are merged in the order of the input. Killed at any moment and started
again, finished shards are kept. The manifest is written last, then the shards are removed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xxact.data.compute import Job, compute_shards
from xxact.data.merge import merge
from xxact.data.shard import READER_VERSION, ROWS, WAVELENGTH
from xxact.data.source import Columns, Input, Source
from xxact.data.store import FAILURES, FORMAT, MANIFEST, Store, open_store, read_manifest
from xxact.errors import UserError
from xxact.files import sha256_of
from xxact.xrd.grid import TWO_THETA_MAX_DEG, TWO_THETA_MIN_DEG

SOURCES = ("csv", "alexandria", "mini")
SYMPREC = 0.01
_PACKAGES = ("xxact", "moyopy", "numba", "numpy", "pymatgen", "pymatgen-core")


@dataclass
class Prepared:
    """What `prepare` made: the store, and the inputs that could not be read (to the end)."""

    store: Store
    unreadable: dict[Path, str] = field(default_factory=dict)


def prepare(
    source: str,
    inputs: Sequence[Input | Path | str],
    out: Path | str,
    *,
    name: str | None = None,
    columns: Columns | None = None,
    symprec: float = SYMPREC,
    workers: int = 1,
    overwrite: bool = False,
) -> Prepared:
    """Prepare a store in `out` from files of one source (`csv`, `alexandria` or `mini`).

    inputs: files, or `Input`s that carry a part to keep a given split; `mini` takes none.
    name: what results call the data set (default: the name of the directory `out`).
    symprec: tolerance of the symmetry search in angstrom.
    workers: processes; the result does not depend on it.

    A store that is there already and was made from the same inputs and settings is kept.
    Raises `UserError` if nothing could be stored, if a column is missing, or if `out` holds
    something else and `overwrite` is False.
    """
    with _planned(source, inputs, Path(out), name, columns, symprec, workers) as plan:
        if _is_prepared(plan, overwrite):
            return _prepared(plan)
        compute_shards(plan.source, plan.jobs, symprec, workers)
        try:
            merge(plan.source, plan.jobs, plan.out, plan.manifest)
        except UserError:  # nothing could be stored
            shutil.rmtree(plan.out / ".shards")
            raise
    shutil.rmtree(plan.out / ".shards")
    return _prepared(plan)


def prepare_share(
    source: str,
    inputs: Sequence[Input | Path | str],
    out: Path | str,
    share: tuple[int, int],
    *,
    columns: Columns | None = None,
    symprec: float = SYMPREC,
    workers: int = 1,
) -> None:
    """Compute share k of n (`share = (k, n)`, k from 0) of the shards, for array jobs.

    Shares may run at the same time on machines with a common file system. When all are done,
    `prepare` with the same arguments merges them (and computes what is missing).
    """
    k, n = share
    if not 0 <= k < n:
        raise UserError(f"a share K/N needs 0 <= K < N, got {k}/{n}")
    with _planned(source, inputs, Path(out), None, columns, symprec, workers) as plan:
        if not (plan.out / MANIFEST).exists():
            compute_shards(plan.source, plan.jobs, symprec, workers, share)


@dataclass
class _Plan:
    """What is to be done, settled before anything is computed."""

    source: Source
    jobs: list[Job]
    out: Path
    manifest: dict


@contextmanager
def _planned(
    source: str,
    inputs: Sequence[Input | Path | str],
    out: Path,
    name: str | None,
    columns: Columns | None,
    symprec: float,
    workers: int,
) -> Iterator[_Plan]:
    if not 0 < symprec < 1:
        raise UserError(f"symprec must lie between 0 and 1 angstrom, got {symprec}")
    if workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}")
    with _resolved(source, inputs) as entries:
        adapter = _adapter(source, entries, columns or Columns())
        jobs = _jobs(adapter, entries, out, symprec)
        manifest = _manifest_head(adapter, jobs, name or out.resolve().name, symprec)
        out.mkdir(parents=True, exist_ok=True)
        yield _Plan(adapter, jobs, out, manifest)


def _prepared(plan: _Plan) -> Prepared:
    store = open_store(plan.out)
    broken = store.manifest.get("unreadable", {})
    paths = {job.entry.path.name: job.entry.path for job in plan.jobs}
    return Prepared(store, {paths[name]: reason for name, reason in broken.items()})


@contextmanager
def _resolved(source: str, inputs: Sequence[Input | Path | str]) -> Iterator[list[Input]]:
    """The inputs as `Input`s; for `mini` the file inside the package, unpacked if need be."""
    if source not in SOURCES:
        raise UserError(f"there is no source '{source}'; the sources are: {', '.join(SOURCES)}")
    if (source == "mini") == bool(inputs):
        wrong = "takes no input" if source == "mini" else "needs at least one input file"
        raise UserError(f"the source '{source}' {wrong}")
    if source != "mini":
        yield [entry if isinstance(entry, Input) else Input(Path(entry)) for entry in inputs]
        return
    file = resources.files("xxact.data") / "mini" / "mini.csv.xz"
    if not file.is_file():
        raise UserError("the embedded data set (xxact/data/mini/mini.csv.xz) is not installed")
    with resources.as_file(file) as path:
        yield [Input(path)]


def _adapter(source: str, entries: list[Input], columns: Columns) -> Source:
    if source == "alexandria":
        from xxact.data.alexandria_source import alexandria_source

        return alexandria_source(entries, columns)
    from xxact.data.csv_source import csv_source

    return csv_source(entries, columns)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _digest(fields: object) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _jobs(adapter: Source, entries: list[Input], out: Path, symprec: float) -> list[Job]:
    """A job for each input; its shards are keyed by all that their content depends on."""
    settings = [FORMAT, READER_VERSION, ROWS, adapter.kind, adapter.settings(), symprec]
    settings += [WAVELENGTH, _versions()]
    jobs: dict[str, Job] = {}
    for entry in entries:
        if not entry.path.exists():
            raise UserError(f"there is no input file {entry.path}")
        try:
            sha256 = sha256_of(entry.path)
        except OSError:  # reading it later records why
            sha256 = None
        key = _digest([*settings, sha256 or str(entry.path)])[:16]
        if key in jobs:
            raise UserError(f"{entry.path} and {jobs[key].entry.path} have the same content")
        jobs[key] = Job(entry, sha256, entry.path.stat().st_size, out / ".shards" / key)
    return list(jobs.values())


def _manifest_head(adapter: Source, jobs: list[Job], name: str, symprec: float) -> dict:
    """The part of the manifest that is known before anything is computed."""
    inputs = []
    for job in jobs:
        fields = {"name": job.entry.path.name, "sha256": job.sha256, "bytes": job.size}
        inputs.append(fields | ({"part": job.entry.part} if job.entry.part else {}))
    given = jobs[0].entry.part is not None
    return {
        "format": FORMAT,
        "reader": READER_VERSION,
        "name": name,
        "kind": adapter.kind,
        "inputs": inputs,
        "source": adapter.settings(),
        "targets": {t.name: t.unit for t in adapter.targets},
        "symprec": symprec,
        "wavelength": WAVELENGTH,
        "wavelength_angstrom": _wavelength(),
        "two_theta_range_deg": [TWO_THETA_MIN_DEG, TWO_THETA_MAX_DEG],
        "split": {"rule": "given" if given else "sha1(id) % 20"},
        "versions": _versions(),
    }


def _wavelength() -> float:
    from xxact.xrd.reflections import wavelength_angstrom

    return wavelength_angstrom(WAVELENGTH)


def _is_prepared(plan: _Plan, overwrite: bool) -> bool:
    """Whether the very store that was asked for is there; makes room if told to overwrite.

    A store made with other versions of the libraries is kept.
    """
    out, manifest = plan.out, plan.manifest
    if not (out / MANIFEST).exists():
        return False
    there = read_manifest(out)
    differs = [k for k, v in manifest.items() if k != "versions" and there.get(k) != v]
    if not differs:
        return True
    if not overwrite:
        keys = ", ".join(differs)
        raise UserError(
            f"{out} holds a data set made in another way (it differs in: {keys}); choose another "
            "directory, or replace it with --overwrite"
        )
    (out / MANIFEST).unlink()
    for file in [*there["columns"], *there["files"]]:
        (out / file).unlink(missing_ok=True)
    return False


def report(prepared: Prepared) -> int:
    """Print what was stored; 1 if an input could not be read to its end, else 0."""
    store, failures = prepared.store, prepared.store.manifest["failures"]
    parts = ", ".join(f"{n:,} {part}" for part, n in store.manifest["parts"].items())
    print(f"{store.path}: {store.n:,} stored ({parts}), {sum(failures.values()):,} unusable")
    for reason, n in failures.items():
        print(f"  {reason}: {n:,}")
    if failures:
        print(f"  each is listed in {store.path / FAILURES}")
    for path, reason in prepared.unreadable.items():
        print(f"error: {path} could not be read to its end: {reason}", file=sys.stderr)
    return 1 if prepared.unreadable else 0
