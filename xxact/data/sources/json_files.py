"""JSON files of crystals: pymatgen structures, Materials Project, JARVIS and Alexandria documents.

The layouts are told apart by what a row holds. Keys may be paths: `symmetry.number` is the key
`number` of the object under `symmetry`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from xxact.data.sources.json_entries import Entries, is_entry, parse_json
from xxact.data.sources.json_structure import crystal_from_dict
from xxact.data.sources.source import (
    Columns,
    Input,
    RawRow,
    Row,
    RowError,
    TargetColumn,
    UnreadableInput,
    read_each,
    read_space_group,
    wanted_targets,
)
from xxact.data.targets import UNITS
from xxact.errors import UserError
from xxact.xrd.crystal import Crystal

#: Left sides that `--column` takes, and the value each stands for.
KNOWN = {name: name for name in UNITS} | {
    "id": "material_id",
    "material_id": "material_id",
    "spacegroup.number": "spacegroup.number",
    "space_group": "spacegroup.number",
}

#: Rows of a file that are looked at to tell its layout and which targets it has.
_LOOKED_AT = 100
_ID = re.compile(rb'"(?:mat_id|material_id|jid|id)"\s*:\s*"([^"\\]+)"')


@dataclass(frozen=True)
class Layout:
    """Where the documents of one source keep things.

    targets: the key of each known target. within: the object that keys are looked up in, if it is
    not the row itself; the structure always is in the row.
    """

    name: str
    id: str
    structure: str
    space_group: str
    targets: dict[str, str]
    within: str = ""


ALEXANDRIA = Layout(
    "alexandria",
    "mat_id",
    "structure",
    "spg",
    {"formation_energy_per_atom": "e_form", "band_gap": "band_gap_ind"},
    within="data",
)
JARVIS = Layout(
    "jarvis",
    "jid",
    "atoms",
    "spg_number",
    {
        "formation_energy_per_atom": "formation_energy_peratom",
        "band_gap": "optb88vdw_bandgap",
        "bulk_modulus": "bulk_modulus_kv",
    },
)
MATERIALS_PROJECT = Layout(
    "materials_project",
    "material_id",
    "structure",
    "symmetry.number",
    {
        "formation_energy_per_atom": "formation_energy_per_atom",
        "band_gap": "band_gap",
        "bulk_modulus": "bulk_modulus.vrh",
    },
)
PYMATGEN = Layout("pymatgen", "id", "structure", "spacegroup.number", {n: n for n in UNITS})


@dataclass(frozen=True)
class JsonSource:
    """Entries of JSON files; see `Source` for the methods."""

    layout: Layout
    targets: tuple[TargetColumn, ...]
    id_key: str
    space_group_key: str
    kind: str = "composition+xrd"
    has_source_space_group: bool = True

    def settings(self) -> dict:
        """Which keys are read as what."""
        return {
            "source": self.layout.name,
            "id": self.id_key,
            "space_group": self.space_group_key,
            "targets": [[t.name, t.unit, t.column] for t in self.targets],
        }

    def read(self, stream: IO[bytes], path: Path) -> Iterator[RawRow]:
        """The text of each entry, cut out of the stream, with the name it stands under."""
        for number, entry in enumerate(Entries(stream), start=1):
            place = f"{path.name}#{number}"
            if entry.fault:
                name = entry.name or _seeming_id(entry.text, place)
                yield RawRow(name, None, "invalid_json", entry.fault)
            else:
                yield RawRow(place, (entry.name, entry.text))

    def decode(self, raw: RawRow) -> Row:
        """Id, values and structure of an entry; `RowError` where they are missing."""
        name, text = raw.content
        try:
            entry = parse_json(text)
        except RowError as error:
            identifier = name or _seeming_id(text, raw.id)
            raise RowError(error.reason, str(error), identifier) from error
        within = self.layout.within
        data = entry.get(within) if within else entry
        if not isinstance(data, dict):
            raise RowError("invalid_entry", f"the entry has no '{within}'", name or None)
        identifier = _identifier(_look_up(data, self.id_key), self.id_key, name)
        values = tuple(t.value(_look_up(data, t.column), identifier) for t in self.targets)
        space_group = read_space_group(_look_up(data, self.space_group_key))
        return Row(identifier, _structure(entry, self.layout), values, space_group)

    def crystal(self, row: Row) -> Crystal:
        """The structure of an entry, from its dictionary."""
        return crystal_from_dict(row.content)


def json_source(inputs: Sequence[Input], columns: Columns) -> JsonSource:
    """The source for these files, all of one layout; `UserError` if they are not.

    Known targets are taken where one of the first rows of a file has them.
    """
    samples = read_each(inputs, _first_rows)
    layouts = {path: _layout(rows[0]) for path, rows in samples.items()}
    path, layout = next(iter(layouts.items()))
    if any(other != layout for other in layouts.values()):
        said = ", ".join(f"{path} ({layout.name})" for path, layout in layouts.items())
        raise UserError(f"the inputs have different layouts, prepare them apart: {said}")
    rows = [row for found in samples.values() for row in found]
    data = [row.get(layout.within, {}) if layout.within else row for row in rows]

    def is_there(key: str) -> bool:
        return any(_look_up(values, key, _ABSENT) is not _ABSENT for values in data)

    for key in (*columns.names.values(), *(t.column for t in columns.targets)):
        if not is_there(key):
            keys = ", ".join(data[0])
            raise UserError(f"{path} has no key '{key}' in its first rows; the first has: {keys}")
    return _source(layout, columns, is_there)


def alexandria_source(inputs: Sequence[Input], columns: Columns) -> JsonSource:
    """The source for Alexandria's releases; the files are not looked at."""
    return _source(ALEXANDRIA, columns, lambda key: True)


