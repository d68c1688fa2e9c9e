"""The published numbers: `published.yaml`, read. `Decimal` keeps the digits that were printed."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def published() -> dict[str, Any]:
    """The whole file: tables by name, every value as the text that was printed."""
    source = resources.files("xxact.analysis") / "published.yaml"
    return yaml.load(source.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def printed(*keys: str) -> Decimal | None:
    """The number under `keys`, e.g. ("table1", "rows", "fcn", "energy"); None if there is none."""
    found: Any = published()
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    try:
        return Decimal(found)
    except (InvalidOperation, TypeError) as error:
        raise ValueError(f"published.yaml: {'.'.join(keys)} is {found!r}, not a number") from error


def by_class(table: str, row: str, column: str) -> Decimal | None:
    """A number of Table 4 or 5: the one of `column` in the list of `row`."""
    numbers = published()[table]
    if row not in numbers["rows"] or column not in numbers["columns"]:
        return None
    values = dict(zip(numbers["columns"], numbers["rows"][row], strict=True))
    return Decimal(values[column])
