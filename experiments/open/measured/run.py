"""Score a bundle on measured patterns: python experiments/open/measured/run.py --help"""

import argparse
import json
import sys
from pathlib import Path

from xxact import command
from xxact.files import write_atomically


def main() -> int:
    """Write the scores as JSON and print those of all patterns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with patterns.npz and labels.csv")
    parser.add_argument("--model", type=Path, help="a bundle or a finished run (default: shipped)")
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="finished runs that read the pattern alone, to be scored beside it",
    )
    parser.add_argument("--data", type=Path, help="store of the training: tells known phases apart")
    parser.add_argument(
        "--all", action="store_true", help="films, mixtures and doubtful phases too"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.json")
    options = parser.parse_args()

    from xxact.data.store import open_store
    from xxact.inference.benchmark import benchmark, beside, read_entries
    from xxact.inference.predictor import Predictor
    from xxact.terminal import StatusLine

    status = StatusLine(redraw_s=0.2, print_s=10.0)
    entries = read_entries(options.folder, options.all)
    store = open_store(options.data) if options.data else None
    found = benchmark(
        Predictor(options.model),
        entries,
        store,
        lambda done: status.show(f"{done} patterns") if status.is_due else None,
    )
    # scale/table/row/seed of a run of the suite
    others = {"/".join(run.resolve().parts[-4:]): Predictor(run) for run in options.beside}
    found["beside"] = beside(others, entries, store)
    write_atomically(options.out, json.dumps(found, indent=1).encode())
    for name in ("with_formula", "pattern_only"):
        print(name, json.dumps(found[name]["all"]))
    for name, scores in found["beside"].items():
        print(name, json.dumps(scores["all"]))
    print(f"scores: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
