"""What every command line of the project shares: numbers that are checked, errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from xxact.errors import MISTAKES, explained

#: Exit codes: a mistake that the message names; saved, start the same command again (EX_TEMPFAIL).
EXIT_MISTAKE, EXIT_STOPPED = 2, 75
#: The largest seed that every random generator in use takes.
LARGEST_SEED = 2**32 - 1


def run(action: Callable[[], int | None]) -> int:
    """The exit code of `action`; what a user can put right is one line on stderr, and code 2."""
    try:
        return action() or 0
    except BrokenPipeError:  # the reader of a pipe, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except MISTAKES as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        return EXIT_MISTAKE


def natural(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    return _whole(text, least=0)


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    return _whole(text, least=1)


def few(text: str) -> int:
    """A whole number from 1 to 1000, for argparse."""
    return _whole(text, least=1, most=1000)


def seed(text: str) -> int:
    """A whole number that random generators can start from, for argparse."""
    return _whole(text, least=0, most=LARGEST_SEED)


def _whole(text: str, least: int, most: int = 2**63 - 1) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None
    if not least <= number <= most:
        limits = f"at least {least}" if number < least else f"at most {most}"
        raise argparse.ArgumentTypeError(f"it has to be {limits}, and is {text}")
    return number