_ABSENT = object()


def _source(layout: Layout, columns: Columns, is_there: Callable[[str], bool]) -> JsonSource:
    return JsonSource(
        layout,
        wanted_targets(columns, layout.targets, is_there),
        columns.names.get("material_id", layout.id),
        columns.names.get("spacegroup.number", layout.space_group),
    )


def _first_rows(path: Path) -> list[dict]:
    """The first rows of a file that are materials; `UnreadableInput` where there are none."""
    rows, fault = [], "none of its first entries has a 'structure', 'atoms' or 'data'"
    with open(path, "rb") as stream:
        try:
            for entry in islice(Entries(stream), _LOOKED_AT):
                with suppress(RowError):
                    rows.append(parse_json(entry.text))
        except UnreadableInput as error:
            fault = str(error)
    rows = [row for row in rows if is_entry(row)]
    if not rows:
        raise UnreadableInput(fault)
    return rows


def _layout(row: dict) -> Layout:
    """What a row holds decides whose document it is."""
    if isinstance(row.get("data"), dict) and ALEXANDRIA.id in row["data"]:
        return ALEXANDRIA
    for layout in (JARVIS, MATERIALS_PROJECT):
        if layout.id in row:
            return layout
    return PYMATGEN


def _look_up(data: dict, key: str, default: object = None) -> object:
    """The value under a key or a path of keys."""
    if key in data:
        return data[key]
    first, _, rest = key.partition(".")
    inner = data.get(first)
    return _look_up(inner, rest, default) if rest and isinstance(inner, dict) else default


def _structure(entry: dict, layout: Layout) -> object:
    """The dictionary of the structure: under its key, or the entry itself."""
    found = entry.get(layout.structure)
    return entry if found is None and "lattice" in entry else found


def _identifier(value: object, key: str, name: str) -> str:
    """The id as text; without one of its own, an entry is called by the name it stands under."""
    if value is None or value == "":
        if not name:
            raise RowError("missing_id", f"there is no '{key}'")
        return name
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError("invalid_id", f"'{key}' is neither a text nor a whole number: {value!r:.40}")
    return str(value)


def _seeming_id(text: bytes, place: str) -> str:
    """The id that a text seems to have, to name it by if it cannot be parsed."""
    match = _ID.search(text)
    return match[1].decode(errors="backslashreplace") if match else place
