"""From CSV to store: contents, failures, splits, and the same bytes however it was made."""

import csv
import gzip
import hashlib
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from xxact.data import open_store
from xxact.data.prepare import prepare, prepare_share
from xxact.data.sources.arguments import parse_columns, parse_inputs
from xxact.data.sources.csv_files import KNOWN
from xxact.data.sources.source import Columns, Input, TargetColumn
from xxact.errors import UserError
from xxact.xrd import CrystalError


def failures(store) -> list[dict]:
    with open(store.path / "failures.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def contents(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(directory.iterdir())}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# -------------------------------------------------------------------------------- contents


def test_store_holds_what_the_file_holds(crystals_csv, tmp_path):
    store = prepare("csv", [crystals_csv], tmp_path / "store", name="cubic").store
    assert (store.n, store.name, store.has_xrd) == (60, "cubic", True)
    assert store.ids.tolist() == [f"t-{k}".encode() for k in range(60)]
    np.testing.assert_allclose(
        store.values("formation_energy_per_atom"), -1 - 0.001 * np.arange(60), rtol=1e-6
    )
    assert store.targets["formation_energy_per_atom"].unit == "eV/atom"
    assert set(store.targets) == {
        "formation_energy_per_atom",
        "band_gap",
        "crystal_system",
        "space_group",
    }
    assert (store.values("space_group") == 220).all()
    assert (store.values("crystal_system") == 6).all()
    assert (store.column("source_space_group") == 221).all()
    assert (store.column("n_sites") == 2).all()
    assert store.element_z[:2].tolist() == [17, 55]
    assert store.element_fraction[:2].tolist() == [0.5, 0.5]


def test_manifest_describes_the_store(crystals_csv, tmp_path):
    manifest = prepare("csv", [crystals_csv], tmp_path / "store").store.manifest
    assert manifest["inputs"] == [
        {
            "name": "crystals.csv",
            "sha256": hashlib.sha256(crystals_csv.read_bytes()).hexdigest(),
            "bytes": crystals_csv.stat().st_size,
        }
    ]
    assert manifest["symprec"] == 0.01
    assert manifest["wavelength_angstrom"] == 1.54184
    assert sum(manifest["splits"].values()) == manifest["n"] == 60
    assert str(tmp_path) not in json.dumps(manifest)


def test_reflections_are_in_range_and_scaled(crystals_csv, tmp_path):
    store = prepare("csv", [crystals_csv], tmp_path / "store").store
    ends = store.reflection_offsets
    assert store.two_theta.min() >= 5
    assert store.two_theta.max() <= 90
    for start, end in pairwise(ends):
        assert store.intensity[start:end].max() == 1
        assert (np.diff(store.two_theta[start:end]) > 0).all()


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz"])
def test_compression_does_not_matter(crystals_csv, tmp_path, suffix):
    opener = {".csv": open, ".csv.gz": gzip.open, ".csv.xz": lzma.open}[suffix]
    path = tmp_path / f"other{suffix}"
    with opener(path, "wb") as stream:
        stream.write(crystals_csv.read_bytes())
    a = prepare("csv", [crystals_csv], tmp_path / "a").store
    b = prepare("csv", [path], tmp_path / "b").store
    assert a.manifest["columns"] == b.manifest["columns"]


def test_other_names_and_further_targets(crystal_rows, csv_text, tmp_path):
    names = {"material_id": "code", "formation_energy_per_atom": "e_form", "cif": "structure"}
    rows = [
        {names.get(k, k): v for k, v in row.items()} | {"K": 10 * n}
        for n, row in enumerate(crystal_rows(5))
    ]
    columns = parse_columns(
        ["id=code", "formation_energy_per_atom=e_form", "cif=structure"],
        ["bulk_modulus:GPa=K", "hardness=K"],
        KNOWN,
    )
    path = write(tmp_path / "c.csv", csv_text(rows))
    store = prepare("csv", [path], tmp_path / "store", columns=columns).store
    assert store.ids[0] == b"t-0"
    assert store.values("bulk_modulus").tolist() == [0, 10, 20, 30, 40]
    assert store.targets["bulk_modulus"].unit == "GPa"
    assert store.targets["hardness"].unit == ""
    assert store.values("formation_energy_per_atom")[1] == np.float32(-1.001)


def test_formula_alone_gives_compositions(csv_text, tmp_path):
    rows = [
        {"formula": f, "target": t}
        for f, t in (("NaCl", 25), ("Ca(OH)2", 40), ("ClNa", 26), ("NaCl", ""), ("Xx2O3", 1))
    ]
    columns = Columns(targets=(TargetColumn("bulk_modulus", "GPa", "target"),))
    path = write(tmp_path / "f.csv", csv_text(rows))
    store = prepare("csv", [path], tmp_path / "store", columns=columns).store
    assert not store.has_xrd
    assert set(store.targets) == {"bulk_modulus"}
    assert store.ids.tolist() == [b"NaCl", b"Ca(OH)2", b"ClNa", b"NaCl#2"]
    np.testing.assert_array_equal(store.values("bulk_modulus"), [25, 40, 26, np.nan])
    assert store.element_z[2:5].tolist() == [1, 8, 20]
    np.testing.assert_allclose(store.element_fraction[2:5], [0.4, 0.4, 0.2], rtol=1e-6)
    keys = store.formula_keys()
    assert keys[0] == keys[2] == keys[3] != keys[1]
    assert failures(store) == [
        {
            "id": "Xx2O3",
            "reason": "unknown_element",
            "message": "'Xx2O3': Xx is not a chemical element",
        }
    ]


def test_a_share_that_float32_cannot_hold_is_refused(csv_text, tmp_path):
    rows = [{"formula": f"Fe1H0.{'0' * 50}1", "y": 1}, {"formula": "Fe1H0.0000001", "y": 2}]
    columns = Columns(targets=(TargetColumn("y", "", "y"),))
    path = write(tmp_path / "f.csv", csv_text(rows))
    store = prepare("csv", [path], tmp_path / "store", columns=columns).store
    assert store.ids.tolist() == [b"Fe1H0.0000001"]
    assert store.manifest["failures"] == {"invalid_composition": 1}


def test_the_mean_of_large_values_is_finite(csv_text, tmp_path):
    from xxact.data.cli import describe

    rows = [{"formula": f"Na{k}Cl", "y": "3e38"} for k in range(1, 9)]
    columns = Columns(targets=(TargetColumn("y", "", "y"),))
    path = write(tmp_path / "f.csv", csv_text(rows))
    text = describe(prepare("csv", [path], tmp_path / "store", columns=columns).store)
    assert next(line.split()[1:] for line in text.splitlines() if line.startswith("  y ")) == [
        "8",
        "3e+38",
        "3e+38",
        "3e+38",
    ]


# -------------------------------------------------------------------------------- failures


def test_unusable_rows_are_named_and_the_rest_is_stored(
    crystal_rows, csv_text, cubic_cif, tmp_path
):
    rows = crystal_rows(12)
    sodium = [("Na", 0, 0, 0)]
    for k, cif in {
        1: "not a CIF",
        2: cubic_cif(4.0, [("Es", 0, 0, 0)]),
        3: cubic_cif(0.5, sodium),
        4: cubic_cif(4.0, [("Na", 0, 0, 0), ("Cl", 0.01, 0, 0)]),
        5: cubic_cif(4.0, [("Na", float("nan"), 0, 0)]),
        6: cubic_cif(4.0, [("Xx", 0, 0, 0)]),
        7: "",
    }.items():
        rows[k]["cif"] = cif
    rows[8]["band_gap"] = "wide"
    rows[9]["material_id"] = "t-0"
    rows[10]["material_id"] = " "
    text = csv_text(rows) + "t-short,1.0\n"
    store = prepare("csv", [write(tmp_path / "c.csv", text)], tmp_path / "store").store
    assert store.ids.tolist() == [b"t-0", b"t-11"]
    found = {f["id"]: f["reason"] for f in failures(store)}
    assert found == {
        "t-1": "unreadable_cif",
        "t-2": "no_scattering_factors",
        "t-3": "no_reflection",
        "t-4": "overlapping_atoms",
        "t-5": "invalid_coordinates",
        "t-6": "unreadable_cif",
        "t-7": "unreadable_cif",
        "t-8": "invalid_target",
        "t-0": "duplicate_id",
        "c.csv#11": "missing_id",
        "t-short": "wrong_number_of_fields",
    } | {"t-6": found["t-6"]}
    assert found["t-6"] in ("unknown_element", "unreadable_cif")
    assert sum(store.manifest["failures"].values()) == 11


def test_missing_targets_leave_a_row_usable(crystal_rows, csv_text, tmp_path):
    rows = crystal_rows(4)
    for row, missing in zip(rows[:3], ("", "nan", "None"), strict=True):
        row["band_gap"] = missing
    store = prepare("csv", [write(tmp_path / "c.csv", csv_text(rows))], tmp_path / "s").store
    assert store.n == 4
    assert np.isnan(store.values("band_gap")).tolist() == [True, True, True, False]
    assert not np.isnan(store.values("formation_energy_per_atom")).any()


@pytest.mark.parametrize("error", [CrystalError("no_symmetry", "none"), RuntimeError("inside")])
def test_a_crystal_without_a_space_group_lacks_that_target_alone(
    crystal_rows, csv_text, tmp_path, monkeypatch, error
):
    def find(crystal, symprec):
        if crystal.lattice[0, 0] < 4.015:  # the first two
            raise error
        return 221

    monkeypatch.setattr("xxact.data.shard.space_group_number", find)
    path = write(tmp_path / "c.csv", csv_text(crystal_rows(4)))
    store = prepare("csv", [path], tmp_path / "store").store
    assert store.column("space_group").tolist() == [0, 0, 221, 221]
    assert store.values("crystal_system").tolist() == [-1, -1, 6, 6]
    assert not np.isnan(store.values("formation_energy_per_atom")).any()


def test_a_broken_input_is_named_after_the_others_are_done(
    crystals_csv, crystal_rows, csv_text, tmp_path
):
    broken = tmp_path / "broken.csv.gz"
    whole = gzip.compress(csv_text(crystal_rows(3000, first=100)).encode())
    broken.write_bytes(whole[: len(whole) // 2])
    empty = write(tmp_path / "empty.csv", "")
    prepared = prepare("csv", [broken, empty, crystals_csv], tmp_path / "store")
    assert set(prepared.unreadable) == {broken, empty}
    ids = set(prepared.store.ids.tolist())
    assert {b"t-0", b"t-59", b"t-100"} <= ids
    reasons = {f["id"]: f["reason"] for f in failures(prepared.store)}
    assert reasons == {"broken.csv.gz": "unreadable_input", "empty.csv": "unreadable_input"}
    again = prepare("csv", [broken, empty, crystals_csv], tmp_path / "store")
    assert again.unreadable == prepared.unreadable


def test_an_input_that_cannot_be_opened_does_not_stop_the_others(
    crystals_csv, tmp_path, monkeypatch
):
    closed = write(tmp_path / "closed.csv", "material_id,cif\n")

    def refuse(path, *arguments, **options):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *arguments, **options)

    for module in ("data.compute", "data.sources.csv_files", "files"):
        monkeypatch.setattr(f"xxact.{module}.open", refuse, raising=False)
    prepared = prepare("csv", [closed, crystals_csv], tmp_path / "store")
    assert prepared.store.n == 60
    assert "Permission denied" in prepared.unreadable[closed]


def test_nothing_stored_is_an_error(tmp_path):
    path = write(tmp_path / "c.csv", "material_id,cif\na,nonsense\n")
    with pytest.raises(UserError, match=r"no row of c\.csv could be stored.*unreadable_cif: 1"):
        prepare("csv", [path], tmp_path / "store")
    with pytest.raises(UserError, match="holds no finished data set"):
        open_store(tmp_path / "store")


@pytest.mark.parametrize(
    ("header", "named", "message"),
    [
        ("id2,cif", [], r"c\.csv has no column 'material_id'; its columns are: id2, cif"),
        ("material_id,text", [], r"neither a column 'cif' nor 'formula'.*material_id, text"),
        ("material_id,cif", ["band_gap=gap"], r"c\.csv has no column 'gap'.*material_id, cif"),
        ("material_id,formula", [], r"has formulas and no target"),
    ],
)
def test_missing_columns_are_named(tmp_path, header, named, message):
    path = write(tmp_path / "c.csv", f"{header}\nx,y\n")
    columns = parse_columns(named, [], KNOWN)
    with pytest.raises(UserError, match=message):
        prepare("csv", [path], tmp_path / "store", columns=columns)


@pytest.mark.parametrize(
    ("columns", "targets", "message"),
    [
        (["energy=e"], [], "--column energy=e: write OURS=THEIRS"),
        (["band_gap"], [], "--column band_gap: write OURS=THEIRS"),
        ([], ["K"], "--target K: write NAME:UNIT=COLUMN"),
        ([], ["crystal_system=cs"], "are computed"),
    ],
)
def test_misspelt_mappings_are_named(columns, targets, message):
    with pytest.raises(UserError, match=message):
        parse_columns(columns, targets, KNOWN)


# ----------------------------------------------------------------------------------- split


def test_split_does_not_depend_on_order_or_on_other_rows(crystal_rows, csv_text, tmp_path):
    rows = crystal_rows(60)
    a = prepare("csv", [write(tmp_path / "a.csv", csv_text(rows))], tmp_path / "a").store
    b = prepare("csv", [write(tmp_path / "b.csv", csv_text(rows[40:5:-1]))], tmp_path / "b").store
    splits = dict(zip(a.ids.tolist(), a.split.tolist(), strict=True))
    assert {splits[i] for i in a.ids.tolist()} == {0, 1, 2, 3}
    assert all(splits[i] == p for i, p in zip(b.ids.tolist(), b.split.tolist(), strict=True))
    for identifier, split in splits.items():
        slot = int(hashlib.sha1(identifier).hexdigest(), 16) % 20
        assert split == (0 if slot == 0 else 1 if slot < 3 else 2 if slot == 3 else 3)


def test_given_split_is_kept(crystal_rows, csv_text, tmp_path):
    texts = []
    for k, name in enumerate(("train", "val", "test")):
        write(tmp_path / f"{name}.csv", csv_text(crystal_rows(4 - k, first=10 * k)))
        texts.append(f"{name}={tmp_path / f'{name}.csv'}")
    store = prepare("csv", parse_inputs(texts), tmp_path / "store").store
    assert store.manifest["splits"] == {"test": 2, "validation": 3, "train": 4}
    assert store.manifest["split"] == {"by": "given"}
    assert store.ids[store.indices("validation")].tolist() == [b"t-10", b"t-11", b"t-12"]


def test_inputs_are_checked(crystals_csv, tmp_path):
    with pytest.raises(UserError, match="no input file"):
        prepare("csv", [tmp_path / "absent.csv"], tmp_path / "store")
    with pytest.raises(UserError, match="no split 'holdout'"):
        parse_inputs([f"holdout={crystals_csv}"])
    with pytest.raises(UserError, match="same content"):
        prepare("csv", [crystals_csv, Input(crystals_csv)], tmp_path / "store")


# --------------------------------------------------------------- the same bytes, every time


def test_workers_do_not_change_a_byte(crystals_csv, tmp_path, monkeypatch):
    monkeypatch.setattr("xxact.data.compute.ROWS", 7)
    for workers in (1, 2):
        prepare("csv", [crystals_csv], tmp_path / f"{workers}" / "store", workers=workers)
    assert contents(tmp_path / "1" / "store") == contents(tmp_path / "2" / "store")


_KILLED = """
import sys, time
import xxact.data.compute, xxact.data.shard
from xxact.data.prepare import prepare, prepare_share
xxact.data.compute.ROWS = 7
make = xxact.data.compute.make_shard
def slow(*arguments):
    time.sleep(0.05)
    counts = make(*arguments)
    time.sleep(0.05)
    return counts
xxact.data.compute.make_shard = slow
prepare("csv", [sys.argv[1]], sys.argv[2])
"""


def test_killed_and_started_again_it_ends_in_the_same_bytes(crystals_csv, tmp_path, monkeypatch):
    monkeypatch.setattr("xxact.data.compute.ROWS", 7)
    prepare("csv", [crystals_csv], tmp_path / "whole" / "store")
    out = tmp_path / "killed" / "store"
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(crystals_csv), str(out)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob(".preparing/*/*.npz"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(UserError, match="run the same"):
        open_store(out)

    made = []
    from xxact.data import compute

    original = compute.make_shard
    monkeypatch.setattr(compute, "make_shard", lambda p, *a: made.append(p) or original(p, *a))
    finished = {p.stem for p in out.glob(".preparing/*/??????.json")}
    prepare("csv", [crystals_csv], out)
    assert finished
    assert not finished & {p.stem for p in made}
    assert len(made) + len(finished) == 9
    assert contents(out) == contents(tmp_path / "whole" / "store")


def test_shards_of_a_changed_input_are_not_reused(crystal_rows, csv_text, tmp_path, monkeypatch):
    path = write(tmp_path / "c.csv", csv_text(crystal_rows(10)))
    from xxact.data import prepare as module

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "merge", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare("csv", [path], tmp_path / "store")
    assert list(tmp_path.glob("store/.preparing/*/000000.npz"))
    path.write_text(csv_text(crystal_rows(8, first=20)))
    store = prepare("csv", [path], tmp_path / "store").store
    assert store.ids[0] == b"t-20"
    assert not (store.path / ".preparing").exists()


@pytest.mark.parametrize("n_inputs", [1, 3])
def test_shares_make_the_same_store(crystal_rows, csv_text, tmp_path, monkeypatch, n_inputs):
    monkeypatch.setattr("xxact.data.compute.ROWS", 7)
    paths = [
        write(tmp_path / f"{k}.csv", csv_text(crystal_rows(20, first=30 * k)))
        for k in range(n_inputs)
    ]
    whole = prepare("csv", paths, tmp_path / "whole" / "store").store
    out = tmp_path / "shares" / "store"
    for k in (1, 0):
        prepare_share("csv", paths, out, (k, 2))
        assert not (out / "manifest.json").exists()
    monkeypatch.setattr("xxact.data.compute.make_shard", None)  # nothing is left to compute
    prepare("csv", paths, out)
    assert contents(out) == contents(whole.path)
    with pytest.raises(UserError, match="0 <= K < N"):
        prepare_share("csv", paths, out, (2, 2))


def test_a_finished_store_is_kept_and_another_is_not_overwritten(crystals_csv, tmp_path):
    out = tmp_path / "store"
    prepare("csv", [crystals_csv], out)
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    prepare("csv", [crystals_csv], out)
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before
    with pytest.raises(UserError, match=r"differs in: symprec.*--overwrite"):
        prepare("csv", [crystals_csv], out, symprec=0.1)
    assert prepare("csv", [crystals_csv], out, symprec=0.1, overwrite=True).store.n == 60


# ------------------------------------------------------------------------------- real data


def test_real_crystals(test_data, tmp_path):
    with lzma.open(test_data / "mp_structures.csv.xz", "rt", newline="") as stream:
        lines = csv.reader(stream)
        rows = [next(lines)] + [row for k, row in enumerate(lines) if k % 100 == 0]
    with open(tmp_path / "mp.csv", "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    store = prepare("csv", [tmp_path / "mp.csv"], tmp_path / "store").store
    assert store.n == len(rows) - 1
    assert not store.manifest["splits"].get("audit")
    agree = store.column("space_group") == store.column("source_space_group")
    assert agree.mean() > 0.95  # the file's own numbers are at symprec 0.1
    assert store.verify() == []
    shutil.rmtree(store.path)
