"""`xxact train` and `xxact evaluate`: one run, on anyone's store."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from pathlib import Path

from xxact import command
from xxact.data.store import SPLITS, open_store
from xxact.errors import UserError
from xxact.experiments import predictions, suite
from xxact.experiments.spec import Row, read_spec, resolve
from xxact.experiments.suite import OwnRun
from xxact.files import write_atomically
from xxact.training.signals import StopFlag, Stopped


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the commands."""
    train = commands.add_parser(
        "train",
        help="train one row on a store of your own",
        description="Interrupted, the same command goes on where it stopped.",
    )
    train.add_argument("spec", type=Path, metavar="SPEC.yaml", help="as in experiments/table2/")
    train.add_argument("--scale", default="mini", help="sizes and epochs: experiments/scales/")
    train.add_argument("--data", type=Path, required=True, metavar="DIR", help="the store")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it is written")
    train.add_argument("--init", type=Path, metavar="RUN", help="folder of the run to start from")
    train.add_argument("--seed", type=command.seed, default=0, metavar="K")
    train.add_argument("--overwrite", action="store_true", help="delete the run in --out first")
    train.set_defaults(func=_train)

    evaluate = commands.add_parser("evaluate", help="score a trained run on a split of a store")
    evaluate.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    evaluate.add_argument("--data", type=Path, required=True, metavar="DIR", help="the store")
    evaluate.add_argument("--split", default="test", choices=(*reversed(SPLITS),))
    evaluate.add_argument(
        "--patterns",
        choices=("clean", "degraded"),
        help="degraded: as an instrument measures them; default: as the run was trained",
    )
    evaluate.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE.csv",
        help="write what is predicted for each sample; the store needs no targets for that",
    )
    evaluate.set_defaults(func=_evaluate)


def _train(options: argparse.Namespace) -> int:
    run = _own_run(options)
    if suite.state(run) == "done" and not options.overwrite:
        suite.check_identity(run, suite.identify(run, open_store(run.data)))
        raise UserError(
            f"{options.out} holds this run, finished; --overwrite trains it again, another --out"
            " keeps both"
        )
    with StopFlag():  # imports take seconds, in which a signal would end the process
        from xxact.experiments.execute import execute

        try:
            execute(run, overwrite=options.overwrite)
        except Stopped as stopped:
            print(f"\n{stopped}", file=sys.stderr)
            return command.EXIT_STOPPED
    print(f"result: {run.result_path}")
    if not run.is_baseline:
        print(f"weights: {run.model_path}\nxxact evaluate {run.folder} --data {run.data}")
    return 0


def _own_run(options: argparse.Namespace) -> OwnRun:
    """The run that the arguments describe. `UserError` names what they lack."""
    row = read_spec(options.spec, Row)
    spec = resolve(row, suite.load_scale(options.scale), str(options.spec))
    if spec.init and not options.init:
        raise UserError(f"{options.spec} starts from {spec.init}: name that run with --init RUN")
    run = OwnRun(
        name="own/" + re.sub(r"[^\w.-]", "_", options.spec.stem),
        scale=options.scale,
        seed=options.seed,
        spec=spec,
        root=options.out,
        data=options.data,
        given=options.spec,
        parent=options.init,
    )
    if run.init_path and not run.init_path.exists():
        raise UserError(f"{options.init} holds no finished run ({run.init_path.name} is missing)")
    return run


def _evaluate(options: argparse.Namespace) -> int:
    from xxact.training.trained import Trained

    store = open_store(options.data)
    trained = Trained(options.run, store)
    rows = store.indices(options.split)
    if not len(rows):
        raise UserError(f"{options.data} has no example in the split '{options.split}'")
    true = {target.name: trained.true_values(target) for target in trained.targets}
    true = {name: values[rows] for name, values in true.items() if values is not None}
    if not true and options.predictions is None:
        raise UserError(
            f"{options.data} has no values of {', '.join(t.name for t in trained.targets)}, so"
            " that there is no score; --predictions FILE.csv writes what the run predicts"
        )
    degraded = None if options.patterns is None else options.patterns == "degraded"
    outputs = trained.predict(rows, degraded)
    if options.predictions is not None:
        text = io.StringIO()
        lines = predictions.table(store.ids[rows], trained.targets, outputs, true)
        csv.writer(text, lineterminator="\n").writerows(lines)
        write_atomically(options.predictions, text.getvalue().encode())
        print(f"{len(rows)} predictions: {options.predictions}", file=sys.stderr)
    print(json.dumps({options.split: trained.score(outputs, true)}, indent=1))
    return 0
