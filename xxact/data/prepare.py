"""From a source to a store: in shards over worker processes, resumable, the same bytes always.

Shards are computed in any order under `<out>/.preparing/<key>/`, where the key hashes the input's
bytes and every setting, and are merged in the order of the input. Killed at any moment and started
again, finished shards are kept. A store that is there is replaced when the new one is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from xxact.data.compute import Job, compute_shards
from xxact.data.folder import (
    PREPARING,
    held_for_preparation,
    held_for_share,
    new_store,
    put_in_place,
)
from xxact.data.merge import NothingStored, merge
from xxact.data.shard import READER_VERSION, ROWS, WAVELENGTH
from xxact.data.sources import SOURCES, make_source
from xxact.data.sources.source import Columns, Input, Source
from xxact.data.store import FAILURES, FORMAT, MANIFEST, Store, open_store, read_manifest
from xxact.errors import UserError
from xxact.files import Taken, sha256_of
from xxact.xrd.grid import TWO_THETA_MAX_DEG, TWO_THETA_MIN_DEG
from xxact.xrd.reflections import wavelength_angstrom

SYMPREC = 0.01
#: More processes than any machine has cores are a slip of the finger.
MOST_WORKERS = 1024
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
    wait: bool = False,
    split_by: str | None = None,
) -> Prepared:
    """Prepare a store in `out` from files of one source (see `xxact.data.sources`).

    inputs: files, or `Input`s that carry a split, which is kept; some may have one, as those that
        are for training alone. `mini` takes none.
    name: what results call the data set (default: the name of the directory `out`).
    symprec: tolerance of the symmetry search in angstrom.
    split_by: "id", or "formula" to keep all samples of a formula in one split; of inputs without a
        split of their own. Default: by id, where rows have one.
    workers: processes; the result does not depend on it.
    overwrite: replace a store that is there and was made in another way, when the new one is whole.
    wait: wait for another process that prepares or uses `out`, rather than raise `UserError`.

    A store that is there already and was made from the same inputs and settings is kept.
    Raises `UserError` if nothing could be stored, if a column is missing, if `out` holds another
    store and `overwrite` is False, or if it holds anything that is of no store.
    """
    settings = {"name": name, "columns": columns, "symprec": symprec, "split_by": split_by}
    told = False
    with _planned(source, inputs, Path(out), workers=workers, **settings) as plan:
        while not _is_prepared(plan, overwrite):
            try:
                with held_for_preparation(plan.out):
                    if not _is_prepared(plan, overwrite):
                        _make(plan)
                    break
            except Taken as taken:
                if not wait:
                    raise
                if not told:
                    print(f"waiting: {taken}", file=sys.stderr)
                told = True
                time.sleep(1.0)
        return _prepared(plan)


def _make(plan: _Plan) -> None:
    """Compute the shards, build the store of them and put it in its place."""
    compute_shards(plan.source, plan.jobs, plan.manifest["symprec"], plan.workers)
    new = new_store(plan.out)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        merge(plan.source, plan.jobs, new, plan.manifest)
    except NothingStored as error:
        failures = plan.out / FAILURES
        if (plan.out / MANIFEST).exists():  # that store's own list stays with it
            failures = plan.out / PREPARING / FAILURES
        os.replace(new / FAILURES, failures)
        for job in plan.jobs:
            shutil.rmtree(job.directory)
        raise UserError(f"{error}; {failures} lists each with its reason") from error
    put_in_place(plan.out)


def prepare_share(
    source: str,
    inputs: Sequence[Input | Path | str],
    out: Path | str,
    share: tuple[int, int],
    *,
    overwrite: bool = False,
    **settings: Any,
) -> None:
    """Compute share k of n (`share = (k, n)`, k from 0) of the shards, for array jobs.

    settings: name, columns, symprec, workers and split_by as in `prepare`.
    Shares may run at the same time on machines with a common file system, each once. When all are
    done, `prepare` with the same arguments merges them (and computes what is missing).
    """
    k, n = share
    if not 0 <= k < n:
        raise UserError(f"a share K/N needs 0 <= K < N, got {k}/{n}")
    with _planned(source, inputs, Path(out), **settings) as plan:
        if not _is_prepared(plan, overwrite):
            with held_for_share(plan.out, share):
                symprec = plan.manifest["symprec"]
                compute_shards(plan.source, plan.jobs, symprec, plan.workers, share)


@dataclass
class _Plan:
    """What is to be done, settled before anything is computed."""

    source: Source
    jobs: list[Job]
    out: Path
    manifest: dict
    workers: int


@contextmanager
def _planned(
    source: str,
    inputs: Sequence[Input | Path | str],
    out: Path,
    name: str | None = None,
    columns: Columns | None = None,
    symprec: float = SYMPREC,
    workers: int = 1,
    split_by: str | None = None,
) -> Iterator[_Plan]:
    if not 0 < symprec < 1:
        raise UserError(f"symprec must lie between 0 and 1 angstrom, got {symprec}")
    if not 1 <= workers <= MOST_WORKERS:
        raise UserError(f"workers must be between 1 and {MOST_WORKERS}, got {workers}")
    with _resolved(source, inputs) as entries:
        adapter = make_source(source, entries, columns or Columns())
        jobs = _jobs(adapter, entries, out, symprec)
        manifest = _manifest_head(adapter, jobs, name or out.resolve().name, symprec)
        manifest["split"] = {"by": _split_rule(adapter, entries, split_by)}
        yield _Plan(adapter, jobs, out, manifest, workers)


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
        entries = [entry if isinstance(entry, Input) else Input(Path(entry)) for entry in inputs]
        _check_inputs(entries)
        yield entries
        return
    file = resources.files("xxact.data") / "mini" / "mini.csv.xz"
    if not file.is_file():
        raise UserError("the embedded data set (xxact/data/mini/mini.csv.xz) is not installed")
    with resources.as_file(file) as path:
        yield [Input(path)]


def _check_inputs(entries: list[Input]) -> None:
    """`UserError` for what is no file."""
    for path in (entry.path for entry in entries):
        if not path.exists():
            raise UserError(f"there is no input file {path}")
        if path.is_dir():
            raise UserError(
                f"the input {path} is a directory; name the files in it "
                "(of a folder of CIF files, the CSV file that lists them)"
            )
        if not path.is_file():
            raise UserError(
                f"the input {path} is a pipe or a device, which cannot be read twice: "
                "write what comes out of it to a file"
            )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _digest(fields: object) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _jobs(adapter: Source, entries: list[Input], out: Path, symprec: float) -> list[Job]:
    """A job for each input; its shards are keyed by all that their content depends on."""
    settings = [FORMAT, READER_VERSION, ROWS, adapter.kind, adapter.settings(), symprec]
    settings += [WAVELENGTH, _versions()]
    jobs: dict[str, Job] = {}
    for entry in entries:
        try:
            sha256 = sha256_of(entry.path)
        except OSError:  # reading it later records why
            sha256 = None
        key = _digest([*settings, sha256 or str(entry.path)])[:16]
        if key in jobs:
            raise UserError(f"{entry.path} and {jobs[key].entry.path} have the same content")
        jobs[key] = Job(entry, sha256, entry.path.stat().st_size, out / PREPARING / key)
    return list(jobs.values())


def _manifest_head(adapter: Source, jobs: list[Job], name: str, symprec: float) -> dict:
    """The part of the manifest that is known before anything is computed."""
    inputs = []
    for job in jobs:
        fields = {"name": job.entry.path.name, "sha256": job.sha256, "bytes": job.size}
        inputs.append(fields | ({"split": job.entry.split} if job.entry.split else {}))
    return {
        "format": FORMAT,
        "reader": READER_VERSION,
        "name": name,
        "kind": adapter.kind,
        "inputs": inputs,
        "source": adapter.settings(),
        "symprec": symprec,
        "wavelength": WAVELENGTH,
        "wavelength_angstrom": wavelength_angstrom(WAVELENGTH),
        "two_theta_range_deg": [TWO_THETA_MIN_DEG, TWO_THETA_MAX_DEG],
        "versions": _versions(),
    }


def _split_rule(adapter: Source, entries: list[Input], split_by: str | None) -> str:
    """What decides the split of the rows of an input without one: "id" or "formula"; "given" where
    each has one."""
    if split_by not in (None, "id", "formula"):
        raise UserError(f"a split is by id or by formula, not by '{split_by}'")
    if all(entry.split is not None for entry in entries):
        if split_by:
            raise UserError(f"the inputs have a split of their own: none by {split_by} can be made")
        return "given"
    if split_by is None and adapter.kind == "composition" and not adapter.has_ids:
        return "formula"
    return split_by or "id"


def _is_prepared(plan: _Plan, overwrite: bool) -> bool:
    """Whether the very store that was asked for is there; `UserError` if another one may not go.

    A store made with other versions of the libraries is kept.
    """
    out, manifest = plan.out, plan.manifest
    there = read_manifest(out)
    if there is None:
        return False
    differs = [k for k, v in manifest.items() if k != "versions" and there.get(k) != v]
    damaged = [] if differs else open_store(out, check=False).problems()
    if (differs or damaged) and not overwrite:
        how = "made in another way (it differs in: {})" if differs else "that is damaged ({})"
        raise UserError(
            f"{out} holds a data set {how.format(', '.join(differs or damaged))}; choose another "
            "directory, or replace it with --overwrite"
        )
    return not (differs or damaged)
