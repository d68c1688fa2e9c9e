"""From crystals to training data: this pipeline and the usual one, stage by stage, in one run.

    python benchmarks/data.py --n 5000                                # a synthetic release
    python benchmarks/data.py --input alexandria_000.json.bz2 --n 5000
    python benchmarks/data.py --input crystals.csv.xz --out results/benchmarks/data_mp.json

Both sides read the same Alexandria-format file on one core: this pipeline as `xxact data prepare`
runs it, the reference as the paper describes it (json, pymatgen, NumPy smearing, spglib through
pymatgen, dense float32 patterns). Without --input that is a synthetic release (release.py), whose
cells are as large as Alexandria's. A CSV with a column `cif` is turned into such a file first, of
crystals drawn with seed 0. Prints milliseconds of CPU time (user and system) an entry and the bytes
that the store takes, and writes them to results/benchmarks/data.json.
"""

# ruff: noqa: E402 (numerical libraries read their number of threads when they are imported)
from __future__ import annotations

import os

for _library in ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import argparse
import bz2
import io
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from machine import hardware
from release import PER_FILE, write_release

from xxact.data.prepare import prepare
from xxact.data.sources.json_files import alexandria_source
from xxact.data.sources.source import Columns, Input
from xxact.data.sources.text import decompressed
from xxact.xrd import broaden, simulate_pattern, space_group_number
from xxact.xrd.grid import two_theta_grid
from xxact.xrd.reflections import reflections

STAGES = (
    *("decompress", "parse", "reflections", "broadening", "symmetry", "write"),
    *("file to store", "structure to pattern"),
)
PACKAGES = ("numpy", "numba", "pymatgen", "moyopy", "spglib", "torch")
BATCH = 256
SIGMA_DEG = 0.1


