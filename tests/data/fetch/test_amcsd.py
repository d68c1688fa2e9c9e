"""The crystals of AMCSD, from a small database of the same layout inside a wheel."""

import csv
import hashlib
import json
import lzma
import sqlite3
import zipfile
from base64 import b64encode

import numpy as np
import pytest
from pymatgen.symmetry.groups import SpaceGroup

from xxact.data.cif.reader import read_cif
from xxact.data.fetch import amcsd
from xxact.data.prepare import prepare
from xxact.data.sources.source import Input
from xxact.errors import UserError
from xxact.xrd.symmetry import space_group_number

TABLES = """
    create table spacegroups (id integer, hm_notation text, symmetry_xyz text);
    create table minerals (id integer, name text);
    create table cif (id integer, mineral_id integer, spacegroup_id integer, formula text,
        a text, b text, c text, alpha text, beta text, gamma text, atoms_sites text,
        atoms_x text, atoms_y text, atoms_z text, atoms_occupancy text);
"""


def encoded(numbers):
    return b64encode(np.rint(4e6 * np.array(numbers)).astype("<i4").tobytes()).decode()


def group(symbol):
    return json.dumps([op.as_xyz_str() for op in SpaceGroup(symbol).symmetry_ops])


def crystal(number, mineral, symmetry, formula, cell, sites, occupancy=None):
    """A row of the table `cif`; sites are label and coordinates."""
    labels, coords = [site[0] for site in sites], zip(*(site[1:] for site in sites), strict=True)
    full = "0" if occupancy is None else encoded(occupancy)
    row = (number, mineral, symmetry, formula, *cell, json.dumps(labels))
    return (*row, *map(encoded, coords), full)


CUBE, HEXAGONAL = ("90",) * 3, ("90", "90", "120")
CRYSTALS = [
    crystal(21, 1, 1, "Mg O", ("4.211",) * 3 + CUBE, [("Mg", 0, 0, 0), ("O", 0.5, 0.5, 0.5)]),
    crystal(  # two species on one place, and a third of a coordinate
        *(7, 2, 2, "(Zn.75 Fe.25) S", ("3.82", "3.82", "6.26", *HEXAGONAL)),
        [("Zn", 1 / 3, 2 / 3, 0), ("Fe", 1 / 3, 2 / 3, 0), ("S1", 1 / 3, 2 / 3, 0.375)],
        [0.75, 0.25, 1],
    ),
    crystal(  # hydrogen is in the formula alone
        *(9, 3, 1, "Mg O H", ("4.211",) * 3 + CUBE, [("Mg", 0, 0, 0), ("O-H", 0.5, 0.5, 0.5)]),
    ),
]


@pytest.fixture
def wheel(tmp_path):
    """A wheel with the database, where `amcsd` keeps it; its hash."""
    with sqlite3.connect(tmp_path / "made.db") as database:
        database.executescript(TABLES)
        groups = [(1, "F m 3 m", group("Fm-3m")), (2, "P 63 m c", group("P6_3mc"))]
        database.executemany("insert into spacegroups values (?,?,?)", groups)
        minerals = [(1, "Periclase"), (2, "Wurtzite"), (3, "<missing>")]
        database.executemany("insert into minerals values (?,?)", minerals)
        places = ",".join("?" * len(CRYSTALS[0]))
        database.executemany(f"insert into cif values ({places})", CRYSTALS)
    database.close()
    path = tmp_path / "raw" / amcsd.WHEEL
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "made.db", amcsd.DATABASE)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_crystals_are_those_of_the_database(wheel, tmp_path):
    (made,) = amcsd.amcsd(tmp_path / "raw", sha256=wheel)
    with lzma.open(made, "rt", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [(row["material_id"], row["mineral"]) for row in rows]
    assert names == [("amcsd-00007", "Wurtzite"), ("amcsd-00009", ""), ("amcsd-00021", "Periclase")]
    wurtzite, periclase = read_cif(rows[0]["cif"]), read_cif(rows[2]["cif"])
    assert [space_group_number(c) for c in (wurtzite, periclase)] == [186, 225]
    assert np.bincount(wurtzite.atomic_numbers, wurtzite.occupancies)[[16, 26, 30]].tolist() == (
        [2.0, 0.5, 1.5]
    )
    assert len(periclase.atomic_numbers) == 8
    assert np.linalg.det(periclase.lattice) == pytest.approx(4.211**3)


def test_crystals_are_prepared_for_training_beside_others(wheel, crystals_csv, tmp_path):
    (made,) = amcsd.amcsd(tmp_path / "raw", sha256=wheel)
    alone = prepare("csv", [crystals_csv], tmp_path / "alone").store
    inputs = [crystals_csv, Input(made, "train")]
    both = prepare("csv", inputs, tmp_path / "both").store
    assert both.manifest["failures"]["missing_element"] == 1
    added = np.isin(both.ids, alone.ids, invert=True)
    assert both.ids[added].tolist() == [b"amcsd-00007", b"amcsd-00021"]
    assert both.split[~added].tolist() == alone.split.tolist()
    assert set(np.flatnonzero(added)) <= set(both.indices("train"))
    assert np.isnan(both.values("formation_energy_per_atom")[added]).all()


def test_a_wheel_without_the_database_is_refused(tmp_path):
    path = tmp_path / "other.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nothing", "")
    with pytest.raises(UserError, match="holds no database of crystals"):
        amcsd.amcsd(tmp_path, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    assert not (tmp_path / amcsd.CRYSTALS).exists()
