"""`python experiments/<table>/run.py`: the plan of a table, shown or carried out."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from xxact import command
from xxact.data.store import Store, open_store
from xxact.errors import UserError
from xxact.experiments import local, suite
from xxact.experiments.cluster import Cluster
from xxact.experiments.spec import read_spec
from xxact.experiments.suite import REPOSITORY, Run
from xxact.terminal import format_seconds


def main(script: str, arguments: Sequence[str] | None = None, scale: str = "mini") -> int:
    """Entry point of a table's `run.py`; `script` is its path. Returns the exit code.

    `scale` is the one that is meant where none is named.
    """
    table = Path(script).resolve().parent.name
    options = _parser(table, scale).parse_args(arguments)
    return command.run(lambda: _run(table, options))


def _parser(table: str, scale: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python experiments/{table}/run.py",
        description=f"Runs of {table}. Without --local or --submit: show the plan and stop.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--local", action="store_true", help="train what is missing, here")
    where.add_argument("--submit", action="store_true", help="train what is missing on SLURM")
    where.add_argument("--status", action="store_true", help="how far each submitted run is")
    where.add_argument("--cancel", action="store_true", help="take submitted runs back")
    parser.add_argument(
        "--cluster",
        type=Path,
        default=REPOSITORY / "slurm" / "h100.yaml",
        metavar="FILE",
        help="profile of the cluster that --submit uses; default: slurm/h100.yaml",
    )
    parser.add_argument(
        "--scale",
        default=scale,
        help=f"a file of experiments/scales/, as mp-small; default: {scale}",
    )
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows, with what they need")
    parser.add_argument("--data", type=Path, metavar="DIR", help="store in place of the scale's")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs", metavar="DIR")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=command.seed, default=0, metavar="K", help="this one seed")
    seeds.add_argument(
        "--seeds", type=command.few, metavar="N", help="each of the seeds 0 to N-1, at most 1000"
    )
    parser.add_argument(
        "--jobs",
        type=command.positive,
        metavar="N",
        help="runs at a time; default: one a core, one on a GPU",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show the plan only; of --submit the scripts too",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="delete results of the chosen rows first, and of rows that started from them",
    )
    return parser


def _run(table: str, options: argparse.Namespace) -> int:
    rows = [f"{table}/{row}" for row in options.only] if options.only else suite.row_names(table)
    seeds = range(options.seeds) if options.seeds else [options.seed]
    runs = suite.plan(rows, options.scale, seeds, options.runs, options.data)
    cluster = read_spec(options.cluster, Cluster) if options.submit else None
    if options.status or options.cancel:
        return _show_status(runs) if options.status else _cancel(runs)
    if options.dry_run or not (options.local or options.submit):
        _show_plan(runs, options)
        if options.dry_run:
            from xxact.experiments import cost

            print(f"\n{cost.table(runs)}")
        if cluster:
            _show_scripts(runs, cluster)
        return 0
    store = open_store(_prepared(runs[0].data, options))
    if options.overwrite:
        _discard([run for run in runs if run.name in rows], store)
    for run in runs:
        suite.check_identity(run, suite.identify(run, store))
    todo = suite.unfinished(runs)
    print(f"{len(runs) - len(todo)} of {len(runs)} runs are done", file=sys.stderr)
    if cluster:
        return _submit(table, todo, cluster, options)
    return local.train(todo, store, options.jobs or local.default_jobs())


def _discard(runs: Sequence[Run], store: Store) -> None:
    """Delete what the runs left behind, and what others made of their weights.

    `UserError` if a job of one waits or runs, or if they could not be trained on `store`.
    """
    from xxact.experiments import status
    from xxact.experiments.execute import check_data

    for run in runs:
        check_data(run, store)

    chosen = {run.result_path for run in runs}
    heirs = {heir.result_path: heir for run in runs for heir in suite.heirs(run)}
    others = [heir for path, heir in heirs.items() if path not in chosen and suite.is_there(heir)]
    if status.active_jobs([*runs, *others]):
        raise UserError("jobs of these runs are in the queue: --cancel them before --overwrite")
    for run in [*filter(suite.is_there, runs), *others]:
        suite.discard(run)
    for heir in others:
        print(f"{heir.label} is deleted too: it started from {heir.spec.init}", file=sys.stderr)


def _submit(table: str, todo: Sequence[Run], cluster: Cluster, options: argparse.Namespace) -> int:
    """Submit what is not in the queue yet, and say how to follow it."""
    from xxact.experiments import status, submit

    queued = status.active_jobs(todo)
    new = [run for run in todo if run.model_path not in queued]
    if queued:
        print(f"{len(queued)} runs are in the queue already", file=sys.stderr)
    submitted = submit.submit(new, queued, cluster)
    if submitted:
        print(f"{'run':<42} {'job':<10} log")
    for run, job in submitted:
        print(f"{run.label:<42} {job.id:<10} {submit.log_folder(run)}/{job.id}_0_log.err")
    again = f"python experiments/{table}/run.py {_chosen(options)}"
    print(f"\nhow far they are:  {again} --status\nto take them back:  {again} --cancel")
    return 0


def _chosen(options: argparse.Namespace) -> str:
    """The options that say which runs are meant."""
    words = ["--scale", options.scale]
    if options.only:
        words += ["--only", *options.only]
    if options.seeds or options.seed:
        words += ["--seeds", options.seeds] if options.seeds else ["--seed", options.seed]
    if options.runs != REPOSITORY / "runs":
        words += ["--runs", options.runs]
    return shlex.join(map(str, words))


def _show_scripts(runs: Sequence[Run], cluster: Cluster) -> None:
    """The batch scripts that --submit would hand to sbatch."""
    from xxact.experiments import status, submit

    todo = suite.unfinished(runs)
    queued = status.active_jobs(todo)
    for run in todo:
        if run.model_path in queued:
            print(f"\n# {run.label}: in the queue already, job {queued[run.model_path].id}")
        else:
            print(f"\n# {run.label}\n{submit.batch_script(run, queued, cluster)}")


def _show_status(runs: Sequence[Run]) -> int:
    from xxact.experiments import status

    for run, words in status.describe(runs).items():
        print(f"{run.label:<42} {words}")
    return 0


def _cancel(runs: Sequence[Run]) -> int:
    from xxact.experiments import status

    cancelled = status.cancel(runs)
    for run, job in cancelled:
        print(f"{run.label:<42} job {job.id} cancelled")
    print(f"{len(cancelled)} jobs cancelled")
    return 0


def _show_plan(runs: Sequence[Run], options: argparse.Namespace) -> None:
    """One line a run: state, what it starts from, what it cost when it was last committed."""
    print(f"scale {options.scale}, data {runs[0].data}, runs in {options.runs}\n")
    print(f"{'run':<42} {'state':<22} {'starts from':<30} measured cost")
    for run in runs:
        cost = suite.measured_cost(run)
        price = f"{format_seconds(cost['wall_s'])} on {cost['hardware']}" if cost else "no figure"
        print(f"{run.label:<42} {suite.state(run):<22} {run.spec.init or '-':<30} {price}")
    todo = suite.unfinished(runs)
    print(
        f"\n{len(todo)} of {len(runs)} to train; --local does it on this machine, --submit on SLURM"
    )


def _prepared(data: Path, options: argparse.Namespace) -> Path:
    """The scale's store; the embedded data set is prepared unless that is done already."""
    scale = suite.load_scale(options.scale)
    if options.data is not None:
        return data
    if "--source mini" in scale.prepare:
        from xxact.data.prepare import prepare

        cores = len(os.sched_getaffinity(0))
        prepare("mini", [], data, workers=cores, overwrite=True, wait=True)
    elif not data.is_dir():
        raise UserError(
            f"scale '{options.scale}' needs the data set {data}, which is not there; make it"
            f" with:\n  {scale.prepare}\nor name your own with --data DIR"
        )
    return data