def main() -> None:
    """Run both sides, print the table, write the JSON."""
    arguments = parse_arguments()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "entries.json.bz2"
        write_input(arguments.input, file, arguments.n)
        warm_up(file, Path(folder))
        runs = []
        for repeat in range(arguments.repeats):
            print(f"repeat {repeat + 1} of {arguments.repeats}", flush=True)
            runs.append((time_ours(file, Path(folder)), time_reference(file, Path(folder))))
    ours, theirs = (best([run[side][0] for run in runs]) for side in (0, 1))
    (_, our_patterns, our_groups, store_bytes), theirs_last = runs[-1]
    _, their_patterns, their_groups, sites = theirs_last
    n = len(sites)
    result = {
        "schema": 1,
        "n": n,
        "repeats": arguments.repeats,
        "input": arguments.input.name if arguments.input else "synthetic release",
        "mean_sites": float(np.mean(sites)),
        "store_bytes_per_entry": store_bytes / n,
        "unit": "ms of CPU time an entry on one core, the best of the repeats",
        "stages": compare(ours, theirs, n),
        "largest_pattern_difference": float(np.abs(our_patterns - their_patterns).max()),
        "space_groups_that_differ": int((our_groups != their_groups).sum()),
        "hardware": hardware(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }
    show(result)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {arguments.out}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, help="CSV with cif, or .json.bz2")
    parser.add_argument("--n", type=int, default=1000, help="entries (default 1000)")
    parser.add_argument("--repeats", type=int, default=2, help="the best counts (default 2)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/data.json"))
    return parser.parse_args()


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What the function returns and the CPU seconds it took."""
    start = time.process_time()
    value = function()
    return value, time.process_time() - start


def best(runs: list[dict[str, float]]) -> dict[str, float]:
    """The shortest time of each stage; what `write` is left with follows from the others."""
    seconds = {stage: min(run[stage] for run in runs) for stage in runs[0]}
    stored = sum(seconds[s] for s in ("decompress", "parse", "reflections", "symmetry"))
    if "write" not in seconds:
        seconds["write"] = seconds["file to store"] - stored
    return {stage: seconds[stage] for stage in STAGES}


def write_input(source: Path | None, target: Path, n: int) -> None:
    """n entries in Alexandria's format: synthetic, the first of a file, or from a CSV's CIFs."""
    if source is None:
        (file,) = write_release(target.parent / "release", min(n, PER_FILE))
        file.rename(target)
        return
    if source.name.endswith(".json.bz2"):
        content = json.loads(bz2.decompress(source.read_bytes()))
        entries = content["entries"] if isinstance(content, dict) else content
        entries = entries[:n]
    else:
        entries = list(entries_from_csv(source, n))
    target.write_bytes(bz2.compress(json.dumps({"entries": entries}).encode()))


def entries_from_csv(source: Path, n: int) -> Iterator[dict]:
    """Entries with the keys that Alexandria's have, site properties included."""
    import pandas as pd
    from pymatgen.core import Structure

    table = pd.read_csv(source)
    for row in table.sample(min(n, len(table)), random_state=0).itertuples():
        structure = Structure.from_str(row.cif, fmt="cif")
        for index, site in enumerate(structure):
            site.properties.update(magmom=0.0001 * index, charge=8.374, forces=[-0.0, 0.0012, 0.0])
        amounts = structure.composition.get_el_amt_dict()
        yield {
            "@module": "pymatgen.entries.computed_entries",
            "@class": "ComputedStructureEntry",
            "energy": -4.5 * len(structure),
            "composition": amounts,
            "entry_id": None,
            "correction": 0.0,
            "energy_adjustments": [],
            "parameters": {},
            "data": {
                "mat_id": row.material_id,
                "prototype_id": "A_22_spg194",
                "location": f"database/batch-000/{row.material_id}",
                "formula": structure.composition.reduced_formula,
                "elements": sorted(amounts),
                "spg": 1,
                "nsites": len(structure),
                "stress": [[0.8811667, 0.0, 0.0], [0.0, 0.8811667, 0.0], [0.0, 0.0, -0.06628691]],
                "energy_total": -4.5 * len(structure),
                "total_mag": 0.0001825,
                "band_gap_ind": 0.0,
                "band_gap_dir": 0.0056,
                "dos_ef": 6.1911793,
                "energy_corrected": -4.5 * len(structure),
                "e_above_hull": 0.0,
                "e_form": float(row.formation_energy_per_atom),
                "e_phase_separation": 0.0,
                "decomposition": " Ac ",
            },
            "structure": structure.as_dict(),
        }


def warm_up(file: Path, folder: Path) -> None:
    """Compile and import everything outside of what is timed."""
    import torch

    torch.set_num_threads(1)
    few = folder / "few.json.bz2"
    entries = json.loads(bz2.decompress(file.read_bytes()))["entries"][:5]
    few.write_bytes(bz2.compress(json.dumps(entries).encode()))
    time_ours(few, folder)
    time_reference(few, folder)


def broaden_in_batches(lines: list) -> list[np.ndarray]:
    """Patterns, (256, 4250) at a time as a training step would have them."""
    import torch

    patterns = []
    for start in range(0, len(lines), BATCH):
        batch = lines[start : start + BATCH]
        row = np.repeat(np.arange(len(batch)), [len(line) for line in batch])
        two_theta = np.concatenate([line.two_theta for line in batch])
        intensity = np.concatenate([line.intensity for line in batch])
        columns = (torch.from_numpy(column) for column in (two_theta, intensity, row))
        patterns.append(broaden(*columns, len(batch), SIGMA_DEG).numpy())
    return patterns


