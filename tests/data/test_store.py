"""Opening, reading and verifying a store."""

import json

import numpy as np
import pytest

from xxact.data import open_store
from xxact.data.prepare import prepare
from xxact.data.store import ColumnWriter, probe_of
from xxact.errors import UserError


@pytest.fixture
def store(crystals_csv, tmp_path):
    return prepare("csv", [crystals_csv], tmp_path / "store").store


def test_absent_and_unfinished_stores_say_what_to_do(store, tmp_path):
    with pytest.raises(UserError, match=r"there is no data set at .*xxact data prepare"):
        open_store(tmp_path / "nothing")
    (store.path / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"holds no finished data set.*it goes on where it stopped"):
        open_store(store.path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_manifest_is_named(store, content):
    (store.path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        open_store(store.path)


def test_other_format_is_refused(store):
    path = store.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(UserError, match="store format 99"):
        open_store(store.path)


def test_parts_partition_the_samples(store):
    splits = [store.indices(p) for p in ("train", "validation", "test", "audit")]
    np.testing.assert_array_equal(np.sort(np.concatenate(splits)), np.arange(store.n))
    assert splits[0].dtype == np.int64
    with pytest.raises(UserError, match="no split 'dev'"):
        store.indices("dev")


def test_unknown_targets_and_columns_are_named(store):
    with pytest.raises(UserError, match="no target 'hardness'; it has: band_gap, crystal_system"):
        store.values("hardness")
    with pytest.raises(UserError, match=r"no column 'x\.npy'"):
        store.column("x")


def test_keys_tell_compositions_and_systems_apart(store):
    def keys_by(function):
        groups = {}
        offsets = store.element_offsets
        for k in range(store.n):
            rows = slice(offsets[k], offsets[k + 1])
            groups.setdefault(function(rows), set()).add(k)
        return groups

    z, fraction = np.asarray(store.element_z), np.asarray(store.element_fraction)
    for keys, truth in (
        (store.formula_keys(), keys_by(lambda r: (z[r].tobytes(), fraction[r].tobytes()))),
        (store.chemical_system_keys(), keys_by(lambda r: z[r].tobytes())),
    ):
        assert len(set(keys.tolist())) == len(truth) == 15
        assert all(len({int(keys[k]) for k in members}) == 1 for members in truth.values())


def test_verify_names_the_damaged_column(store):
    assert store.verify() == []
    path = store.path / "two_theta.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (store.path / "split.npy").write_bytes((store.path / "split.npy").read_bytes()[:-1])
    (store.path / "failures.csv").unlink()
    problems = open_store(store.path, check=False).verify()
    assert [p.split(":")[0] for p in problems] == ["split.npy", "two_theta.npy", "failures.csv"]
    assert "damaged" in problems[0]
    assert "damaged" in problems[1]
    assert "missing" in problems[2]


def test_truncated_column_is_refused_on_reading(store):
    path = store.path / "intensity.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"intensity\.npy.*xxact data verify"):
        open_store(store.path, check=False).column("intensity")


def test_column_writer_writes_what_numpy_reads(tmp_path):
    writer = ColumnWriter(tmp_path, "x", np.dtype("f4"), 5)
    writer.append(np.arange(3))
    writer.append(np.arange(3, 5))
    entry = writer.finish()
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.arange(5, dtype="f4"))
    assert entry["shape"] == [5]
    writer = ColumnWriter(tmp_path, "y", np.dtype("f4"), 5)
    with pytest.raises(RuntimeError, match=r"y\.npy: 5 rows were not written"):
        writer.finish()


def test_a_full_disk_is_told_by_the_name_of_the_column(tmp_path):
    writer = ColumnWriter(tmp_path, "column", np.float32, 1000)
    writer._stream.close()
    with (
        open("/dev/full", "wb", buffering=0) as writer._stream,
        pytest.raises(OSError, match=r"No space left on device: '.*column\.npy'"),
    ):
        writer.append(np.zeros(1000))


def test_a_mistake_of_the_system_is_no_damage(store, monkeypatch):
    def refuse(path, **_):
        raise OSError(24, "Too many open files", str(path))

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        store.column("ids")


@pytest.mark.parametrize("file", ["ids.npy", "two_theta.npy", "target_band_gap.npy", "split.npy"])
def test_columns_of_another_run_are_noticed_when_a_store_is_opened(
    store, crystal_rows, csv_text, tmp_path, file
):
    """Of the same number of rows, so that nothing but the content differs."""
    path = tmp_path / "other.csv"
    path.write_text(csv_text(crystal_rows(60, first=20)))
    other = prepare("csv", [path], tmp_path / "other").store
    assert (store.path / file).read_bytes() != (other.path / file).read_bytes()
    (store.path / file).write_bytes((other.path / file).read_bytes())
    with pytest.raises(UserError, match=rf"{file}: damaged.*xxact data verify"):
        open_store(store.path)


@pytest.mark.parametrize("damage", ["unlink", "cut"])
def test_missing_and_shortened_columns_are_noticed_when_a_store_is_opened(store, damage):
    path = store.path / "intensity.npy"
    if damage == "unlink":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=rf"{store.path} .*intensity\.npy: "):
        open_store(store.path)


def test_a_damaged_store_is_made_again_when_told_to(store, crystals_csv):
    (store.path / "ids.npy").unlink()
    with pytest.raises(UserError, match=r"that is damaged \(ids\.npy: missing\).*--overwrite"):
        prepare("csv", [crystals_csv], store.path)
    assert prepare("csv", [crystals_csv], store.path, overwrite=True).store.verify() == []


def test_samples_of_a_file_hold_its_beginning_and_end(tmp_path):
    path = tmp_path / "column"
    content = bytearray(np.random.default_rng(0).bytes(1 << 20))
    probes = set()
    for changed in (None, 0, -1, (1 << 19) + 1):
        path.write_bytes(content)
        if changed is not None:
            with open(path, "r+b") as file:
                file.seek(changed if changed >= 0 else len(content) + changed)
                file.write(b"other")
        probes.add(probe_of(path))
        path.unlink()
    assert len(probes) == 3  # the middle is not looked at
