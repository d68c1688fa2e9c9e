"""CSV files with one material a row, in the layout of CDVAE's MP-20 files.

Columns: `material_id, formation_energy_per_atom, band_gap, spacegroup.number, cif`, under these or
other names. With a `cif` the data are composition and XRD; with a `formula` alone, composition.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from xxact.data.cif import read_cif
from xxact.data.source import (
    READ_ERRORS,
    Columns,
    Input,
    RawRow,
    Row,
    RowError,
    TargetColumn,
    UnreadableInput,
    decompressed,
    read_space_group,
)
from xxact.data.targets import UNITS
from xxact.errors import UserError
from xxact.xrd.crystal import Crystal

#: Left sides that `--column` takes, and the column each stands for.
KNOWN_COLUMNS = {name: name for name in ("cif", "formula", "spacegroup.number", *UNITS)} | {
    "id": "material_id",
    "material_id": "material_id",
    "space_group": "spacegroup.number",
}

_LARGEST_FIELD = 1 << 30


@dataclass(frozen=True)
class CsvSource:
    """CSV rows; see `Source` for the methods."""

    kind: str
    targets: tuple[TargetColumn, ...]
    id_column: str | None
    content_column: str
    space_group_column: str | None

    @property
    def has_source_space_group(self) -> bool:
        """Whether the files carry a space-group number of their own."""
        return self.space_group_column is not None

    def settings(self) -> dict:
        """Which columns are read as what."""
        return {
            "source": "csv",
            "id": self.id_column,
            "content": self.content_column,
            "space_group": self.space_group_column,
            "targets": [[t.name, t.unit, t.column] for t in self.targets],
        }

    def read(self, stream: IO[bytes], path: Path) -> Iterator[RawRow]:
        """Raw rows: the wanted fields as text; a row of the wrong length becomes a failure."""
        try:
            rows = _csv_rows(stream)
            header = next(rows, None)
            if header is None:
                raise UnreadableInput("the file is empty")
            wanted = self._positions(header)
            seen: Counter[str] = Counter()
            for number, fields in enumerate(rows, start=1):
                if not fields:
                    continue
                raw = self._raw(f"{path.name}#{number}", fields, wanted, len(header))
                yield self._with_unique_id(raw, seen) if self.id_column is None else raw
        except (*READ_ERRORS, csv.Error) as error:
            raise UnreadableInput(f"{type(error).__name__}: {error}") from error

    def _positions(self, header: list[str]) -> list[int]:
        """Where the id, the content, the space group and the targets stand; -1 for absent."""
        columns = [self.id_column, self.content_column, self.space_group_column]
        columns += [t.column for t in self.targets]
        return [header.index(c) if c in header else -1 for c in columns]

    @staticmethod
    def _raw(place: str, fields: list[str], wanted: list[int], n: int) -> RawRow:
        if len(fields) != n:
            identifier = fields[wanted[0]] if 0 <= wanted[0] < len(fields) else ""
            message = f"{place} has {len(fields)} fields, the header {n}"
            return RawRow(identifier or place, reason="wrong_number_of_fields", message=message)
        content = tuple(fields[k] if k >= 0 else "" for k in wanted)
        return RawRow(content[0].strip() or place, content)

    @staticmethod
    def _with_unique_id(raw: RawRow, seen: Counter[str]) -> RawRow:
        """Without an id column the formula is the id, `#2`, `#3`, ... where it comes again."""
        if raw.content is None:
            return raw
        formula = raw.content[1].strip() or raw.id
        seen[formula] += 1
        identifier = formula if seen[formula] == 1 else f"{formula}#{seen[formula]}"
        return RawRow(identifier, (identifier, *raw.content[1:]))

    def decode(self, raw: RawRow) -> Row:
        """Id and values; `RowError` where the id is missing or a value is no number."""
        identifier, content, space_group, *values = raw.content
        if not identifier.strip():
            raise RowError("missing_id", f"the column '{self.id_column}' is empty")
        read = (t.value(value, raw.id) for value, t in zip(values, self.targets, strict=True))
        return Row(raw.id, content, tuple(read), read_space_group(space_group))

    def crystal(self, row: Row) -> Crystal:
        """The structure in the CIF."""
        if not row.content.strip():
            raise RowError("unreadable_cif", f"the column '{self.content_column}' is empty")
        return read_cif(row.content)

    def formula(self, row: Row) -> str:
        """The formula as the file has it."""
        return row.content.strip()


def csv_source(inputs: Sequence[Input], columns: Columns) -> CsvSource:
    """The source for these files; `UserError` if a file lacks a column or the kinds differ.

    The known targets (`UNITS`) are taken where some file has them. A file whose header cannot be
    read is passed over here: reading it later records why.
    """
    headers = {entry.path: header for entry in inputs if (header := _header(entry.path))}
    if not headers:
        raise UserError("no input can be read: " + ", ".join(str(e.path) for e in inputs))
    contents = {_content_column(p, h, columns) for p, h in headers.items()}
    if len(contents) > 1:
        raise UserError("some inputs have a 'cif' column and some a 'formula' alone: split them")
    kind, content = contents.pop()
    found = set().union(*headers.values())
    space_group = columns.names.get("spacegroup.number", "spacegroup.number")
    targets = _targets(found, columns)
    source = CsvSource(
        kind,
        targets,
        _id_column(headers, columns, kind),
        content,
        space_group if space_group in found else None,
    )
    named = set(columns.names.values()) | {t.column for t in columns.targets}
    named |= {source.id_column} - {None}
    for path, header in headers.items():
        _require(path, header, named)
    if kind == "composition" and not targets:
        raise UserError(
            f"{next(iter(headers))} has formulas and no target: name one with "
            f"--target NAME:UNIT=COLUMN; its columns are: {', '.join(next(iter(headers.values())))}"
        )
    return source


def _csv_rows(stream: IO[bytes]) -> Iterator[list[str]]:
    csv.field_size_limit(_LARGEST_FIELD)
    text = io.TextIOWrapper(decompressed(stream), "utf-8-sig", errors="replace", newline="")
    return csv.reader(text)


def _header(path: Path) -> list[str] | None:
    try:
        with open(path, "rb") as stream:
            return next(_csv_rows(stream), None)
    except (*READ_ERRORS, csv.Error):
        return None


def _content_column(path: Path, header: list[str], columns: Columns) -> tuple[str, str]:
    cif, formula = (columns.names.get(name, name) for name in ("cif", "formula"))
    if cif in header or "cif" in columns.names:
        return "composition+xrd", cif
    if formula in header or "formula" in columns.names:
        return "composition", formula
    raise UserError(
        f"{path} has neither a column 'cif' nor 'formula'; its columns are: {', '.join(header)}. "
        "Name the right one with --column cif=NAME or --column formula=NAME"
    )


def _id_column(headers: dict[Path, list[str]], columns: Columns, kind: str) -> str | None:
    if "material_id" in columns.names:
        return columns.names["material_id"]
    everywhere = set.intersection(*(set(h) for h in headers.values()))
    for name in ("material_id", "id"):
        if name in everywhere:
            return name
    return None if kind == "composition" else "material_id"


def _targets(found: set[str], columns: Columns) -> tuple[TargetColumn, ...]:
    known = [TargetColumn(n, unit, columns.names.get(n, n)) for n, unit in UNITS.items()]
    named = {t.name for t in columns.targets}
    return (
        *(
            t
            for t in known
            if t.name not in named and (t.column in found or t.name in columns.names)
        ),
        *columns.targets,
    )


def _require(path: Path, header: list[str], named: set[str]) -> None:
    missing = sorted(named - set(header))
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise UserError(
            f"{path} has no column {names}; its columns are: {', '.join(header)}. "
            "Name the right one with --column OURS=THEIRS (e.g. --column id=NAME)"
        )
