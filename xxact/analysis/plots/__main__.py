"""Draw figures: python -m xxact.analysis.plots figure6 [--results DIR] [--scale S] [--out DIR]"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xxact.analysis.plots import FIGURES
from xxact.analysis.provenance import ordered_scales, read_tree, tree_root
from xxact.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what is asked for; exit code 2 where its results are absent."""
    by_key = {figure.key: figure for figure in FIGURES}
    parser = argparse.ArgumentParser(prog="python -m xxact.analysis.plots", description=__doc__)
    parser.add_argument("figures", nargs="+", choices=by_key, metavar="FIGURE", help=str([*by_key]))
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--scale", help="default: every scale that has results")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: DIR/figures")
    options = parser.parse_args(arguments)
    try:
        root = tree_root(options.results)
        read_tree(root)
        written = [
            path
            for scale in ([options.scale] if options.scale else ordered_scales(root))
            for key in options.figures
            for path in by_key[key].draw(
                root, scale, (options.out or options.results / "figures") / scale
            )
        ]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not written:
        where = f"scale {options.scale}" if options.scale else "any scale"
        print(
            f"error: {root} has no results of {', '.join(options.figures)} at {where}",
            file=sys.stderr,
        )
        return 2
    for path in written:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
