"""Class targets: which cells are labels, how classes are ordered and kept, what is said of them."""

import json

import numpy as np
import pytest

from xxact.cli import main
from xxact.data.labels import class_counts, class_indices, ordered_classes, read_label, remarks
from xxact.data.prepare import prepare
from xxact.data.sources.arguments import parse_columns, parse_inputs
from xxact.data.sources.csv_files import KNOWN
from xxact.data.store import Store
from xxact.errors import UserError

CASE = "formula,phase,is_metal\nNaCl,rocksalt,0\nCsCl,caesium_chloride,0\nCu,fcc,1\nNi,fcc,1\n"
CASE += "MgO,rocksalt,0\n"


@pytest.fixture
def stored(tmp_path):
    """Prepare a store of texts of CSV, by split or alone, with `--target` options."""

    def prepared(text: str | dict[str, str], *targets: str, workers: int = 1) -> Store:
        texts = text if isinstance(text, dict) else {"": text}
        inputs = []
        for split, content in texts.items():
            path = tmp_path / f"{split or 'in'}.csv"
            path.write_text(content)
            inputs.append(f"{split}={path}" if split else str(path))
        columns = parse_columns([], list(targets), KNOWN)
        out = tmp_path / f"store{workers}"
        return prepare(
            "csv", parse_inputs(inputs), out, columns=columns, workers=workers, name="s"
        ).store

    return prepared


def labels_csv(labels: list[str]) -> str:
    """A table with a label a row, quoted, under distinct ids."""
    rows = (f'r{k},NaCl,"{label}"\n' for k, label in enumerate(labels))
    return "id,formula,c\n" + "".join(rows)


# ---------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("fcc", "fcc"),
        (" fcc ", "fcc"),
        ("Fm-3m", "Fm-3m"),
        ("", ""),
        ("  ", ""),
        ("nan", ""),
        ("NaN", ""),
        ("null", ""),
        (None, ""),
        (float("nan"), ""),
        ("Na", "Na"),  # sodium
        ("NA", "NA"),
        ("none", "none"),
        ("True", "true"),
        ("FALSE", "false"),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        ("03", "03"),
        ("1e5", "1e5"),
    ],
)
def test_labels(cell, label):
    assert read_label(cell) == label


@pytest.mark.parametrize("cell", [["fcc"], {"a": 1}, "x" * 101, "a\0b", "\ud800"])
def test_what_is_no_label(cell):
    with pytest.raises(ValueError, match=r"label|surrogate"):
        read_label(cell)


def test_order():
    assert ordered_classes({"b", "a", "B", "é"}, "t") == ["B", "a", "b", "é"]
    assert ordered_classes({"10", "9", "-1", "0"}, "t") == ["-1", "0", "9", "10"]
    assert ordered_classes({"1.5", "1", "01"}, "t") == ["01", "1", "1.5"]
    assert ordered_classes({"10", "9", "x"}, "t") == ["10", "9", "x"]
    with pytest.raises(UserError, match="no row that is stored has a label"):
        ordered_classes(set(), "t")
    with pytest.raises(UserError, match="32,769 classes are more than"):
        ordered_classes({str(k) for k in range(32769)}, "t")


def test_indices():
    labels = np.array([b"b", b"", b"a", b"b", "é".encode()])
    assert class_indices(labels, ["a", "b", "é"]).tolist() == [1, -1, 0, 1, 2]


# ----------------------------------------------------------------------------------- store


def test_text_labels_become_classes(stored):
    store = stored(CASE, "phase:class=phase", "is_metal:class=is_metal")
    assert store.targets["phase"].classes == ("caesium_chloride", "fcc", "rocksalt")
    assert store.values("phase").tolist() == [2, 0, 1, 1, 2]
    assert store.values("phase").dtype == np.int64
    assert store.targets["is_metal"].classes == ("0", "1")
    assert store.values("is_metal").tolist() == [0, 0, 1, 1, 0]
    assert store.targets["phase"].metric == "accuracy_percent"
    assert store.manifest["targets"]["phase"] == {
        "unit": "",
        "classes": ["caesium_chloride", "fcc", "rocksalt"],
    }
    assert store.column("target_phase").dtype == np.int16
    assert store.verify() == []


def test_without_class_a_text_column_is_refused_with_what_to_do(stored):
    with pytest.raises(UserError, match=r"not a number: 'rocksalt' \(for classes: --target phase:"):
        stored(CASE, "phase=phase")
    with pytest.raises(UserError, match=r"not a number: 'True' \(for classes: --target c:class=c"):
        stored(labels_csv(["True", "False"]), "c=c")


@pytest.mark.parametrize("values", [["0", "1"], ["1", "1.0", ""], ["0"]])
def test_zeros_and_ones_as_a_number_are_said(stored, values, capsys):
    store = stored(labels_csv(values), "c=c")
    assert not store.targets["c"].is_class
    said = "c holds 0 and 1 alone and is taken as a number"
    assert remarks(store)[0].startswith(said)
    assert main(["data", "info", str(store.path)]) == 0
    assert said in capsys.readouterr().out


