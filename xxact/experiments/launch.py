"""`python experiments/<table>/run.py`: the plan of a table, shown or carried out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from xxact.data.store import open_store
from xxact.errors import UserError
from xxact.experiments import local, suite
from xxact.experiments.suite import REPOSITORY, Run
from xxact.training.progress import format_seconds


def main(script: str, arguments: Sequence[str] | None = None) -> int:
    """Entry point of a table's `run.py`; `script` is its path. Returns the exit code."""
    table = Path(script).resolve().parent.name
    options = _parser(table).parse_args(arguments)
    try:
        return _run(table, options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser(table: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python experiments/{table}/run.py",
        description=f"Runs of {table}. Without --local or --submit: show the plan and stop.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--local", action="store_true", help="train what is missing, here")
    where.add_argument("--submit", action="store_true", help="train what is missing on SLURM")
    parser.add_argument("--scale", default="mini", help="mini, mp-small, mp or paper")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows, with what they need")
    parser.add_argument("--data", type=Path, metavar="DIR", help="store in place of the scale's")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs", metavar="DIR")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=0, metavar="K", help="this one seed")
    seeds.add_argument("--seeds", type=int, metavar="N", help="each of the seeds 0 to N-1")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time; default: one a core, one on a GPU"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan only")
    parser.add_argument(
        "--overwrite", action="store_true", help="delete finished results of the chosen rows first"
    )
    return parser


def _run(table: str, options: argparse.Namespace) -> int:
    if options.submit:
        raise UserError("--submit is not there yet: use --local on a machine of your own")
    rows = [f"{table}/{row}" for row in options.only] if options.only else suite.row_names(table)
    seeds = range(options.seeds) if options.seeds else [options.seed]
    runs = suite.plan(rows, options.scale, seeds, options.runs, options.data)
    if options.dry_run or not options.local:
        _show_plan(runs, options)
        return 0
    store = open_store(_prepared(runs[0].data, options))
    if options.overwrite:
        for run in runs:
            if run.name in rows:
                suite.discard(run)
    for run in runs:
        suite.check_provenance(run, store.sha256)
    todo = suite.unfinished(runs)
    print(f"{len(runs) - len(todo)} of {len(runs)} runs are done", file=sys.stderr)
    return local.train(todo, store, options.jobs or local.default_jobs())


def _show_plan(runs: Sequence[Run], options: argparse.Namespace) -> None:
    """One line a run: state, what it starts from, what it cost when it was last committed."""
    print(f"scale {options.scale}, data {runs[0].data}, runs in {options.runs}\n")
    print(f"{'run':<38} {'state':<22} {'starts from':<30} measured cost")
    for run in runs:
        cost = suite.measured_cost(run)
        price = f"{format_seconds(cost['wall_s'])} on {cost['hardware']}" if cost else "no figure"
        print(f"{run.label:<38} {suite.state(run):<22} {run.spec.init or '-':<30} {price}")
    todo = suite.unfinished(runs)
    print(f"\n{len(todo)} of {len(runs)} to train; --local does it on this machine")


def _prepared(data: Path, options: argparse.Namespace) -> Path:
    """The scale's store; the embedded data set is prepared unless that is done already."""
    scale = suite.load_scale(options.scale)
    if options.data is not None:
        return data
    if "--source mini" in scale.prepare:
        from xxact.data.prepare import prepare

        prepare("mini", [], data, workers=len(os.sched_getaffinity(0)), overwrite=True)
    elif not data.is_dir():
        raise UserError(
            f"scale '{options.scale}' needs the data set {data}, which is not there; make it"
            f" with:\n  {scale.prepare}\nor name your own with --data DIR"
        )
    return data
