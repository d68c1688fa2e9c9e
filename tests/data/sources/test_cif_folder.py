"""Folders of CIF files with a table: with and without a header, CGCNN's layout, what is missing."""

import csv

import pytest

from xxact.cli import main
from xxact.data.prepare import prepare
from xxact.data.sources.arguments import parse_columns
from xxact.data.sources.cif_folder import KNOWN
from xxact.data.store import Store, open_store
from xxact.errors import UserError


@pytest.fixture
def folder(tmp_path, cubic_cif):
    """A folder of three CIF files, with a subfolder and CGCNN's file of atoms."""
    made = tmp_path / "crystals"
    (made / "more").mkdir(parents=True)
    for k, name in enumerate(("a", "b", "more/c")):
        text = cubic_cif(4 + 0.1 * k, [("Cs", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5)])
        (made / f"{name}.cif").write_text(text)
    (made / "atom_init.json").write_text("{}")
    return made


@pytest.fixture
def stored(folder, tmp_path):
    """Prepare a store of a table in the folder."""

    def prepared(text: str, *targets: str, name: str = "table.csv", columns=()) -> Store:
        (folder / name).write_text(text)
        parsed = parse_columns(list(columns), list(targets), KNOWN)
        return prepare("cifs", [folder / name], tmp_path / "store", columns=parsed).store

    return prepared


def ids(store: Store) -> list[str]:
    return [i.decode() for i in store.ids]


def failures(store: Store) -> dict[str, tuple[str, str]]:
    with open(store.path / "failures.csv", newline="") as stream:
        return {row["id"]: (row["reason"], row["message"]) for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,band_gap\na,1\nb,2\n", ["a", "b"]),
        ("id;band_gap\na.cif;1,5\nb.cif;2\n", ["a.cif", "b.cif"]),
        ("File,band_gap\na.cif,1\nmore/c.cif,2\n", ["a.cif", "more/c.cif"]),
        ("file,id,band_gap\na,first,1\nmore/c,second,2\n", ["first", "second"]),
        ("material_id,file,band_gap\nx,b,1\n", ["x"]),
    ],
)
def test_tables_with_a_header(stored, text, expected):
    store = stored(text)
    assert ids(store) == expected
    assert store.has_xrd
    assert store.manifest["failures"] == {}
    assert (store.column("space_group") == 221).all()
    assert "band_gap" in store.targets


def test_layout_of_cgcnn(stored):
    store = stored("a,1.5\nb,-2\n", "band_gap:eV=property", name="id_prop.csv")
    assert ids(store) == ["a", "b"]
    assert store.values("band_gap").tolist() == [1.5, -2]


def test_further_properties_and_classes(stored):
    store = stored("a,1,metal\nb,2,salt\n", "h=property", "k:class=property_2", name="id_prop.csv")
    assert store.values("h").tolist() == [1, 2]
    assert store.targets["k"].classes == ("metal", "salt")


def test_a_property_has_to_be_named(stored):
    with pytest.raises(UserError, match=r"no header: .*--target NAME:UNIT=property"):
        stored("a,1.5\nb,-2\n", name="id_prop.csv")


def test_a_column_of_files_has_to_be_there(stored):
    with pytest.raises(UserError, match=r"neither a column 'file' nor 'id'.*: name, y.*file=NAME"):
        stored("name,y\na,1\n", "y=y")
    assert ids(stored("name,y\na,1\n", "y=y", columns=["file=name"])) == ["a"]


def test_the_same_crystals_as_in_a_table(stored, folder, tmp_path):
    store = stored("id,band_gap\na,1\nb,2\n")
    with open(tmp_path / "t.csv", "w", newline="") as stream:
        rows = [[n, g, (folder / f"{n}.cif").read_text()] for n, g in (("a", 1), ("b", 2))]
        csv.writer(stream).writerows([["id", "band_gap", "cif"], *rows])
    other = prepare("csv", [tmp_path / "t.csv"], tmp_path / "s").store
    assert store.manifest["columns"] == other.manifest["columns"]
    assert store.content_sha256 == other.content_sha256


def test_a_file_that_is_not_there_or_no_cif_is_listed(stored, folder):
    (folder / "bad.cif").write_text("no CIF")
    (folder / "noise.cif").write_bytes(b"PK\3\4")
    store = stored("id,band_gap\na,1\nzz,2\nbad,3\nnoise,4\n")
    assert ids(store) == ["a"]
    found = failures(store)
    assert found["zz"] == ("missing_file", "there is no file zz.cif beside the table")
    assert set(found) == {"zz", "bad", "noise"}
    assert "noise.cif" in found["noise"][1]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_letters_in_a_comment_of_a_cif(stored, folder, encoding):
    text = "# mesuré à Orléans\n" + (folder / "a.cif").read_text()
    (folder / "a.cif").write_bytes(text.encode(encoding))
    assert stored("id,band_gap\na,1\n").n == 1


def test_a_changed_file_is_noticed(stored, folder, cubic_cif, tmp_path):
    first = stored("id,band_gap\na,1\n")
    (folder / "a.cif").write_text(cubic_cif(5, [("K", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5)]))
    with pytest.raises(UserError, match="made in another way"):
        stored("id,band_gap\na,1\n")
    second = prepare("cifs", [folder / "table.csv"], tmp_path / "store", overwrite=True).store
    assert first.content_sha256 != second.content_sha256
    assert second.element_z.tolist() == [17, 19]


def test_from_the_command_line(folder, tmp_path, capsys):
    (folder / "id_prop.csv").write_text("a,1.5\nb,-2\n")
    arguments = ["data", "prepare", "--source", "cifs", "--out", str(tmp_path / "s")]
    arguments += ["--target", "gap:eV=property", "--workers", "1"]
    assert main([*arguments, "--input", str(folder / "id_prop.csv")]) == 0
    assert open_store(tmp_path / "s").n == 2
    with pytest.raises(UserError, match="of a folder of CIF files, the CSV file that lists them"):
        prepare("cifs", [folder], tmp_path / "no")
