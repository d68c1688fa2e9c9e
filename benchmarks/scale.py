"""How the preparation of Alexandria scales: time, memory and bytes against the number of entries.

    python benchmarks/scale.py                                   # 1k, 10k, 100k, 200k entries
    python benchmarks/scale.py --entries 1000 5000 --scratch FOLDER

Writes synthetic releases (benchmarks/release.py) into a temporary folder, prepares each with
`xxact data prepare --source alexandria` in a process of its own, and extrapolates with the measured
slope to the 5,046,272 entries of the paper. Time is that of the processors (user and system, all
processes), so that other work on the machine disturbs it little; wall time is recorded beside it.
Memory is the largest sum of the resident sets of the command and its workers (from /proc: Linux
only); what they share counts for each of them. The largest release
takes about 0.5 kB an entry on disk, its store 1 kB, the shards as much again until they are merged;
all is removed at the end. Writes results/benchmarks/scale.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from machine import hardware
from release import write_release

PAPER_ENTRIES = 5_046_272
PACKAGES = ("numpy", "numba", "moyopy", "orjson")
POLL_S = 0.1
PAGE_BYTES = resource.getpagesize()


def main() -> None:
    """Measure, print the table, write the JSON."""
    arguments = parse_arguments()
    runs = []
    for n in sorted(arguments.entries):
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            print(f"{n:,} entries: writing the release", flush=True)
            files = write_release(Path(folder) / "release", n, arguments.seed, arguments.workers)
            runs.append(measure(files, Path(folder) / "store", n, arguments.workers))
        show_run(runs[-1])
    result = {
        "schema": 1,
        "seed": arguments.seed,
        "workers": arguments.workers,
        "runs": runs,
        "extrapolation": extrapolate(runs),
        "hardware": hardware(arguments.workers),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "command": "python benchmarks/scale.py",
    }
    show(result["extrapolation"])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {arguments.out}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = (1_000, 10_000, 100_000, 200_000)
    parser.add_argument("--entries", type=int, nargs="+", default=default, metavar="N")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where the files go meanwhile")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/scale.json"))
    arguments = parser.parse_args()
    if len(set(arguments.entries)) < 2:
        parser.error("--entries needs two different numbers at least, for a slope")
    return arguments


def measure(files: list[Path], store: Path, n: int, workers: int) -> dict[str, Any]:
    """Prepare a store from the files and measure it."""
    command = [sys.executable, "-m", "xxact", "data", "prepare", "--source", "alexandria"]
    command += ["--input", *map(str, files), "--out", str(store), "--workers", str(workers)]
    before, start = _children_cpu_s(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = _peak_memory(process)
    wall, cpu = time.monotonic() - start, _children_cpu_s() - before
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    manifest = json.loads((store / "manifest.json").read_text())
    return {
        "entries": n,
        "stored": manifest["n"],
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "peak_memory_bytes": peak,
        "store_bytes": sum(file.stat().st_size for file in store.iterdir()),
        "release_bytes": sum(file.stat().st_size for file in files),
        "mean_sites": round(float(np.load(store / "n_sites.npy", mmap_mode="r").mean()), 2),
    }


def _children_cpu_s() -> float:
    """User and system seconds of all processes that have ended under this one."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _peak_memory(process: subprocess.Popen) -> int:
    """Largest sum of the resident bytes of a process and its descendants until it ends."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_memory_bytes, _tree(process.pid))))
        time.sleep(POLL_S)
    return peak


def _tree(root: int) -> set[int]:
    """A process and its descendants."""
    parent = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parent[int(folder.name)] = int(fields[1])
    tree = {root}
    while more := {pid for pid, of in parent.items() if of in tree} - tree:
        tree |= more
    return tree


def _memory_bytes(pid: int) -> int:
    """Resident bytes of a process; 0 if it has just ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return 0


def extrapolate(runs: list[dict[str, Any]], entries: int = PAPER_ENTRIES) -> dict[str, Any]:
    """Straight lines through processor time and bytes, at the paper's number of entries.

    The slopes are of a least-squares fit weighted by 1/entries (a relative error of the same size
    everywhere), so that the offset, which is the start of the processes, comes out too.
    """
    n = np.array([run["entries"] for run in runs], float)

    def line(key: str) -> tuple[float, float]:
        slope, offset = np.polyfit(n, [run[key] for run in runs], 1, w=1 / n)
        return float(slope), float(offset)

    cpu, start = line("cpu_s")
    size, _ = line("store_bytes")
    return {
        "entries": entries,
        "cpu_ms_per_entry": cpu * 1e3,
        "start_cpu_s": start,
        "core_hours": (start + cpu * entries) / 3600,
        "store_bytes_per_entry": size,
        "store_bytes": size * entries,
    }


def show_run(run: dict[str, Any]) -> None:
    """One line about a run."""
    n = run["entries"]
    print(
        f"{n:>9,} entries of {run['mean_sites']:.1f} sites: {run['wall_s']:.1f} s, "
        f"{run['cpu_s'] / n * 1e3:.3f} ms of CPU an entry, "
        f"{run['peak_memory_bytes'] / 1e6:.0f} MB of memory at most, "
        f"{run['store_bytes'] / n:.0f} bytes an entry, {n - run['stored']} failed",
        flush=True,
    )


def show(line: dict[str, Any]) -> None:
    """What the runs extrapolate to."""
    print(
        f"{line['entries']:,} entries: {line['core_hours']:.2f} core-hours, "
        f"{line['store_bytes'] / 1e9:.2f} GB ({line['cpu_ms_per_entry']:.3f} ms and "
        f"{line['store_bytes_per_entry']:.0f} bytes an entry)"
    )


if __name__ == "__main__":
    main()
