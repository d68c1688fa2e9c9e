"""Tables as people have them: encodings, separators, what stands above a header, column names."""

import bz2
import csv
import os
import threading

import numpy as np
import pytest

from xxact.cli import main
from xxact.data.prepare import prepare
from xxact.data.sources.arguments import parse_columns
from xxact.data.sources.csv_files import KNOWN
from xxact.data.sources.source import Columns, TargetColumn
from xxact.data.store import Store, open_store
from xxact.errors import UserError

TEXT = "id,formula,y\néchantillon 1é,NaCl,1\néchantillon 1è,KCl,2\nplain,LiF,3\n"
IDS = ["échantillon 1é", "échantillon 1è", "plain"]


@pytest.fixture
def stored(tmp_path):
    """Prepare a store of the bytes of a file, with `--target` options."""

    def prepared(content: bytes, *targets: str, name: str = "in.csv") -> Store:
        (tmp_path / name).write_bytes(content)
        columns = parse_columns([], list(targets or ["y=y"]), KNOWN)
        return prepare("csv", [tmp_path / name], tmp_path / "stores" / name, columns=columns).store

    return prepared


def ids(store: Store) -> list[str]:
    return [i.decode() for i in store.ids]


def failures(store: Store) -> dict[str, str]:
    with open(store.path / "failures.csv", newline="", encoding="utf-8") as stream:
        return {row["id"]: row["message"] for row in csv.DictReader(stream)}


# ------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_unicode_is_read_in_every_form(stored, encoding, end):
    store = stored(TEXT.replace("\n", end).encode(encoding))
    assert ids(store) == IDS
    assert store.values("y").tolist() == [1, 2, 3]
    assert store.manifest["failures"] == {}


def test_big_endian_with_a_mark(stored):
    assert ids(stored(b"\xfe\xff" + TEXT.encode("utf-16-be"))) == IDS


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac-roman", "cp1250"])
def test_eight_bit_encodings_are_refused_with_the_line(stored, tmp_path, encoding):
    with pytest.raises(UserError, match=r"in\.csv, line 2: the byte .* is not UTF-8.*WINDOWS-1252"):
        stored(TEXT.replace("è", "ü").encode(encoding))
    assert not (tmp_path / "stores").exists()


def test_the_refusal_shows_the_line_as_windows_has_it(stored):
    with pytest.raises(UserError, match=r"reads 'échantillon 1é,NaCl,1'"):
        stored(TEXT.encode("cp1252"))


@pytest.mark.parametrize("packed", [False, True])
def test_one_bad_byte_in_a_long_file_is_found(stored, packed):
    rows = [f"é{k},NaCl,{k}".encode() for k in range(200_000)]
    rows[123_456] = b"\xe9123456,NaCl,1"
    content = b"\n".join([b"id,formula,y", *rows])
    with pytest.raises(UserError, match="line 123458: the byte e9"):
        stored(bz2.compress(content) if packed else content)


def test_a_bad_byte_in_a_column_name(stored):
    with pytest.raises(UserError, match="line 1: the byte e9"):
        stored("id,formula,y,qualité\na,NaCl,1,2\n".encode("cp1252"))


def test_half_a_character_at_the_end(stored):
    with pytest.raises(UserError, match="line 2"):
        stored("formula,y\nNaCl,1é".encode()[:-1])
    with pytest.raises(UserError, match=r"line 2.*UTF-16"):
        stored("formula,y\nNaCl,1\n".encode("utf-16-le")[:-1])


def test_letters_in_names_and_crystals(crystal_rows, csv_text, tmp_path):
    rows = [row | {"qualité": k} for k, row in enumerate(crystal_rows(3))]
    rows[0]["cif"] = "# mesuré à Orléans\n" + rows[0]["cif"]
    path = tmp_path / "c.csv"
    path.write_text(csv_text(rows), encoding="utf-16")
    columns = Columns(targets=(TargetColumn("quality", "", "Qualité"),))
    store = prepare("csv", [path], tmp_path / "s", columns=columns).store
    assert store.values("quality").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 and so on", "a zip archive or a spreadsheet"),
        (b"\xd0\xcf\x11\xe0 and so on", "an old spreadsheet"),
        (b"\x28\xb5\x2f\xfd and so on", "zstd"),
        (b"formula,y\nNa\0Cl,1\n", "NUL bytes"),
        (b"", "the file is empty"),
        (b"\n\n# only a comment\n", "the file is empty"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(stored, content, message):
    with pytest.raises(UserError, match=rf"no input can be read: .*in\.csv: .*{message}"):
        stored(content)


# ------------------------------------------------------------------- separators and headers


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_separators_are_recognised(stored, delimiter):
    store = stored(TEXT.replace(",", delimiter).encode())
    assert ids(store) == IDS
    assert store.values("y").tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "head",
    [
        "\n",
        "\r\n  \r\n",
        "# exported 2024\n# by hand; twice\n",
        "\n# a comment\n\n",
        "sep=,\n",
        "SEP=,\r\n",
        "\ufeffsep=,\n",
    ],
)
def test_what_stands_above_a_header_is_passed_over(stored, head):
    assert ids(stored((head + TEXT).encode())) == IDS


