"""The Materials Project's crystals, from a small release of the same layout as its sources."""

import csv
import gzip
import hashlib
import json
import lzma
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from xxact.data.cif.reader import read_cif
from xxact.data.fetch import materials_project, mp_join
from xxact.data.fetch.download import Patience
from xxact.data.prepare import prepare
from xxact.errors import UserError

QUICK = Patience(stall=0.5, tries=3, pause=0)
WHEEL = "dara_xrd-1.3.0-py3-none-any.whl"


def structure(symbols, shift=0.0, n=1):
    """AX with both atoms in a cube of 4 angstrom: Pm-3m, or P4mm with X shifted along c."""
    crystal = Structure(Lattice.cubic(4.0000049), symbols, [[0, 0, 0], [0.5, 0.5, 0.5 + shift]])
    return crystal.make_supercell([n, 1, 1])


#: `cif/mp-10.cif` of the source, but for some of its bonds.
MP_10 = """# generated using pymatgen
data_As
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a   3.82358303
_cell_length_b   3.82358352
_cell_length_c   3.82358367
_cell_angle_alpha   59.99999860
_cell_angle_beta   59.99999438
_cell_angle_gamma   60.00000547
_symmetry_Int_Tables_number   1
_chemical_formula_structural   As
_chemical_formula_sum   As2
_cell_volume   39.52725919
_cell_formula_units_Z   2
loop_
 _symmetry_equiv_pos_site_id
 _symmetry_equiv_pos_as_xyz
  1  'x, y, z'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_symmetry_multiplicity
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
  As  As0  1  0.25000000  0.25000000  0.25000000  1
  As  As1  1  0.75000000  0.75000000  0.75000000  1
loop_
_geom_bond_atom_site_label_1
_geom_bond_atom_site_label_2
_geom_bond_distance
_geom_bond_site_symmetry_2
As0 As1 2.703681 1_554
"""

#: id -> structure; what is to become of each stands in `test_mp_joins_its_sources`.
STRUCTURES = {
    "mp-1": structure(["Cs", "Cl"]),
    "mp-2": structure(["Na", "Cl"]),
    "mp-3": structure(["Cs", "I"]),
    "mp-4": structure(["Cs", "I"], 0.1),
    "mp-6": structure(["K", "Cl"]),
    "mp-7": structure(["K", "Cl"], 0.1),
    "mp-8": structure(["Rb", "Cl"]),
    "mvc-9": structure(["Rb", "Br"], n=31),  # too large
    "mp-11": structure(["Rb", "I"]),  # its hash says audit
    "mp-13": structure(["K", "I"], 0.1),
    "mp-14": structure(["K", "I"], 0.2),  # the same space group as mp-13
    "mp-3200636": structure(["Na", "Cl"], 0.1),  # GNoME's
}
MEGNET = {
    "train": {"mp-1": "-2.1234567", "mp-3": "-1.7", "mp-999": "-1"},
    "val": {"mp-11": "-1.5"},
    "test": {"mvc-9": "-1.4"},
}
GAPS = {"train": {"mp-1": "5.250000000000001", "mp-3": "3.5"}, "val": {"mp-11": "0"}}
ENERGIES = (
    "Cl1Na1,-2.0\nCl1Cs1,-2.12\nCl1K1,-1.9\nK2Cl2,-2.2\nI1K1,-1.2\nI1K1,-1.3\n"
    "Cl1Rb1,-2.1\nCl1Rb1,-2.2\n"
)
HULL = {
    "CsI": [[0.0, ["Pm-3m", 221]], [0.1003, ["P4mm", 99]]],
    "KCl": [[0.01, ["Pm-3m", 221]], [0.25, ["P4mm", 99]], [0.0, ["Fm-3m", 225]]],
    "KI": [[0.0, ["P4mm", 99]]],
    "RbCl": [],
}


