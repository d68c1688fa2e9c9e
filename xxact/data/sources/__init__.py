"""The sources by name. A new one is a module with a class as in `source.py`, and a line here.

`csv_files` and `cif_folder` read through `table`, `json_files` through `json_entries` (texts of
entries) and `json_structure` (their crystals), both on what `text` unpacks and decodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from xxact.data.sources.source import Columns, Input, Source

#: Module and function that makes the source. The module's `KNOWN` are the names for `--column`.
_MADE_BY = {
    "csv": ("csv_files", "csv_source"),
    "cifs": ("cif_folder", "cif_source"),
    "json": ("json_files", "json_source"),
    "alexandria": ("json_files", "alexandria_source"),
    "mini": ("csv_files", "mini_source"),
}
SOURCES = tuple(_MADE_BY)


def make_source(name: str, inputs: Sequence[Input], columns: Columns) -> Source:
    """The source `name` for these inputs; `UserError` if they do not suit it."""
    module, function = _MADE_BY[name]
    return getattr(import_module(f"{__name__}.{module}"), function)(inputs, columns)


def known_columns(name: str) -> Mapping[str, str]:
    """What may stand on the left of `--column`, and the canonical name of each."""
    return import_module(f"{__name__}.{_MADE_BY[name][0]}").KNOWN
