"""What the command line says of inputs and columns (`--input`, `--column`, `--target`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from xxact.data.sources.source import CLASS, Columns, Input, TargetColumn
from xxact.data.store import SPLITS
from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP, UNITS
from xxact.errors import UserError


def parse_inputs(texts: Sequence[str]) -> list[Input]:
    """Inputs of the form `FILE`, or `SPLIT=FILE` to keep a given split."""
    return [_parse_input(text) for text in texts]


def _parse_input(text: str) -> Input:
    match = re.fullmatch(r"([A-Za-z_]+)=(.+)", text)
    if match is None or Path(text).exists():
        return Input(Path(text))
    name = {"val": "validation", "valid": "validation"}.get(match[1].lower(), match[1].lower())
    if name not in SPLITS:
        raise UserError(
            f"--input {text}: there is no split '{match[1]}'; "
            f"the splits are: train, validation (or val), test, audit"
        )
    return Input(Path(match[2]), name)


def parse_columns(
    columns: Sequence[str], targets: Sequence[str], known: Mapping[str, str]
) -> Columns:
    """`OURS=THEIRS` and `NAME[:UNIT]=COLUMN` as typed; `known` maps the names that may be ours.

    Keys of `known` are what may stand on the left, its values the canonical names.
    """
    names = {}
    for text in columns:
        ours, equals, theirs = text.partition("=")
        if not equals or not theirs or ours not in known:
            raise UserError(
                f"--column {text}: write OURS=THEIRS, where OURS is one of "
                f"{', '.join(sorted(known))} (other regression targets: --target NAME:UNIT=COLUMN)"
            )
        if names.get(known[ours], theirs) != theirs:
            raise UserError(f"--column {text}: '{ours}' is '{names[known[ours]]}' already")
        names[known[ours]] = theirs
    parsed = tuple(_parse_target(text) for text in targets)
    for name, n in Counter([t.name for t in parsed] + [k for k in names if k in UNITS]).items():
        if n > 1:
            raise UserError(f"the target '{name}' is given twice; give each a name of its own")
    return Columns(names, parsed)


def _parse_target(text: str) -> TargetColumn:
    match = re.fullmatch(r"([a-z][a-z0-9_]*)(?::([^=]*))?=(?s:(.+))", text)
    if match is None or match[1] in (CRYSTAL_SYSTEM.name, SPACE_GROUP.name):
        raise UserError(
            f"--target {text}: write NAME:UNIT=COLUMN, e.g. bulk_modulus:GPa=K_VRH, or "
            f"NAME:{CLASS}=COLUMN for classes, with NAME in lower case, digits and underscores "
            "(crystal system and space group are computed)"
        )
    name, unit, column = match.groups()
    if unit == CLASS and name in UNITS:
        raise UserError(f"--target {text}: '{name}' is a number; give the classes another name")
    return TargetColumn(name, UNITS.get(name, "") if unit is None else unit.strip(), column)
