"""Computing the shards of a preparation: read, spread over workers, skip what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from xxact.data.progress import Rate
from xxact.data.shard import ROWS, make_shard
from xxact.data.sources.source import READ_ERRORS, Input, RawRow, Source, UnreadableInput
from xxact.data.workers import WorkerPool
from xxact.files import write_atomically


@dataclass
class Job:
    """An input on its way through the shards.

    directory: where its shards go; its name hashes all that their content depends on.
    sha256, size: of the file's bytes; None where it cannot be opened.
    shards: how many shards it has, once it was read through.
    broken: why it could not be read to its end.
    place: bytes of the file that have been read.
    """

    entry: Input
    sha256: str | None
    size: int
    directory: Path
    shards: int = 0
    broken: str = ""
    place: int = 0


def compute_shards(
    source: Source,
    jobs: list[Job],
    symprec: float,
    workers: int,
    share: tuple[int, int] = (0, 1),
) -> None:
    """Make every shard that is not there yet, at most a few per worker in flight.

    share: (k, n) restricts it to the k-th of n shares: to some of the inputs, if there are as many
    as shares, else to some shards of each input.
    """
    turn, of = share
    by_input = len(jobs) >= of
    mine = jobs[turn::of] if by_input else jobs
    tally = _Tally(mine)
    pending: set[Future] = set()
    with WorkerPool(workers) as pool:
        for job in mine:
            job.directory.mkdir(parents=True, exist_ok=True)
            if finished := _finished(job):
                for counts in finished:
                    tally.rows_read += counts["stored"] + counts["failed"]
                    tally.add(counts, found=True)
                continue
            for path, rows in _cut(source, job, tally):
                if not by_input and job.shards % of != turn:
                    continue
                counts = path.with_suffix(".json")
                if counts.exists():
                    tally.add(json.loads(counts.read_text()), found=True)
                    continue
                pending.add(pool.submit(_shard_with_counts, path, source, symprec, rows))
                while len(pending) >= 2 * workers:
                    pending = _collect(pending, tally)
            _mark_read(job)
        while pending:
            pending = _collect(pending, tally)
    tally.show(last=True)


def _shard_with_counts(path: Path, source: Source, symprec: float, rows: list[RawRow]) -> dict:
    """A shard and, after it, its counts: where these are, the shard is whole."""
    counts = make_shard(path, source, symprec, rows)
    write_atomically(path.with_suffix(".json"), json.dumps(counts).encode())
    return counts


def _collect(pending: set[Future], tally: _Tally) -> set[Future]:
    done, left = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        tally.add(future.result())
    return left


def _cut(source: Source, job: Job, tally: _Tally) -> Iterator[tuple[Path, list[RawRow]]]:
    """The raw rows of an input by shard."""
    rows = _rows(source, job)
    while block := list(islice(rows, ROWS)):
        tally.rows_read += len(block)
        yield job.directory / f"{job.shards:06d}.npz", block
        job.shards += 1
    job.place = job.size


def _rows(source: Source, job: Job) -> Iterator[RawRow]:
    """The raw rows of an input; where it breaks off, the last one is a failure that says why."""
    try:
        with open(job.entry.path, "rb") as stream:
            for row in source.read(stream, job.entry.path):
                job.place = stream.tell()
                yield row
    except (UnreadableInput, *READ_ERRORS) as error:
        job.broken = str(error) or type(error).__name__
        yield RawRow(job.entry.path.name, reason="unreadable_input", message=job.broken)


def _mark_read(job: Job) -> None:
    """Note that the input was read through, so that a restart need not read it again."""
    fields = {"shards": job.shards, "broken": job.broken}
    write_atomically(job.directory / "read.json", json.dumps(fields).encode())


def _finished(job: Job) -> list[dict] | None:
    """Counts of each shard if the input was read through and all its shards are there."""
    mark = job.directory / "read.json"
    if not mark.exists():
        return None
    fields = json.loads(mark.read_text())
    files = [job.directory / f"{k:06d}.json" for k in range(fields["shards"])]
    if not all(file.exists() for file in files):
        return None
    job.shards, job.broken, job.place = fields["shards"], fields["broken"], job.size
    return [json.loads(file.read_text()) for file in files]


class _Tally:
    """Counts for the progress line; the total follows from how far the files have been read."""

    def __init__(self, jobs: list[Job]):
        self.rows_read = 0
        self._jobs = jobs
        self._done = self._failed = 0
        self._progress = Rate("rows")

    def add(self, counts: dict, found: bool = False) -> None:
        """A shard is done."""
        rows = counts["stored"] + counts["failed"]
        self._done += rows
        self._failed += counts["failed"]
        if found:
            self._progress.skip(rows)
        self.show()

    def show(self, last: bool = False) -> None:
        """Draw the line."""
        read, size = sum(job.place for job in self._jobs), sum(job.size for job in self._jobs)
        total = self.rows_read * size / read if read else None
        self._progress.update(self._done, total, f"{self._failed:,} unusable", last=last)
