"""The published numbers: `published.yaml`, read. `Decimal` keeps the digits that were printed."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def published() -> dict[str, Any]:
    """The whole file, every value as the text that was printed."""
    source = resources.files("xxact.analysis") / "published.yaml"
    return yaml.load(source.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def printed(path: str) -> Decimal | None:
    """The number at a path as "table1/rows/fcn/energy"; None if the paper prints no such number."""
    found: Any = published()
    for key in path.split("/"):
        found = found.get(key) if isinstance(found, dict) else None
    return None if found is None else Decimal(found)
