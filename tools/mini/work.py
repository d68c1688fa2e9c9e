"""The long part: relax and label candidates, one line of JSON for each that was tried."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from pathlib import Path

from pymatgen.core import Structure

from mini.candidates import Candidate
from mini.potential import Potential
from mini.relax import (
    Rejected,
    check_distances,
    dataset_of,
    equation_of_state,
    relax,
    run_in_step,
)

SYMPREC = 0.01  # A, of the symmetry that a row states
LOOSE_SYMPREC = 0.05  # A: a structure that has more symmetry at this tolerance is ambiguous
WIDTH = 8  # crystals relaxed together
FIT_LIMIT = 0.003  # eV/atom, rms of the Birch-Murnaghan fit


def label(structure: Structure, spacegroup: int) -> Generator:
    """Relax a structure, take its E(V) curve and check that its space group is what it was."""

    def check(current: Structure, symprec: float = SYMPREC) -> None:
        dataset = dataset_of(current, symprec)
        if dataset is None or dataset.number != spacegroup:
            raise Rejected("symmetry changed")

    relaxed, _, steps = yield from relax(structure, check=check)
    check(relaxed)
    check(relaxed, LOOSE_SYMPREC)
    final, fit = yield from equation_of_state(relaxed)
    check(final)
    check_distances(final)
    if fit.residual / len(final) > FIT_LIMIT:
        raise Rejected("E(V) not smooth")
    return {
        "steps": steps,
        "spacegroup": spacegroup,
        "energy": fit.energy / len(final),
        "bulk_modulus": fit.bulk_modulus,
        "volume": fit.volume / len(final),
        "lattice": final.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in final],
        "frac": final.frac_coords.tolist(),
    }


def label_candidate(candidate: Candidate) -> Generator:
    """`label` for a candidate, refused at once where its atoms cannot be placed."""
    structure = candidate.prototype.fill(candidate.elements)
    dataset = dataset_of(structure, 1e-3)
    if dataset is None or dataset.number != candidate.prototype.spacegroup:
        raise Rejected("prototype not filled")
    return (yield from label(structure, candidate.prototype.spacegroup))


def read_records(folder: Path, pattern: str) -> dict[str, dict]:
    """Records by id from a folder's files; a line cut short by an interruption is left out."""
    records = {}
    for path in sorted(folder.glob(pattern)):
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            records[record["id"]] = record
    return records


def check_belongs(records: dict[str, dict], candidates: list[Candidate], folder: Path) -> None:
    """Refuse to mix records with those of another list of candidates."""
    prototypes = {candidate.id: candidate.prototype.key for candidate in candidates}
    strange = [i for i, r in records.items() if prototypes.get(i) != r["prototype"]]
    if strange:
        raise SystemExit(
            f"{len(strange)} records in {folder} ({strange[0]}, ...) are not of this list of "
            "candidates: take the --seed and --count that they were made with, or another --work"
        )


def run_worker(
    candidates: list[Candidate], folder: Path, worker: int, workers: int, hours: float | None
) -> None:
    """Work through every `workers`-th candidate that no record exists for yet."""
    done = read_records(folder, "crystals-*.jsonl")
    check_belongs(done, candidates, folder)
    todo = [c for c in candidates[worker::workers] if c.id not in done]
    potential = Potential()
    start, accepted = time.monotonic(), 0
    queue = _until(todo, start + 3600 * hours if hours else float("inf"))
    tasks = ((c, label_candidate(c)) for c in queue)
    with open(folder / f"crystals-{worker}.jsonl", "a", buffering=1) as out:
        out.write("\n" if out.tell() else "")  # ends a line that was cut short
        for count, (candidate, result) in enumerate(run_in_step(tasks, potential, WIDTH), 1):
            record = {"id": candidate.id, "prototype": candidate.prototype.key}
            if isinstance(result, Rejected):
                record |= {"elements": candidate.elements, "rejected": str(result)}
            else:
                record |= result
                accepted += 1
            out.write(json.dumps(record) + "\n")
            if count % 50 == 0 or count == len(todo):
                _progress(worker, count, len(todo), accepted, time.monotonic() - start)


def _until(items: list, deadline: float):
    """The items, until a moment of the monotonic clock."""
    for item in items:
        if time.monotonic() > deadline:
            return
        yield item


def _progress(worker: int, count: int, total: int, accepted: int, seconds: float) -> None:
    left = seconds / count * (total - count) / 60
    print(
        f"worker {worker}: {count}/{total} tried, {accepted} accepted, "
        f"{seconds / count:.2f} s each, {left:.0f} min left",
        flush=True,
    )