def test_other_numbers_are_not_remarked(stored):
    assert remarks(stored(labels_csv(["0", "1", "0.5"]), "c=c")) == []


def test_the_number_of_shards_and_workers_changes_nothing(stored, monkeypatch):
    monkeypatch.setattr("xxact.data.compute.ROWS", 7)
    text = labels_csv([f"class {k % 13}" if k % 5 else "" for k in range(60)])
    one, two = stored(text, "c:class=c"), stored(text, "c:class=c", workers=2)
    assert len(one.targets["c"].classes) == 13
    names = [*one.targets["c"].classes, ""]
    expected = [f"class {k % 13}" if k % 5 else "" for k in range(60)]
    assert [names[k] for k in one.values("c")] == expected
    for path in one.path.glob("*.*"):
        assert path.read_bytes() == (two.path / path.name).read_bytes()


def test_two_hundred_classes(stored):
    store = stored(labels_csv([str(k % 200) for k in range(600)]), "c:class=c")
    assert store.targets["c"].classes == tuple(map(str, range(200)))
    assert store.values("c").tolist() == [k % 200 for k in range(600)]


def test_true_and_false(stored):
    store = stored(labels_csv(["True", "false", "TRUE", ""]), "c:class=c")
    assert store.targets["c"].classes == ("false", "true")
    assert store.values("c").tolist() == [1, 0, 1, -1]


def test_empty_cells_are_unlabelled(stored, capsys):
    store = stored(labels_csv(["a", "", "b", " "]), "c:class=c")
    assert store.values("c").tolist() == [0, -1, 1, -1]
    assert store.targets["c"].known(store.values("c")).tolist() == [True, False, True, False]
    counts = class_counts(store, "c")
    assert sum(counts["unlabelled"].values()) == 2


def test_a_class_target_without_labels_is_refused(stored):
    with pytest.raises(UserError, match="no row that is stored has a label of 'c'"):
        stored(labels_csv(["", ""]), "c:class=c")


def test_a_label_of_a_repeated_row_makes_no_class(stored):
    text = "id,formula,c\nr,NaCl,a\nr,NaCl,b\ns,KCl,c\n"
    assert stored(text, "c:class=c").targets["c"].classes == ("a", "c")


def test_classes_are_shown_by_name_and_split(stored, capsys):
    store = stored(
        {"train": labels_csv(["a", "a", "a long name of a class"]), "test": CASE_TEST},
        "c:class=c",
    )
    assert class_counts(store, "c")["b"]["test"] == 1
    assert main(["data", "info", str(store.path)]) == 0
    out = capsys.readouterr().out
    for name in ("a long name of a class", "b"):
        assert any(line.strip().startswith(name) for line in out.splitlines())


CASE_TEST = "id,formula,c\nt0,NaCl,a\nt1,NaCl,b\n"


def test_a_class_that_only_the_test_split_has_is_said(stored, capsys):
    store = stored({"train": labels_csv(["a", "c"]), "test": CASE_TEST}, "c:class=c")
    said = "c: no training sample has the class 'b', which a model cannot learn"
    assert remarks(store) == [said]
    assert main(["data", "info", str(store.path)]) == 0
    assert said in capsys.readouterr().out


def test_a_store_for_tests_alone_lacks_no_training(stored):
    assert remarks(stored({"test": CASE_TEST}, "c:class=c")) == []


def test_one_class_alone_is_said(stored):
    assert remarks(stored({"train": labels_csv(["a", "a"])}, "c:class=c")) == [
        "c has one class alone, 'a': there is nothing to tell apart"
    ]


def test_classes_that_differ_by_capitals_are_said(stored):
    store = stored({"train": labels_csv(["FCC", "fcc", "hcp", "1", "1.0"])}, "c:class=c")
    assert remarks(store) == [
        "c: '1', '1.0' are different classes, by their spelling",
        "c: 'FCC', 'fcc' are different classes, by their spelling",
    ]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["h=y", "h=y"], "the target 'h' is given twice"),
        (["h:GPa=y", "h:class=z"], "the target 'h' is given twice"),
        (["band_gap:class=y"], "'band_gap' is a number"),
        (["Phase:class=y"], r"NAME:class=COLUMN for classes"),
    ],
)
def test_targets_that_contradict_are_refused(targets, message):
    with pytest.raises(UserError, match=message):
        parse_columns([], targets, KNOWN)
    with pytest.raises(UserError, match="'band_gap' is given twice"):
        parse_columns(["band_gap=x"], ["band_gap:eV=y"], KNOWN)
    with pytest.raises(UserError, match="'id' is 'x' already"):
        parse_columns(["id=x", "id=y"], [], KNOWN)


def test_labels_of_json(tmp_path):
    from pymatgen.core import Lattice, Structure

    structure = Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]]).as_dict()
    values = [True, False, None, True]
    rows = [{"id": str(k), "structure": structure, "m": v} for k, v in enumerate(values)]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    columns = parse_columns([], ["m:class=m"], KNOWN)
    store = prepare("json", [tmp_path / "in.json"], tmp_path / "s", columns=columns).store
    assert store.targets["m"].classes == ("false", "true")
    assert store.values("m").tolist() == [1, 0, -1, 1]