def test_a_separator_that_is_said_is_taken(stored):
    text = "sep=;\nid;formula;y, of a, b, c\na;NaCl;1\n"
    assert stored(text.encode(), "y=y, of a, b, c").values("y").tolist() == [1]


def test_decimal_commas_with_semicolons(stored):
    text = "id;formula;y;k;p\na;NaCl;1,5;-2,5e-3;1,5\nb;KCl;1.5;7;1,5\nc;LiF;1.234,5;1;x\n"
    store = stored(text.encode(), "y=y", "k=k", "p:class=p")
    assert store.values("y").tolist() == [1.5, 1.5]
    np.testing.assert_allclose(store.values("k"), [-0.0025, 7], rtol=1e-6)
    assert store.targets["p"].classes == ("1,5",)
    assert "1.234,5" in failures(store)["c"]


def test_a_comma_in_a_number_is_no_decimal_point_elsewhere(stored):
    store = stored(b'id\tformula\ty\na\tNaCl\t"1,234"\nb\tKCl\t1\n')
    assert ids(store) == ["b"]
    assert "not a number: '1,234'" in failures(store)["a"]


def test_empty_rows_are_passed_over(stored):
    assert ids(stored(b"id,formula,y\na,NaCl,1\n\n,,\n , ,\nb,KCl,2\n,,\n")) == ["a", "b"]


def test_a_quotation_mark_that_is_not_closed_swallows_nothing_in_silence(tmp_path):
    rows = [f"r{k},NaCl,{k}" for k in range(50)]
    rows[20] = 'r20,"NaCl,20'
    path = tmp_path / "in.csv"
    path.write_text("\n".join(["# head", "id,formula,y", *rows, ""]))
    columns = parse_columns([], ["y=y"], KNOWN)
    prepared = prepare("csv", [path], tmp_path / "store", columns=columns)
    assert prepared.store.n == 20
    assert prepared.unreadable == {path: "line 52: a quotation mark is not closed"}


def test_what_stands_behind_a_quotation_mark_is_named(stored):
    with pytest.raises(UserError, match=r"line 2: ',' expected after"):
        stored(b'id,formula,y\n"a"b,NaCl,1\n')


def test_a_field_over_several_lines(stored):
    assert ids(stored(b'"id",formula,"y\nof it"\n"a ""quoted""",NaCl,1\n', "y=y\nof it")) == [
        'a "quoted"'
    ]


def test_a_header_without_rows_is_named(stored):
    with pytest.raises(UserError, match="it has a header and no rows"):
        stored(b"id,formula,y\n")


def test_unreadable_files_among_readable_ones_are_named(tmp_path, capsys):
    contents = {"a": b"formula,y\nNaCl,1\n", "empty": b"", "head": b"formula,y\n", "zip": b"PK\3\4"}
    for name, content in contents.items():
        (tmp_path / f"{name}.csv").write_bytes(content)
    inputs = [str(tmp_path / f"{name}.csv") for name in contents]
    arguments = ["data", "prepare", "--source", "csv", "--input", *inputs, "--target", "y=y"]
    assert main([*arguments, "--out", str(tmp_path / "s")]) == 1
    assert ids(open_store(tmp_path / "s")) == ["NaCl"]
    said = capsys.readouterr().err
    for name, reason in (("empty", "is empty"), ("head", "no rows"), ("zip", "zip archive")):
        assert any(f"{name}.csv" in line and reason in line for line in said.splitlines())


def test_a_pipe_is_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.open("wb").close(), daemon=True)
    writer.start()
    with pytest.raises(UserError, match="a pipe or a device, which cannot be read twice"):
        prepare("csv", [pipe], tmp_path / "store")
    pipe.open("rb").close()
    writer.join(5)


# ---------------------------------------------------------------------------- column names


def test_names_without_regard_to_case_and_blanks(stored):
    store = stored(b" ID , Formula,BAND_GAP, Hardness\na,NaCl,1,2\n", "hardness=HARDNESS")
    assert ids(store) == ["a"]
    assert set(store.targets) == {"band_gap", "hardness"}


def test_an_exact_name_goes_first(stored):
    store = stored(b"formula,Y,y\nNaCl,1,2\n")
    assert store.values("y").tolist() == [2]
    store = stored(b"formula,Y,y\nNaCl,1,2\n", "big=Y", "small=y", name="b.csv")
    assert [store.values(name).tolist() for name in ("big", "small")] == [[1], [2]]


def test_a_name_that_stands_twice_is_ambiguous(stored):
    with pytest.raises(UserError, match=r"in\.csv: the column 'y' may be any of 'y', 'y'"):
        stored(b"formula,y,y\nNaCl,1,2\n")


def test_alike_names_are_named(stored):
    with pytest.raises(UserError, match="'gap' may be any of 'Gap', 'GAP': rename"):
        stored(b"formula,Gap,GAP\nNaCl,1,2\n", "y=gap")
