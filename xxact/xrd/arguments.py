"""Arguments of the public functions: named, with what they have to be and what they were."""

from __future__ import annotations

import math
from numbers import Real

from xxact.errors import UserError


def require_number(
    value: object, name: str, low: float, high: float = math.inf, unit: str = ""
) -> float:
    """`value` as a float if it is a finite number of at least `low` and at most `high`.

    `UserError` names the argument; a number in quotation marks is no number.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number and low <= value <= high and math.isfinite(value):
        return float(value)
    of = f" {unit}" if unit else ""
    span = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    hint = ""
    if isinstance(value, str):
        try:
            hint = f": write {float(value):g} without quotation marks"
        except ValueError:
            pass
    raise UserError(f"{name} must be a number {span}{of}, got {described(value)}{hint}")


def described(value: object) -> str:
    """A value for a message: its type and a short form of itself."""
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
