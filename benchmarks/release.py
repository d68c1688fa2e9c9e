"""A synthetic release in Alexandria's format: any number of entries, from the crystals of `mini`.

    python benchmarks/release.py --n 200000 --out FOLDER

Each entry is a crystal of `mini` with its elements exchanged for others of their columns and its
cell scaled to their size, give or take a percent: cells as large as Alexandria's, no two alike.
Labels, magnetic moments, charges and forces are drawn at random with the digits of the real ones,
so that the files compress and parse as those do. An entry depends on the seed and its number alone:
the first entries of a longer release are those of a shorter one. Files hold 100,000 entries, as
Alexandria's do; memory is flat, the work is spread over --workers processes.
"""

from __future__ import annotations

import argparse
import bz2
import functools
import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import orjson

from xxact.xrd.crystal import Crystal
from xxact.xrd.symmetry import space_group_number

PER_FILE = 100_000
BLOCK = 1000  # entries that one task makes: a bzip2 stream of about 4 MB
LARGEST = 83  # atomic number, beyond which elements are radioactive
SPREAD = 0.01  # of the length of a cell


def write_release(folder: Path, n: int, seed: int = 0, workers: int = 1) -> list[Path]:
    """Write entries 0 to n - 1 of the release of a seed; returns its files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for start in range(0, n, PER_FILE):
            file = folder / f"synthetic_{start // PER_FILE:03d}.json.bz2"
            with open(file, "wb") as stream:
                for block in _compressed(pool, start, min(n, start + PER_FILE), seed, workers):
                    stream.write(block)
            files.append(file)
    return files


def _compressed(
    pool: ProcessPoolExecutor, start: int, end: int, seed: int, workers: int
) -> Iterator[bytes]:
    """The bzip2 streams of a file in order, with at most a few blocks in memory."""
    tasks = iter(
        pool.submit(compressed_block, first, min(end, first + BLOCK), start, end, seed)
        for first in range(start, end, BLOCK)
    )
    waiting = list(islice(tasks, 2 * workers))
    while waiting:
        yield waiting.pop(0).result()
        waiting += islice(tasks, 1)


def compressed_block(first: int, last: int, start: int, end: int, seed: int) -> bytes:
    """Entries first to last - 1 of the file that holds start to end - 1, as a bzip2 stream."""
    entries = [orjson.dumps(entry(number, seed)) for number in range(first, last)]
    head = b'{"entries": [' if first == start else b""
    tail = b"]}\n" if last == end else b", "
    return bz2.compress(head + b", ".join(entries) + tail)


@functools.cache
def parents() -> list[tuple[Crystal, float]]:
    """The crystals of `mini` all of whose elements have relatives, and their energies."""
    from importlib import resources

    from xxact.data.sources.csv_files import csv_source
    from xxact.data.sources.source import Columns, Input

    path = Path(str(resources.files("xxact.data") / "mini" / "mini.csv.xz"))
    source = csv_source([Input(path)], Columns())
    names = [target.name for target in source.targets]
    energy = names.index("formation_energy_per_atom")
    with open(path, "rb") as stream:
        rows = [source.decode(raw) for raw in source.read(stream, path)]
    found = [(source.crystal(row), row.values[energy]) for row in rows]
    return [(c, e) for c, e in found if relatives().keys() >= set(c.atomic_numbers.tolist())]


@functools.cache
def space_group(parent: int) -> int:
    """Number of the space group of a parent, found when it is first asked for."""
    return space_group_number(parents()[parent][0])


@functools.cache
def relatives() -> dict[int, tuple[str, float, list[int]]]:
    """Symbol, radius (angstrom) and exchangeable elements of each atomic number up to 83."""
    from pymatgen.core import Element

    elements = [Element.from_Z(z) for z in range(1, LARGEST + 1)]
    elements = [e for e in elements if not e.is_noble_gas and e.symbol not in ("Tc", "Pm")]
    found = {}
    for one in elements:
        alike = [
            e.Z
            for e in elements
            if (e.Z == 1) == (one.Z == 1)  # hydrogen is far too small for any other's place
            and e.is_lanthanoid == one.is_lanthanoid
            and (e.group == one.group or e.is_lanthanoid)
        ]
        found[one.Z] = one.symbol, float(one.atomic_radius or 1.5), alike
    return found


def entry(number: int, seed: int) -> dict:
    """Entry `number` of the release of a seed, with the keys that Alexandria's have."""
    rng = np.random.default_rng([seed, number])
    parent = int(rng.integers(len(parents())))
    crystal, energy = parents()[parent]
    old = crystal.atomic_numbers
    new = _exchanged(old, rng)
    symbols, radius = zip(*(relatives()[z][:2] for z in new.tolist()), strict=True)
    growth = sum(r**3 for r in radius) / sum(relatives()[z][1] ** 3 for z in old.tolist())
    lattice = (crystal.lattice * (growth ** (1 / 3) * math.exp(SPREAD * rng.normal()))).round(8)
    name = f"agm{seed:03d}{number:09d}"
    amounts = {s: float(symbols.count(s)) for s in dict.fromkeys(symbols)}
    total = round(float(-4.5 * len(new) + rng.normal()), 8)
    return {
        "@module": "pymatgen.entries.computed_entries",
        "@class": "ComputedStructureEntry",
        "energy": total,
        "composition": amounts,
        "entry_id": None,
        "correction": round(float(rng.normal(scale=1e-6)), 14),
        "energy_adjustments": [
            {
                "@module": "pymatgen.entries.computed_entries",
                "@class": "ManualEnergyAdjustment",
                "@version": None,
                "value": round(float(rng.normal(scale=1e-6)), 14),
            }
        ],
        "parameters": {},
        "data": _data(name, amounts, space_group(parent), energy, total, rng),
        "structure": _structure(lattice, crystal.frac_coords.round(8), symbols, rng),
    }


