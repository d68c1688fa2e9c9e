"""Draw figures: python -m xxact.analysis.plots figure6 [--results DIR] [--scale S] [--out DIR]"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xxact import command
from xxact.analysis.plots import FIGURES
from xxact.analysis.provenance import ordered_scales, read_tree, tree_root
from xxact.errors import UserError

BY_KEY = {figure.key: figure for figure in FIGURES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what is asked for; exit code 2 where its results are absent."""
    parser = argparse.ArgumentParser(prog="python -m xxact.analysis.plots", description=__doc__)
    parser.add_argument("figures", nargs="+", choices=BY_KEY, metavar="FIGURE", help=str([*BY_KEY]))
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--scale", help="default: every scale that has results")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: figures/ in DIR")
    options = parser.parse_args(arguments)
    return command.run(lambda: _draw(options))


def _draw(options: argparse.Namespace) -> None:
    root = tree_root(options.results)
    read_tree(root)
    written = [
        path
        for scale in ([options.scale] if options.scale else ordered_scales(root))
        for key in options.figures
        for path in BY_KEY[key].draw(root, scale, (options.out or root / "figures") / scale)
    ]
    if not written:
        where = f"scale {options.scale}" if options.scale else "any scale"
        raise UserError(f"{root} has no results of {', '.join(options.figures)} at {where}")
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
