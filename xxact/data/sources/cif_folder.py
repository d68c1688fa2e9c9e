"""A folder of CIF files and, among them, a CSV file that names them, one material a row.

The column `file` (or else `id`) says which file a row means, with or without `.cif`. CGCNN's layout
is read, too: its `id_prop.csv` has no header, so that the columns are called `id`, `property`,
`property_2` and so on; its `atom_init.json` is not needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from xxact.data.sources import csv_files
from xxact.data.sources.csv_files import CsvSource
from xxact.data.sources.source import (
    READ_ERRORS,
    Columns,
    Input,
    RawRow,
    Row,
    RowError,
    UnreadableInput,
)
from xxact.data.sources.table import Table, column_index
from xxact.data.sources.text import read_text
from xxact.errors import UserError

#: Left sides that `--column` takes, and the column each stands for.
KNOWN = {ours: name for ours, name in csv_files.KNOWN.items() if name not in ("cif", "formula")}
KNOWN |= {"file": "file"}


@dataclass(frozen=True)
class CifSource(CsvSource):
    """CIF files named in CSV files; see `Source` for the methods.

    files_sha256: of the contents of all files that are named, so that a change is noticed.
    """

    files_sha256: str = ""

    def settings(self) -> dict:
        """Which columns are read as what, and what is in the files."""
        return super().settings() | {"source": "cifs", "files_sha256": self.files_sha256}

    def table(self, stream: IO[bytes], path: Path) -> Table:
        """The table of an input; without a header if its first line names a file."""
        return _table(stream, path)

    def read(self, stream: IO[bytes], path: Path) -> Iterator[RawRow]:
        """Raw rows, whose content is the path of the CIF file."""
        for raw in super().read(stream, path):
            if raw.content is None:
                yield raw
            else:
                identifier, name, *rest = raw.content
                yield replace(raw, content=(identifier, str(_file(path, name)), *rest))

    def decode(self, raw: RawRow) -> Row:
        """Id, values and the text of the CIF file."""
        row = super().decode(raw)
        path = Path(row.content)
        if not path.is_file():
            raise RowError("missing_file", f"there is no file {path.name} beside the table", row.id)
        try:
            return replace(row, content=read_text(path))
        except (UnreadableInput, *READ_ERRORS) as error:
            raise RowError("unreadable_cif", f"{path.name}: {error}", row.id) from error


def cif_source(inputs: Sequence[Input], columns: Columns) -> CifSource:
    """The source for these CSV files; `UserError` if one lacks a column."""
    headers = csv_files.read_headers(inputs, _table)
    found = csv_files.common_column(headers, ("material_id", "id"), columns)
    content = csv_files.common_column(headers, ("file",), columns) or found
    identifier = found or content
    if identifier is None or content is None:
        path, header = next(iter(headers.items()))
        raise UserError(
            f"{path} has neither a column 'file' nor 'id' with the names of CIF files; its columns "
            f"are: {', '.join(header)}. Name the right one with --column file=NAME"
        )
    targets = csv_files.known_targets(headers, columns)
    if not targets and any("property" in header for header in headers.values()):
        raise UserError(
            f"{next(iter(headers))} has no header: say what its second column is, with "
            "--target NAME:UNIT=property"
        )
    csv_files.require(headers, columns, identifier)
    space_group = csv_files.space_group_column(headers, columns)
    files_sha256 = _hash_of_files(headers, content)
    return CifSource("composition+xrd", targets, identifier, content, space_group, files_sha256)


def _table(stream: IO[bytes], path: Path) -> Table:
    return Table(stream, partial(_names_without_header, path))


def _names_without_header(path: Path, first: Sequence[str]) -> tuple[str, ...] | None:
    """Names for the columns of a table whose first line is a row; None if it is a header."""
    if not first[0].strip() or not _file(path, first[0]).is_file():
        return None
    further = (f"property_{k}" for k in range(2, len(first)))
    return ("id", "property", *further)[: len(first)]


def _file(table: Path, name: str) -> Path:
    """The file that a cell of a table means; a path that may not exist."""
    path = table.parent / name.strip()
    return path if path.is_file() else path.with_name(f"{path.name}.cif")


def _hash_of_files(headers: csv_files.Headers, column: str) -> str:
    """SHA-256 of the contents of the files in the tables' order; absent ones count as empty."""
    digest = hashlib.sha256()
    for table, header in headers.items():
        index = column_index(header, column)
        with open(table, "rb") as stream:
            for row in _table(stream, table):
                path = _file(table, row[index]) if index < len(row) else table
                content = path.read_bytes() if path.is_file() else b""
                digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