def _exchanged(numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each element exchanged for one of its column, never two for the same."""
    new: dict[int, int] = {}
    for z in dict.fromkeys(numbers.tolist()):
        free = [other for other in relatives()[z][2] if other not in new.values()]
        new[z] = int(rng.choice(free))
    return np.array([new[z] for z in numbers.tolist()])


def _data(
    name: str,
    amounts: dict[str, float],
    space_group: int,
    energy: float,
    total: float,
    rng: np.random.Generator,
) -> dict:
    formula = "".join(f"{s}{int(n)}" if n > 1 else s for s, n in sorted(amounts.items()))
    stress = np.diag(rng.normal(size=3)).round(7)
    hull = round(float(abs(rng.normal(scale=0.1))), 9)
    gap = round(float(max(0.0, rng.normal())), 4)
    batch = f"database/batch-{rng.integers(100):03d}"
    return {
        "mat_id": name,
        "prototype_id": f"{formula}_spg{space_group}",
        "location": f"{batch}/{next(iter(amounts))}/{formula}/xxx_02s-00_{name}_spg{space_group}",
        "formula": formula,
        "elements": list(amounts),
        "spg": space_group,
        "nsites": int(sum(amounts.values())),
        "stress": stress.tolist(),
        "energy_total": total,
        "total_mag": round(float(rng.normal(scale=1e-3)), 7),
        "band_gap_ind": gap,
        "band_gap_dir": gap,
        "dos_ef": round(float(rng.normal(4, 2)), 7),
        "energy_corrected": round(total, 6),
        "e_above_hull": hull,
        "e_form": round(float(energy + rng.normal(scale=0.05)), 8),
        "e_phase_separation": hull,
        "decomposition": "".join(f" {symbol} " for symbol in amounts),
    }


def _structure(
    lattice: np.ndarray, coords: np.ndarray, symbols: tuple[str, ...], rng: np.random.Generator
) -> dict:
    """`Structure.as_dict()` of a crystal with the properties that Alexandria's sites have."""
    a, b, c = lengths = np.linalg.norm(lattice, axis=1)
    cosines = (
        lattice[1] @ lattice[2] / (b * c),
        lattice[0] @ lattice[2] / (a * c),
        lattice[0] @ lattice[1] / (a * b),
    )
    angles = [math.degrees(math.acos(cosine)) for cosine in cosines]
    cartesian = (coords @ lattice).tolist()
    charge = dict(zip(dict.fromkeys(symbols), rng.uniform(2, 12, len(symbols)), strict=False))
    moments = rng.normal(scale=0.01, size=len(symbols)).round(4).tolist()
    forces = rng.normal(scale=1e-3, size=(len(symbols), 3)).round(8).tolist()
    sites = [
        {
            "species": [{"element": symbol, "occu": 1}],
            "abc": coords[i].tolist(),
            "xyz": cartesian[i],
            "label": symbol,
            "properties": {
                "magmom": moments[i],
                "charge": round(float(charge[symbol]), 3),
                "forces": forces[i],
            },
        }
        for i, symbol in enumerate(symbols)
    ]
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": {
            "matrix": lattice.tolist(),
            "pbc": [True, True, True],
            **dict(zip("abc", lengths.tolist(), strict=True)),
            **dict(zip(("alpha", "beta", "gamma"), angles, strict=True)),
            "volume": float(abs(np.linalg.det(lattice))),
        },
        "sites": sites,
    }


def main() -> None:
    """Write a release and print its files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, required=True, help="entries")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args()
    if arguments.n < 1 or arguments.workers < 1:
        parser.error("--n and --workers have to be at least 1")
    for file in write_release(arguments.out, arguments.n, arguments.seed, arguments.workers):
        print(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
