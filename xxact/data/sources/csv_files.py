"""CSV files with one material a row, in the layout of CDVAE's MP-20 files.

Columns: `material_id, formation_energy_per_atom, band_gap, spacegroup.number, cif`, under these or
other names. With a `cif` the data are composition and XRD; with a `formula` alone, composition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from xxact.data.cif.reader import read_cif
from xxact.data.sources.source import (
    CLASS,
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
from xxact.data.sources.table import Table, column_index
from xxact.data.sources.text import check_encoding
from xxact.data.targets import ORIGINS, UNITS
from xxact.errors import UserError
from xxact.xrd.crystal import Crystal

#: Left sides that `--column` takes, and the column each stands for.
KNOWN = {name: name for name in ("cif", "formula", "spacegroup.number", *UNITS)} | {
    "id": "material_id",
    "material_id": "material_id",
    "space_group": "spacegroup.number",
}

Headers = Mapping[Path, Sequence[str]]


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

    @property
    def has_ids(self) -> bool:
        """Whether the rows have ids of their own."""
        return self.id_column is not None

    def settings(self) -> dict:
        """Which columns are read as what."""
        return {
            "source": "csv",
            "id": self.id_column,
            "content": self.content_column,
            "space_group": self.space_group_column,
            "targets": [[t.name, t.unit, t.column] for t in self.targets],
        }

    def table(self, stream: IO[bytes], path: Path) -> Table:
        """The table of an input."""
        return Table(stream)

    def read(self, stream: IO[bytes], path: Path) -> Iterator[RawRow]:
        """Raw rows: the wanted fields as text; a row of the wrong length becomes a failure."""
        table = self.table(stream, path)
        wanted = self._positions(table.header)
        seen: Counter[str] = Counter()
        number = 0
        for number, fields in enumerate(table, start=1):
            place = f"{path.name}#{number}"
            if len(fields) != len(table.header):
                yield _of_wrong_length(place, fields, wanted[0], len(table.header))
                continue
            row = [fields[k] if k >= 0 else "" for k in wanted]
            if table.decimal_comma:
                row[3:] = map(_with_point, row[3:], self.targets)
            if self.id_column is None:
                row[0] = _unique_id(row[1].strip() or place, seen)
            yield RawRow(row[0].strip() or place, tuple(row))
        if not number:
            raise UnreadableInput("it has a header and no rows")

    def _positions(self, header: Sequence[str]) -> list[int]:
        """Where the id, the content, the space group and the targets stand; -1 for absent."""
        columns = [self.id_column, self.content_column, self.space_group_column]
        columns += [t.column for t in self.targets]
        return [-1 if name is None else column_index(header, name) for name in columns]

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

    The known targets (`UNITS`) are taken where some file has them.
    """
    headers = read_headers(inputs, lambda stream, path: Table(stream))
    contents = {_content_column(p, h, columns) for p, h in headers.items()}
    if len(contents) > 1:
        raise UserError("some inputs have a 'cif' column and some a 'formula' alone: split them")
    kind, content = contents.pop()
    targets = known_targets(headers, columns)
    identifier = common_column(headers, ("material_id", "id"), columns)
    if identifier is None and kind == "composition+xrd":
        identifier = "material_id"
    require(headers, columns, identifier)
    if kind == "composition" and not targets:
        path, header = next(iter(headers.items()))
        raise UserError(
            f"{path} has formulas and no target: name one with --target NAME:UNIT=COLUMN; "
            f"its columns are: {', '.join(header)}"
        )
    space_group = space_group_column(headers, columns)
    return CsvSource(kind, targets, identifier, content, space_group)


def mini_source(inputs: Sequence[Input], columns: Columns) -> CsvSource:
    """The source for the embedded file, with what it says of where its energies come from."""
    origin = ORIGINS["formation_energy_per_atom"]
    return csv_source(inputs, replace(columns, targets=(TargetColumn(origin, CLASS, origin),)))


def read_headers(
    inputs: Sequence[Input], table: Callable[[IO[bytes], Path], Table]
) -> dict[Path, tuple[str, ...]]:
    """The header of each input that has one (see `read_each`); `table` opens one.

    `UserError` where a file is in no encoding that can be told.
    """

    def read(path: Path) -> tuple[str, ...]:
        check_encoding(path)
        with open(path, "rb") as stream:
            return table(stream, path).header

    return read_each(inputs, read)


def known_targets(headers: Headers, columns: Columns) -> tuple[TargetColumn, ...]:
    """The targets of `UNITS` that some file has, and the user's own."""
    names = {name: name for name in UNITS}
    return wanted_targets(columns, names, lambda column: _is_in_some(headers, column))


def space_group_column(headers: Headers, columns: Columns) -> str | None:
    """The column of the files' own space-group numbers, if some file has it."""
    name = columns.names.get("spacegroup.number", "spacegroup.number")
    return name if _is_in_some(headers, name) else None


def require(headers: Headers, columns: Columns, id_column: str | None) -> None:
    """`UserError` for the first file that lacks a column which the user named, or the id."""
    named = {*columns.names.values(), *(t.column for t in columns.targets), id_column} - {None}
    for path, header in headers.items():
        if missing := sorted(name for name in named if _index(path, header, name) < 0):
            names = ", ".join(f"'{name}'" for name in missing)
            raise UserError(
                f"{path} has no column {names}; its columns are: {', '.join(header)}. "
                "Name the right one with --column OURS=THEIRS (e.g. --column id=NAME)"
            )


def _content_column(path: Path, header: Sequence[str], columns: Columns) -> tuple[str, str]:
    cif, formula = (columns.names.get(name, name) for name in ("cif", "formula"))
    if "cif" in columns.names or _index(path, header, cif) >= 0:
        return "composition+xrd", cif
    if "formula" in columns.names or _index(path, header, formula) >= 0:
        return "composition", formula
    raise UserError(
        f"{path} has neither a column 'cif' nor 'formula'; its columns are: {', '.join(header)}. "
        "Name the right one with --column cif=NAME or --column formula=NAME"
    )


def common_column(headers: Headers, names: Sequence[str], columns: Columns) -> str | None:
    """What the user calls the first of `names`, or the first of them that every file has."""
    if names[0] in columns.names:
        return columns.names[names[0]]
    for name in names:
        if all(_index(path, header, name) >= 0 for path, header in headers.items()):
            return name
    return None


def _index(path: Path, header: Sequence[str], name: str) -> int:
    try:
        return column_index(header, name)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _is_in_some(headers: Headers, name: str) -> bool:
    return any(_index(path, header, name) >= 0 for path, header in headers.items())


def _of_wrong_length(place: str, fields: list[str], id_index: int, n: int) -> RawRow:
    identifier = fields[id_index].strip() if 0 <= id_index < len(fields) else ""
    message = f"{place} has {len(fields)} fields, the header {n}"
    return RawRow(identifier or place, reason="wrong_number_of_fields", message=message)


def _unique_id(formula: str, seen: Counter[str]) -> str:
    """Without an id column the formula is the id, `#2`, `#3`, ... where it comes again."""
    seen[formula] += 1
    return formula if seen[formula] == 1 else f"{formula}#{seen[formula]}"


def _with_point(text: str, target: TargetColumn) -> str:
    """A number with a decimal comma, with a point instead; labels stay as they are."""
    if target.is_class or text.count(",") != 1 or "." in text:
        return text
    return text.replace(",", ".")
