#!/usr/bin/env python
"""Build the embedded data set `mini`: crystals by substitution into prototypes, labelled by CHGNet.

    pip install -e ".[mini]"
    python tools/build_mini.py             # candidates, elements, finished files; can be resumed
    python tools/build_mini.py --finish    # write the files from what has been labelled so far

Every candidate that was tried is one line of JSON in the working folder (runs/mini-build/), so an
interrupted build goes on where it stopped. It takes about half an hour on two free cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEED, COUNT = 20250701, 8000


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=ROOT / "runs/mini-build", metavar="DIR")
    parser.add_argument("--out", type=Path, default=ROOT / "xxact/data/mini", metavar="DIR")
    parser.add_argument("--count", type=int, default=COUNT, help="candidates to try")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--hours", type=float, help="start no more crystals after this long")
    parser.add_argument("--finish", action="store_true", help="only write the files")
    arguments = parser.parse_args()
    if arguments.count < 1 or arguments.workers < 1:
        parser.error("--count and --workers have to be at least 1")
    return arguments


def work(arguments: argparse.Namespace, worker: int) -> None:
    """One process of the build."""
    from mini.candidates import affordable, load_prototypes, make_candidates
    from mini.work import run_worker

    candidates = make_candidates(load_prototypes(), arguments.count, arguments.seed)
    run_worker(affordable(candidates), arguments.work, worker, arguments.workers, arguments.hours)


def main() -> None:
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if not arguments.finish:
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(target=work, args=(arguments, i)) for i in range(arguments.workers)
        ]
        for process in workers:
            process.start()
        for process in workers:
            process.join()
        if any(process.exitcode for process in workers):
            raise SystemExit("a worker failed (see above); run the same command to go on")
    from mini.elements import relax_elements
    from mini.finish import finish

    relax_elements(arguments.work)
    finish(arguments)


if __name__ == "__main__":
    main()
