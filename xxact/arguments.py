"""What public functions say of an argument that cannot be right: its name, what it has to be, and
what it was."""

from __future__ import annotations

import math
import numbers
import reprlib
from typing import Any

from xxact.errors import UserError

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def described(value: Any) -> str:
    """A value in a message: short, with its type, and its shape where it has one."""
    kind = type(value).__name__
    if value is None or isinstance(value, bool):
        return repr(value)
    if getattr(value, "shape", ()):
        return f"a {kind} of shape {tuple(value.shape)}"
    shown = str(value) if isinstance(value, numbers.Real) else _short.repr(value)
    return f"the {kind} {' '.join(shown.split())}"


def of_type(name: str, value: Any, kind: type | tuple[type, ...], what: str) -> None:
    """`UserError` unless `value` is of a kind; `what` it has to be is told in words."""
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {what}, got {described(value)}")


def real_number(name: str, value: Any, what: str, low: float, high: float) -> float:
    """`value` as a float if it is a number from `low` to `high`, else `UserError`."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    hint = ": a number is written without quotation marks" if _is_quoted(value) else ""
    raise UserError(f"{name} must be {what}, got {described(value)}{hint}")


def _is_quoted(value: Any) -> bool:
    """Whether a string holds a finite number."""
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False
