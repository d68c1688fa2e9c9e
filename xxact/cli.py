"""The command `xxact`: data, training, evaluation, results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import xxact
from xxact import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 2 after a user's error, 75 when stopped by a signal."""

    def act() -> int | None:
        options = _parser().parse_args(arguments)
        return options.func(options)

    return command.run(act)


def _parser() -> argparse.ArgumentParser:
    from xxact.analysis import cli as analysis
    from xxact.data import cli as data
    from xxact.experiments import cli as experiments
    from xxact.inference import cli as inference

    parser = argparse.ArgumentParser(prog="xxact", description=__doc__)
    parser.add_argument("--version", action="version", version=f"xxact {xxact.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (data, experiments, analysis, inference):
        room.add_parser(commands)
    return parser
