"""The command `xxact`: data, training, evaluation, results."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from xxact.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 2 after a user's error, 75 when stopped by a signal."""
    try:
        options = _parser().parse_args(arguments)
        return options.func(options) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    from xxact.analysis import cli as analysis
    from xxact.data import cli as data
    from xxact.experiments import cli as experiments

    parser = argparse.ArgumentParser(prog="xxact", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (data, experiments, analysis):
        room.add_parser(commands)
    return parser
