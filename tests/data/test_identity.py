"""`Store.content_sha256`: the same for the same data however it came, another for other data."""

import gzip

import pytest

from xxact.data.prepare import prepare
from xxact.data.sources.arguments import parse_columns
from xxact.data.sources.csv_files import KNOWN
from xxact.data.sources.source import Input


@pytest.fixture
def identity(crystal_rows, csv_text, tmp_path):
    """Function (change of the rows, arguments of `prepare`) -> content hash of 12 crystals."""
    made = []

    def of(change=lambda rows: None, name="a.csv", split=None, targets=(), **options) -> str:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(folder)
        rows = crystal_rows(12)
        change(rows)
        content = csv_text(rows).encode()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        columns = parse_columns([], list(targets), KNOWN)
        inputs = [Input(folder / name, split)]
        store = prepare("csv", inputs, folder / options.pop("out", "store"), columns=columns)
        return store.store.content_sha256

    return of


def test_names_compression_and_order_of_work_do_not_enter(identity, monkeypatch):
    one = identity()
    assert identity(name="other.csv.gz", out="elsewhere") == one
    monkeypatch.setattr("xxact.data.compute.ROWS", 5)
    assert identity() == one


def test_last_bits_of_computed_columns_do_not_enter(identity, monkeypatch):
    from xxact.data import shard

    one, compute = identity(), shard.reflection_columns

    def other_processor(crystal):
        columns = compute(crystal)
        return columns | {"intensity": columns["intensity"] * (1 + 1e-6)}

    monkeypatch.setattr(shard, "reflection_columns", other_processor)
    assert identity() == one


def _energy_changed(rows):
    rows[3]["formation_energy_per_atom"] = f"{1.01 * float(rows[3]['formation_energy_per_atom'])}"


def _atom_moved(rows):
    assert "0.50000000" in rows[3]["cif"]
    rows[3]["cif"] = rows[3]["cif"].replace("0.50000000", "0.49000000")


def _swapped(rows):
    rows[2], rows[3] = rows[3], rows[2]


def _renamed(rows):
    rows[3]["material_id"] = "other"


def _space_group_changed(rows):
    rows[3]["spacegroup.number"] = "220"


def _value_gone(rows):
    rows[3]["band_gap"] = ""


def _row_gone(rows):
    del rows[3]


@pytest.mark.parametrize(
    "change",
    [
        _energy_changed,
        _atom_moved,
        _swapped,
        _renamed,
        _space_group_changed,
        _value_gone,
        _row_gone,
    ],
)
def test_a_change_of_one_row_enters(identity, change):
    assert identity(change) != identity()


def test_split_unit_target_and_reader_enter(identity, monkeypatch):
    made = [
        identity(),
        identity(split="train"),
        identity(split="test"),
        identity(targets=["band_gap:meV=band_gap"]),
        identity(targets=["gap:eV=band_gap"]),
    ]
    monkeypatch.setattr("xxact.data.prepare.READER_VERSION", 99)
    made.append(identity())
    assert len(set(made)) == len(made)