@pytest.fixture
def origin(file_server, tmp_path, monkeypatch):
    """The sources on a local server, the wheel where pip looks for it."""
    tree = serve_structures(file_server, tmp_path / "repository")
    files = {
        "megnet_e_form.json.zip": zipped({"megnet_e_form.json": json.dumps(MEGNET)}, tmp_path),
        "megnet_gappbe.json.zip": zipped({"megnet_gappbe.json": json.dumps(GAPS)}, tmp_path),
        "mp_e_form.csv": f"formula,target\n{ENERGIES}".encode(),
        "mp_gap.csv": b"formula,target\nCl1Na1,5.1\nRb1Cl1,4.9\nCl1K1,5.0\n",
    }
    file_server.files |= files
    links = tmp_path / "links"
    links.mkdir()
    wheel = zipped(
        {
            "dara/data/mp_struct_info.json.gz": gzip.compress(json.dumps(HULL).encode()),
            "dara_xrd-1.3.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: dara-xrd\n"
            "Version: 1.3.0\n",
            "dara_xrd-1.3.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n",
            "dara_xrd-1.3.0.dist-info/RECORD": "",
        },
        tmp_path,
    )
    (links / WHEEL).write_bytes(wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return materials_project.Origin(
        structures=file_server.url + "structures.tar.gz",
        tree=tree,
        files={
            name: (file_server.url + name, hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        },
        wheel=WHEEL,
        wheel_sha256=hashlib.sha256(wheel).hexdigest(),
    )


def serve_structures(server, folder):
    """The archive that a Git server makes of the structures; the id of their folder."""
    for name, crystal in STRUCTURES.items():
        path = folder / "cif" / f"{name}.cif"
        path.parent.mkdir(parents=True, exist_ok=True)
        bonds = "loop_\n_geom_bond_atom_site_label_1\n_geom_bond_distance\nA0 2.7\n"
        path.write_text(crystal.to(fmt="cif") + bonds)
    (folder / "README.md").write_text("x")

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    tree = git("write-tree").stdout.decode().strip()
    archive = git("archive", "--prefix=topology_databases-41163fc/", "--format=tar.gz", tree)
    server.files["structures.tar.gz"] = archive.stdout
    return git("write-tree", "--prefix=cif/").stdout.decode().strip()


def zipped(files, folder):
    """The bytes of a ZIP archive."""
    with zipfile.ZipFile(folder / "made.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return (folder / "made.zip").read_bytes()


def rows_of(path):
    with lzma.open(path, "rt", newline="") as stream:
        return list(csv.DictReader(stream))


def test_mp_joins_its_sources(origin, tmp_path, capsys):
    labelled, unlabelled = materials_project.mp(tmp_path / "out", origin, QUICK)
    assert f"--input {labelled} {unlabelled} --out data/mp" in capsys.readouterr().out
    columns = ("formation_energy_per_atom", "energy_source", "band_gap", "gap_source")
    found = {row["material_id"]: tuple(row[c] for c in columns) for row in rows_of(labelled)}
    megnet, matbench = "megnet_mp2018", "matbench_by_formula"
    assert found == {
        "mp-1": ("-2.123457", megnet, "5.250000000000001", megnet),
        "mp-2": ("-2.0", matbench, "5.1", matbench),
        "mp-3": ("-1.7", megnet, "3.5", megnet),
        "mp-4": ("-1.5997", "anchored_sibling", "", ""),  # -1.7 - 0.0 + 0.1003
        "mp-6": ("-2.19", "anchored_matbench_min", "", ""),  # -2.2 - 0.0 + 0.01
        "mp-7": ("-1.95", "anchored_matbench_min", "", ""),
    }
    rows = rows_of(unlabelled)
    assert [row["material_id"] for row in rows] == ["mp-13", "mp-14", "mp-8"]
    assert [row["band_gap"] for row in rows] == ["", "", "4.9"]
    assert {row["energy_source"] for row in rows} == {""}
    agreement = json.loads((tmp_path / "out" / materials_project.JOIN).read_text())
    assert agreement["matbench_by_formula"]["n"] == 1
    assert agreement["matbench_by_formula"]["p50"] == pytest.approx(0.0034567)


def test_the_structures_are_those_of_the_source_to_five_decimals(origin, tmp_path):
    for path in materials_project.mp(tmp_path / "out", origin, QUICK):
        for row in rows_of(path):
            crystal, source = read_cif(row["cif"]), STRUCTURES[row["material_id"]]
            assert row["pretty_formula"] == source.reduced_formula
            assert int(row["nsites"]) == len(source)
            np.testing.assert_array_equal(crystal.atomic_numbers, source.atomic_numbers)
            np.testing.assert_allclose(crystal.lattice, 4.0 * np.eye(3), atol=1e-12)
            np.testing.assert_allclose(crystal.frac_coords, source.frac_coords, atol=5e-6)


def test_a_second_run_makes_the_same_bytes_and_downloads_nothing_that_has_a_hash(
    origin, tmp_path, file_server, monkeypatch
):
    out = tmp_path / "out"
    first = [path.read_bytes() for path in materials_project.mp(out, origin, QUICK)]
    file_server.requests.clear()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert [path.read_bytes() for path in materials_project.mp(out, origin, QUICK)] == first
    assert {(verb, path) for verb, path, _ in file_server.requests} == {
        ("HEAD", "structures.tar.gz")
    }


def test_both_files_make_one_store(origin, tmp_path):
    paths = materials_project.mp(tmp_path / "out", origin, QUICK)
    store = prepare("csv", paths, tmp_path / "store").store
    assert store.n == 9
    assert np.isfinite(store.values("formation_energy_per_atom")).sum() == 6
    assert (store.values("crystal_system") >= 0).all()


def test_other_structures_than_the_pinned_ones_are_refused(origin, file_server, tmp_path):
    good = file_server.files["structures.tar.gz"]
    file_server.files["structures.tar.gz"] = good[: len(good) // 2]
    with pytest.raises(UserError, match=r"topology_databases\.tar\.gz is damaged.*delete it"):
        materials_project.mp(tmp_path / "short", origin, QUICK)
    file_server.files["structures.tar.gz"] = good
    wrong = replace(origin, tree="0" * 40)
    with pytest.raises(UserError, match="does not hold the structures of the pinned version"):
        materials_project.mp(tmp_path / "other", wrong, QUICK)


def test_a_wheel_that_pip_cannot_find_is_named(origin, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=rf"pip cannot download dara_xrd 1\.3\.0.*put {WHEEL} into"):
        materials_project.mp(tmp_path / "out", origin, QUICK)


def test_another_wheel_of_the_same_name_is_refused(origin, tmp_path):
    wrong = replace(origin, wheel_sha256="0" * 64)
    with pytest.raises(UserError, match="is not the published wheel"):
        materials_project.mp(tmp_path / "out", wrong, QUICK)


def test_a_structure_is_written_as_in_the_real_file(test_data):
    """The very file of the source, and the row that was made of it."""
    with lzma.open(test_data / "mp_2025.csv.xz", "rt", newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["material_id"] == "mp-10")
    made = materials_project.read_structure("mp-10", MP_10)
    assert (made.formula, str(made.n_sites)) == (row["pretty_formula"], row["nsites"])
    assert made.cif == row["cif"]


def label(value, source="megnet_mp2018"):
    return mp_join.Label(value, source)


def test_the_median_of_the_siblings_lifts_the_others():
    group = mp_join.Polymorphs(
        above_hull={"a": 0.0, "b": 0.2, "c": 0.1234, "d": 0.3},
        offsets={"a": -1.0, "b": -1.1, "c": -1.5},
        lowest=-7.0,
    )
    known = {name: label(0.0) for name in "abc"}
    assert mp_join.anchored(group, known) == {"d": label(-0.8, "anchored_sibling")}


def test_agreement_leaves_each_sibling_out():
    group = mp_join.Polymorphs({}, {"a": -1.0, "b": -1.1, "c": -1.5}, -1.2)
    sources = mp_join.Sources({}, {}, {}, {}, {})
    found = mp_join.agreement([], [group], sources)
    assert set(found) == {"anchored_sibling", "anchored_matbench_min"}
    # from the medians of the other two: 0.3, 0.15, 0.45; from the lowest: 0.2, 0.1, 0.3
    assert found["anchored_sibling"]["p50"] == pytest.approx(0.3)
    assert found["anchored_matbench_min"] == pytest.approx(
        {"n": 3, "p50": 0.2, "p90": 0.28, "p99": 0.298}
    )
