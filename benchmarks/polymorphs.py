"""What patterns leave open of the energies within a formula: polymorphs whose patterns are alike.

    python benchmarks/polymorphs.py                       # the stores of mini and of mp
    python benchmarks/polymorphs.py --data runs/data/mini

The variance of energies within formulas is the sum of d^2 / n over all pairs of crystals of a
formula, d being the difference of their energies and n their number. Of pairs whose patterns are
hardly to be told apart (cosine of the square roots of the intensities), the mean of d^2 against
that of all pairs is the share of that variance which no reader of patterns explains: noise of the
labels, and what a pattern does not resolve. Writes results/benchmarks/polymorphs.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from xxact.data.batches import DeviceStore
from xxact.data.store import Store, open_store
from xxact.files import write_atomically

TARGET = "formation_energy_per_atom"
#: Lowest cosine of each row; the row above it begins where it ends.
BOUNDS = (0.99, 0.97, 0.95, 0.9, 0.8, 0.6, 0.0)
LARGEST = 64  # crystals of a formula that are looked at, at most
TOGETHER = 512  # crystals whose patterns are made together, at least
RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "polymorphs.json"


def main() -> None:
    """Measure each store, print its rows, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = [Path("runs/data/mini"), Path("data/mp")]
    parser.add_argument("--data", type=Path, nargs="+", default=default, metavar="STORE")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    rows = [row for path in arguments.data for row in by_likeness(open_store(path))]
    for row in rows:
        shown = "{data:8s} {least:4.2f} to {below:4.2f} {pairs:7,d} pairs {left_open:7.1%} left"
        print(shown.format(**row))
    write_atomically(arguments.out, json.dumps({"schema": 1, "rows": rows}, indent=1).encode())


def by_likeness(store: Store) -> list[dict[str, object]]:
    """A row for each of `BOUNDS`: pairs whose cosine is at least that, and below the one before."""
    crystals = DeviceStore(store, cache_bytes=0)
    parts = [pairs(crystals, groups) for groups in polymorphs(store)]
    cosine, difference, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    square = (1e3 * difference) ** 2  # (meV/atom)^2
    mean = np.average(square, weights=weight)
    rows = []
    for least, below in zip(BOUNDS, (np.inf, *BOUNDS), strict=False):
        own = (cosine >= least) & (cosine < below)  # rounding may exceed 1
        if not own.any():
            continue
        found = np.average(square[own], weights=weight[own])
        rows.append(
            {
                "data": store.name,
                "content_sha256": store.content_sha256,
                "least": least,
                "below": min(below, 1.0),
                "pairs": int(own.sum()),
                "median_mev": float(np.sqrt(np.median(square[own]))),
                "root_mean_square_mev": float(np.sqrt(found)),
                "left_open": float(found / mean),
            }
        )
    return rows


def polymorphs(store: Store) -> Iterator[list[np.ndarray]]:
    """Indices of the labelled crystals of each formula with two or more, some formulas a time."""
    labelled = np.flatnonzero(np.isfinite(store.values(TARGET)))
    keys = store.formula_keys()[labelled]
    order = np.argsort(keys, kind="stable")
    groups = np.split(labelled[order], np.flatnonzero(np.diff(keys[order])) + 1)
    chosen = [group[:LARGEST] for group in groups if len(group) > 1]
    place = np.cumsum([len(group) for group in chosen]) // TOGETHER
    for part in np.split(np.arange(len(chosen)), np.flatnonzero(np.diff(place)) + 1):
        yield [chosen[k] for k in part]


def pairs(crystals: DeviceStore, groups: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Cosine, difference of the energies in eV/atom, and 1 / n of each pair within a group."""
    rows = np.concatenate(groups)
    patterns = torch.nn.functional.normalize(crystals.gather(rows).pattern.sqrt())  # (n, 4250)
    energy = crystals.store.values(TARGET)[rows].astype(float)
    found, start = [], 0
    for group in groups:
        own = slice(start, start := start + len(group))
        first, second = np.triu_indices(len(group), 1)
        cosine = (patterns[own] @ patterns[own].T).numpy()[first, second]
        difference = energy[own][first] - energy[own][second]
        found.append((cosine, difference, np.full(len(first), 1 / len(group))))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


if __name__ == "__main__":
    main()
