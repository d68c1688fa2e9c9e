"""What is declared in YAML beside the code; above all the published numbers, as printed."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def declared(name: str, loader: type = yaml.SafeLoader) -> dict[str, Any]:
    """The content of `<name>.yaml` of this package."""
    source = resources.files("xxact.analysis") / f"{name}.yaml"
    return yaml.load(source.read_text(encoding="utf-8"), Loader=loader)


def published() -> dict[str, Any]:
    """The published numbers, every one as the text that was printed."""
    return declared("published", yaml.BaseLoader)


def printed(path: str) -> Decimal | None:
    """The number at a path as "table1/rows/fcn/energy"; None if the paper prints no such number.

    `Decimal` keeps the digits that were printed.
    """
    found: Any = published()
    for key in path.split("/"):
        found = found.get(key) if isinstance(found, dict) else None
    return None if found is None else Decimal(found)
