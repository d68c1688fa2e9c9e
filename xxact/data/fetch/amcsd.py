"""Experimental crystals of minerals (`xxact data fetch amcsd`): download, unpack, write.

The American Mineralogist Crystal Structure Database, R. T. Downs and M. Hall-Wallace, American
Mineralogist 88, 247 (2003), as the wheel of larixite carries it: 9,275 structures, near-duplicates
left out. The database is free to use and asks to be cited; no licence of its data is stated, there
or in larixite, whose own code is MIT.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import sqlite3
import sys
import tempfile
import zipfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xxact.data.fetch.data_sets import say_next
from xxact.data.fetch.download import download_wheel
from xxact.errors import UserError
from xxact.files import write_atomically

CRYSTALS = "amcsd.csv.xz"
#: `energy_source` is empty: the file can be prepared together with those of `xxact data fetch mp`.
COLUMNS = ("material_id", "mineral", "formula", "energy_source", "cif")
WHEEL = "larixite-2026.1.0-py3-none-any.whl"
WHEEL_SHA256 = "7ec900ea26e28787a022b495a7c5942fbb0f0d7b7d59c0b810da8735803aaf55"
DATABASE = "larixite/amcsd_cif1.db"

_CRYSTALS = """
    select cif.*, spacegroups.symmetry_xyz, minerals.name as mineral from cif
    join spacegroups on spacegroups.id = cif.spacegroup_id
    left join minerals on minerals.id = cif.mineral_id order by cif.id
"""
_CELL = {"length": ("a", "b", "c"), "angle": ("alpha", "beta", "gamma")}
#: Coordinates and occupancies are kept as integers, in parts of this; two stand for words.
_UNIT = 4e6
_WORDS = {2.0: "?", 3.0: "."}


def amcsd(out: Path, wheel: str = WHEEL, sha256: str = WHEEL_SHA256) -> list[Path]:
    """Make `CRYSTALS` in `out`, where the wheel is kept too."""
    rows = list(_rows(download_wheel(wheel, out, sha256)))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    made = out / CRYSTALS
    write_atomically(made, lzma.compress(buffer.getvalue().encode(), preset=6))
    print(f"{made}: {len(rows):,} crystals", file=sys.stderr)
    say_next("csv", [str(made)], "data/amcsd")
    return [made]


def _rows(wheel: Path) -> Iterator[tuple[str, ...]]:
    """A row of `COLUMNS` of each crystal, by its number in the database."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(wheel) as archive:
                file = archive.extract(DATABASE, folder)
            with sqlite3.connect(file) as database:
                database.row_factory = sqlite3.Row
                for row in database.execute(_CRYSTALS):
                    mineral = "" if row["mineral"] == "<missing>" else row["mineral"]
                    yield f"amcsd-{row['id']:05d}", mineral, row["formula"], "", cif_of(row)
        except (zipfile.BadZipFile, KeyError, sqlite3.Error) as error:
            raise UserError(f"{wheel} holds no database of crystals ({error})") from error


def cif_of(row: sqlite3.Row) -> str:
    """The CIF of a crystal of the database: formula, cell, operators, sites and occupancies.

    Displacements are left out, as those of the calculated crystals are.
    """
    lines = [f"data_amcsd-{row['id']:05d}", f"_chemical_formula_sum '{row['formula']}'"]
    for kind, names in _CELL.items():
        lines += [f"_cell_{kind}_{name} {row[name]}" for name in names]
    operators = json.loads(row["symmetry_xyz"])
    lines += ["loop_", "_space_group_symop_operation_xyz", *(f"'{xyz}'" for xyz in operators)]
    sites = {"label": [f"'{label}'" for label in json.loads(row["atoms_sites"])]}
    sites |= {f"fract_{axis}": _numbers(row[f"atoms_{axis}"]) for axis in "xyz"}
    if row["atoms_occupancy"] != "0":  # all are full
        sites["occupancy"] = _numbers(row["atoms_occupancy"])
    lines += ["loop_", *(f"_atom_site_{name}" for name in sites)]
    lines += [" ".join(site) for site in zip(*sites.values(), strict=True)]
    return "\n".join(lines) + "\n"


def _numbers(encoded: str) -> list[str]:
    """Numbers as texts of six digits, or what stands in the place of one."""
    values = np.frombuffer(b64decode(encoded), "<i4") / _UNIT
    return [_WORDS.get(value) or f"{value:.6g}" for value in values.tolist()]
