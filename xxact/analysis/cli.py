"""The commands that read results: figures, report, compare, results adopt."""

from __future__ import annotations

import argparse
from pathlib import Path

RESULTS = Path("results")
RUNS = Path("runs")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the commands."""
    figures = commands.add_parser("figures", help="tables and figures from result JSON")
    _add_trees(figures)
    figures.set_defaults(func=_figures)

    report = commands.add_parser("report", help="one HTML page with everything")
    _add_trees(report)
    report.set_defaults(func=_report)

    compare = commands.add_parser("compare", help="does a rerun agree with the committed results?")
    compare.add_argument("rerun", type=Path, nargs="?", default=RUNS, metavar="RUNS")
    compare.add_argument("committed", type=Path, nargs="?", default=RESULTS, metavar="RESULTS")
    compare.set_defaults(func=_compare)

    results = commands.add_parser("results", help="manage the committed results")
    adopt = results.add_subparsers(required=True, metavar="ACTION").add_parser(
        "adopt", help="copy finished result JSON from your runs; checkpoints stay behind"
    )
    adopt.add_argument(
        "runs", nargs="*", metavar="RUN", help="table2/none, 'table2/*', 'mini/*'; default: all"
    )
    adopt.add_argument("--from", dest="source", type=Path, default=RUNS, metavar="DIR")
    adopt.add_argument("--to", dest="target", type=Path, default=RESULTS, metavar="DIR")
    adopt.add_argument("--overwrite", action="store_true", help="replace differing results")
    adopt.set_defaults(func=_adopt)


def _add_trees(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help="the tree to show, also where the output goes (default: results)",
    )
    parser.add_argument(
        "--committed",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help="the tree in the column 'committed'; another --results is 'yours' (default: results)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write here instead")
    parser.add_argument(
        "--strict", action="store_true", help="fail and list what is missing at scale mini"
    )


def _trees(options: argparse.Namespace) -> tuple[Path, Path | None, Path]:
    """The committed tree, the tree of one's own if --results names another, and where to write."""
    from xxact.analysis.provenance import tree_root

    committed, shown = tree_root(options.committed), tree_root(options.results)
    yours = None if shown.resolve() == committed.resolve() else shown
    return committed, yours, options.out or shown


def _figures(options: argparse.Namespace) -> int:
    """Write every table and figure, and print Table 2 of each scale (a benchmark's first)."""
    from xxact.analysis import figures, render

    written = []
    for done in figures.write_all(*_trees(options)):
        written.append(done)
        table2 = [view for view in done.views if view.table.key == "table2"]
        print(render.terminal((table2 or done.views)[0]), end="\n\n")
        _print_written(done)
    if options.strict:
        figures.check_complete(written)
    return 0


def _report(options: argparse.Namespace) -> int:
    """Write every table, figure and the page that holds them."""
    from xxact.analysis import figures, report

    path, written = report.write_report(*_trees(options))
    for done in written:
        _print_written(done)
    print(f"wrote {path}")
    if options.strict:
        figures.check_complete(written)
    return 0


def _print_written(done) -> None:
    suffixes: dict[Path, list[str]] = {}
    for path in [*done.tables, *(p for paths in done.figures.values() for p in paths)]:
        suffixes.setdefault(path.with_suffix(""), []).append(path.suffix[1:])
    for stem, found in suffixes.items():
        print(f"wrote {stem}.{{{','.join(found)}}}")
    if done.missing:
        print(f"not run at scale {done.scale}: {len(done.missing)} cells and figures")
    print()


def _compare(options: argparse.Namespace) -> int:
    """Print each score of the rerun beside the committed one; exit code 1 if any disagrees."""
    from xxact.analysis import compare

    rows = compare.compare(options.rerun, options.committed)
    print(compare.render(rows))
    return int(rows["verdict"].isin([compare.OUTSIDE, compare.OTHER_SPEC]).any())


def _adopt(options: argparse.Namespace) -> int:
    """Copy results and say what became of each file."""
    from xxact.analysis.adopt import adopt

    for adopted in adopt(options.source, options.target, options.runs, options.overwrite):
        print(f"{adopted.state} {adopted.target}")
    return 0
