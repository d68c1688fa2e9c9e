"""`xxact train` and `xxact evaluate`: one run, on anyone's store."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from xxact.errors import UserError
from xxact.experiments import suite
from xxact.experiments.local import EXIT_STOPPED
from xxact.experiments.spec import Row, read_spec, resolve
from xxact.training.spec import RunSpec


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the commands."""
    train = commands.add_parser("train", help="train one row on a store of your own")
    train.add_argument("spec", type=Path, metavar="SPEC.yaml", help="as in experiments/table2/")
    train.add_argument("--scale", default="mini", help="sizes and epochs: experiments/scales/")
    train.add_argument("--data", type=Path, required=True, metavar="DIR", help="the store")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it is written")
    train.add_argument("--init", type=Path, metavar="RUN", help="folder of the run to start from")
    train.add_argument("--seed", type=int, default=0, metavar="K")
    train.set_defaults(func=_train)

    evaluate = commands.add_parser("evaluate", help="score a trained run on a part of a store")
    evaluate.add_argument("run", type=Path, metavar="RUN", help="folder that holds model.pt")
    evaluate.add_argument("--data", type=Path, required=True, metavar="DIR", help="the store")
    evaluate.add_argument(
        "--part", default="test", choices=("train", "validation", "test", "audit")
    )
    evaluate.set_defaults(func=_evaluate)


def _train(options: argparse.Namespace) -> int:
    from xxact.data.store import open_store
    from xxact.training.loop import Training
    from xxact.training.progress import Progress
    from xxact.training.signals import Stopped

    row = read_spec(options.spec, Row)
    spec = resolve(row, suite.load_scale(options.scale), str(options.spec))
    if not isinstance(spec, RunSpec):
        raise UserError(
            f"{options.spec} is a baseline, which leaves no weights; run.py beside it fits it to a"
            " store of your own with --data DIR"
        )
    if spec.init and not options.init:
        raise UserError(f"{options.spec} starts from {spec.init}: name that run with --init RUN")
    init = options.init / "model.pt" if options.init else None
    store = open_store(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    if (options.out / "model.pt").exists():
        raise UserError(f"{options.out} holds a finished run: choose another --out, or delete it")
    training = Training(spec, store, options.out, options.seed, init)
    try:
        training.run(Progress(options.out))
    except Stopped as stopped:
        print(f"\n{stopped}", file=sys.stderr)
        return EXIT_STOPPED
    training.forget_checkpoint()
    print(f"trained: {training.model_path}\nxxact evaluate {options.out} --data {options.data}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from xxact.data.store import open_store
    from xxact.training.trained import load_trained

    store = open_store(options.data)
    task, engine = load_trained(options.run, store)
    rows = store.indices(options.part)
    if not len(rows):
        raise UserError(f"{options.data} has no example in the part '{options.part}'")
    print(json.dumps({options.part: task.score(engine, rows)}, indent=1))
    return 0