def time_ours(file: Path, folder: Path) -> tuple[dict[str, float], np.ndarray, np.ndarray, int]:
    """CPU seconds of each stage but `write`, and of all of `prepare`; patterns; space groups;
    bytes of the store's columns."""
    seconds = {}
    source = alexandria_source([Input(file)], Columns())

    def read() -> bytes:
        with open(file, "rb") as stream, decompressed(stream) as plain:
            return b"".join(iter(lambda: plain.read(1 << 20), b""))

    def parse(text: bytes) -> list:
        raw = source.read(io.BytesIO(text), file)
        return [source.crystal(source.decode(entry)) for entry in raw]

    text, seconds["decompress"] = timed(read)
    crystals, seconds["parse"] = timed(lambda: parse(text))
    lines, seconds["reflections"] = timed(lambda: [reflections(crystal) for crystal in crystals])
    patterns, seconds["broadening"] = timed(lambda: broaden_in_batches(lines))
    groups, seconds["symmetry"] = timed(lambda: [space_group_number(c) for c in crystals])
    place = Path(tempfile.mkdtemp(dir=folder))
    made, seconds["file to store"] = timed(lambda: prepare("alexandria", [file], place))
    store_bytes = sum(
        made.store.column(c.removesuffix(".npy")).nbytes for c in made.store.manifest["columns"]
    )
    structures = structures_of(text)
    _, seconds["structure to pattern"] = timed(lambda: [simulate_pattern(s) for s in structures])
    return seconds, np.concatenate(patterns), np.array(groups), store_bytes


def structures_of(text: bytes) -> list:
    """The pymatgen structures of a file's text."""
    from pymatgen.core import Structure

    content = json.loads(text)
    entries = content["entries"] if isinstance(content, dict) else content
    return [Structure.from_dict(entry["structure"]) for entry in entries]


def time_reference(
    file: Path, folder: Path
) -> tuple[dict[str, float], np.ndarray, np.ndarray, list]:
    """CPU seconds of each stage; patterns; space groups; numbers of sites."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    calculator = XRDCalculator()
    grid = two_theta_grid()

    def smear(sticks) -> np.ndarray:
        distance = (grid - np.asarray(sticks.x)[:, None]) / SIGMA_DEG  # (R, 4250)
        pattern = (np.asarray(sticks.y)[:, None] * np.exp(-0.5 * distance**2)).sum(axis=0)
        return (pattern * (100 / pattern.max())).astype(np.float32)

    def space_group(structure) -> int:
        return SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number()

    seconds = {}
    text, seconds["decompress"] = timed(lambda: bz2.decompress(file.read_bytes()))
    structures, seconds["parse"] = timed(lambda: structures_of(text))
    sticks, seconds["reflections"] = timed(
        lambda: [calculator.get_pattern(s, two_theta_range=(5, 90)) for s in structures]
    )
    patterns, seconds["broadening"] = timed(lambda: np.stack([smear(s) for s in sticks]))
    groups, seconds["symmetry"] = timed(lambda: [space_group(s) for s in structures])
    _, seconds["write"] = timed(lambda: np.save(folder / "patterns.npy", patterns))
    seconds["file to store"] = sum(seconds.values())
    seconds["structure to pattern"] = seconds["reflections"] + seconds["broadening"]
    return seconds, patterns, np.array(groups), [len(s) for s in structures]


def compare(ours: dict[str, float], theirs: dict[str, float], n: int) -> dict[str, dict]:
    """Milliseconds an entry on both sides and how many times the reference takes longer."""
    return {
        stage: {
            "xxact_ms": ours[stage] * 1e3 / n,
            "reference_ms": theirs[stage] * 1e3 / n,
            "ratio": theirs[stage] / ours[stage],
        }
        for stage in ours
    }


def show(result: dict[str, Any]) -> None:
    """The table, one line a stage."""
    print(
        f"{result['n']} entries of {result['mean_sites']:.1f} sites on average "
        f"({result['store_bytes_per_entry']:.0f} bytes in the store), ms of CPU time an entry on "
        f"one core of {result['hardware']['name']}"
    )
    print(f"{'stage':22s} {'xxact':>9s} {'reference':>10s} {'ratio':>8s}")
    for stage, row in result["stages"].items():
        times = f"{row['xxact_ms']:9.4f} {row['reference_ms']:10.4f}"
        print(f"{stage:22s} {times} {row['ratio']:7.1f}x")
    print(
        f"largest difference of two patterns: {result['largest_pattern_difference']:.1e} of 100; "
        f"space groups that differ: {result['space_groups_that_differ']}"
    )


if __name__ == "__main__":
    main()
