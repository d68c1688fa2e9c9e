"""What a degraded pattern costs beside a plain one: milliseconds of CPU a batch, on one core.

python benchmarks/degradation.py            # a batch of 128, both sides in turn
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from xxact.xrd.broadening import broaden
from xxact.xrd.degradation import degrade
from xxact.xrd.instrument import draw

LINES = 300  # of a sample, at most: as many as 160 on average


def main() -> None:
    """Time both sides in turn and print the shortest of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=10, help="the best counts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    n = arguments.batch
    batch = make_batch(n)
    sides = {"broaden": lambda: broaden(*batch[:3], n), "degrade": lambda: degrade(*batch)}
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(arguments.repeats + 1):  # the first fills caches and is never the best
        for name, side in sides.items():
            best[name] = min(best[name], seconds(side))
    for name, value in best.items():
        ratio = value / best["broaden"]
        print(f"{name}  {1e3 * value:6.1f} ms for {n} samples  {ratio:.2f} x broaden")


def make_batch(n: int) -> tuple[torch.Tensor, ...]:
    """Reflections of random samples, in order, and what their measurements are made of."""
    rng = np.random.default_rng(0)
    row = np.repeat(np.arange(n), rng.integers(20, LINES, n))
    two_theta = rng.uniform(5, 90, len(row)).astype("f4")
    intensity = rng.exponential(size=len(row)).astype("f4") ** 3
    return tuple(map(torch.from_numpy, (two_theta, intensity, row, draw(0, n))))


def seconds(function: Callable[[], object]) -> float:
    """CPU seconds that a call takes."""
    start = time.process_time()
    function()
    return time.process_time() - start


if __name__ == "__main__":
    main()
