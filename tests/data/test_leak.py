"""Splits by formula, and what of the test split is in training already."""

import pytest

from xxact.data.leak import leak
from xxact.data.prepare import prepare
from xxact.data.sources.arguments import parse_inputs
from xxact.data.sources.source import Columns, TargetColumn
from xxact.errors import UserError

MODULUS = Columns(targets=(TargetColumn("k", "GPa", "k"),))


@pytest.fixture
def formulas(tmp_path):
    """Function (formulas, further columns) -> a CSV of them with a value each."""

    def write(names, header="formula,k", name="f.csv"):
        rows = (f"{formula},{k}" for k, formula in enumerate(names))
        path = tmp_path / name
        path.write_text("\n".join([header, *rows, ""]))
        return path

    return write


def splits_of(store) -> dict[int, set[int]]:
    """The splits that the samples of each formula are in."""
    found = {}
    for key, split in zip(store.formula_keys().tolist(), store.split.tolist(), strict=True):
        found.setdefault(key, set()).add(split)
    return found


def test_without_ids_all_rows_of_a_formula_are_in_one_split(formulas, tmp_path):
    spellings = ["NaCl", "ClNa", "Na2Cl2", "Na0.5Cl0.5"]
    others = [f"Li{k}F" for k in range(1, 60)]
    path = formulas([*spellings * 10, *others])
    store = prepare("csv", [path], tmp_path / "s", columns=MODULUS).store
    assert store.n == 99
    assert all(len(splits) == 1 for splits in splits_of(store).values())
    assert set(store.split.tolist()) == {0, 1, 2, 3}
    assert store.manifest["split"] == {"by": "formula"}
    (line,) = leak(store)
    assert line.endswith("0 have a formula that train has")


def test_formulas_with_ids_are_split_as_told(formulas, tmp_path):
    path = formulas([f"a{k},Na{k % 5 + 1}Cl" for k in range(100)], "id,formula,k")
    by_id = prepare("csv", [path], tmp_path / "i", columns=MODULUS).store
    by_formula = prepare("csv", [path], tmp_path / "f", columns=MODULUS, split_by="formula").store
    assert by_id.manifest["split"] == {"by": "id"}
    assert all(len(splits) > 1 for splits in splits_of(by_id).values())
    assert all(len(splits) == 1 for splits in splits_of(by_formula).values())
    assert by_id.content_sha256 != by_formula.content_sha256
    n = len(by_id.indices("test"))
    assert leak(by_id) == [f"of {n} test samples, {n} have a formula that train has"]


def test_crystals_of_a_formula_are_in_one_split(crystals_csv, tmp_path):
    store = prepare("csv", [crystals_csv], tmp_path / "s", split_by="formula").store
    assert all(len(splits) == 1 for splits in splits_of(store).values())


def test_the_split_does_not_depend_on_other_rows(formulas, tmp_path):
    names = [f"Na{k}Cl" for k in range(1, 60)]
    a = prepare("csv", [formulas(names, name="a.csv")], tmp_path / "a", columns=MODULUS).store
    some = [name.replace("Cl", "") + "Cl" for name in names[40:3:-1]]
    b = prepare("csv", [formulas(some, name="b.csv")], tmp_path / "b", columns=MODULUS).store
    known = dict(zip(a.ids.tolist(), a.split.tolist(), strict=True))
    assert all(known[i] == s for i, s in zip(b.ids.tolist(), b.split.tolist(), strict=True))


def test_leaks_of_a_given_split_are_counted(cubic_cif, csv_text, tmp_path):
    def crystal(identifier, edge, x, pair=("Cs", "Cl")):
        atoms = [(pair[0], 0, 0, 0), (pair[1], x, x, x)]
        return {"material_id": identifier, "cif": cubic_cif(edge, atoms)}

    train = [crystal("a", 4.1, 0.5), crystal("b", 4.3, 0.4)]
    test = [
        crystal("copy of a", 4.1, 0.5),
        crystal("strained a", 4.2, 0.5),
        crystal("another structure", 4.3, 0.3, ("Cl", "Cs")),
        crystal("of another formula", 4.1, 0.5, ("Cs", "Br")),
    ]
    test[2]["cif"] = cubic_cif(5, [("Cs", 0, 0, 0), ("Cl", 0.4, 0.5, 0.3)])
    for name, rows in (("train", train), ("test", test)):
        (tmp_path / f"{name}.csv").write_text(csv_text(rows))
    inputs = parse_inputs([f"{n}={tmp_path / n}.csv" for n in ("train", "test")])
    store = prepare("csv", inputs, tmp_path / "s").store
    assert leak(store) == [
        "of 4 test samples, 3 have a formula that train has, 2 formula and space group, "
        "1 the same reflections under another id"
    ]
    with pytest.raises(UserError, match="a split of their own"):
        prepare("csv", inputs, tmp_path / "f", split_by="formula")


def test_reflections_are_compared_in_blocks(crystals_csv, tmp_path, monkeypatch):
    from xxact.data import leak as module

    store = prepare("csv", [crystals_csv], tmp_path / "s").store
    whole = module._reflection_keys(store)
    assert len(set(whole.tolist())) == store.n
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert (module._reflection_keys(store) == whole).all()


def test_a_rule_that_is_none_is_refused(crystals_csv, tmp_path):
    with pytest.raises(UserError, match="not by 'luck'"):
        prepare("csv", [crystals_csv], tmp_path / "s", split_by="luck")
