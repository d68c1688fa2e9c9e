"""Kept predictions: what the columns say, and the same bytes for the same content."""

from types import SimpleNamespace

import numpy as np
import pytest

from xxact.data.targets import Target
from xxact.errors import UserError
from xxact.experiments import predictions

ENERGY, PHASE = Target("energy", "eV/atom"), Target("phase", classes=("a", "b", "c"))
FORMULA = np.array([5, 3, 5, 9, 3, 5, 7, 3], dtype=np.uint64)
TRUE = {
    "energy": np.array([0, 1, np.nan, 3, 4, 5, 6, 7], dtype=np.float32),
    "phase": np.array([0, 1, 2, -1, 0, 1, 2, 0]),
}
STORE = SimpleNamespace(
    ids=np.array([f"id{k}".encode() for k in range(8)]),
    formula_keys=lambda: FORMULA,
    values=TRUE.__getitem__,
    targets={},
)
TEST, TRAIN = np.array([0, 1, 2, 3]), np.array([4, 6, 7])


def model(rows, pattern_of=None):
    """A model whose energy is 10 times the composition's row plus the pattern's row."""
    pattern_of = rows if pattern_of is None else pattern_of
    probability = np.eye(3)[(rows + pattern_of) % 3] * 0.9 + 0.1 / 3
    return {"energy": 10.0 * rows + pattern_of, "phase": probability}


@pytest.fixture(scope="module")
def content():
    return predictions.collect(STORE, TEST, TRAIN, [ENERGY, PHASE], model(TEST), model)


def test_columns_of_the_samples(content):
    assert content["id"].tolist() == [b"id0", b"id1", b"id2", b"id3"]
    np.testing.assert_array_equal(content["energy.true"], TRUE["energy"][TEST])
    assert content["energy.predicted"].tolist() == [0, 11, 22, 33]
    assert content["phase.true"].tolist() == [0, 1, 2, -1]
    assert content["phase.predicted"].tolist() == [0, 2, 1, 0]
    assert content["phase.probability"].shape == (4, 3)
    assert content["phase.probability"].dtype == np.float16
    assert content["formula"].tolist() == [5, 3, 5, 9]
    assert content["formula_in_training"].tolist() == [False, True, False, False]
    assert content["n_polymorphs"].tolist() == [3, 3, 3, 1]


def test_where_values_come_from_is_kept_if_the_store_says_it():
    energy = Target("formation_energy_per_atom", "eV/atom")
    origin = Target("energy_source", classes=("here", "there"))
    values = {energy.name: TRUE["energy"], origin.name: np.array([0, 1, -1, 1, 0, 0, 0, 0])}
    store = SimpleNamespace(
        **{**vars(STORE), "values": values.__getitem__, "targets": {origin.name: origin}}
    )
    outputs = {energy.name: np.zeros(4)}
    content = predictions.collect(store, TEST, TRAIN, [energy], outputs)
    assert content[f"{energy.name}.origin"].tolist() == [b"here", b"there", b"", b"there"]


def test_permuted_patterns_are_those_of_other_samples(content):
    others = content["energy.permuted_any"] - 10 * TEST
    assert sorted(others) == TEST.tolist()
    assert (others != TEST).all()
    np.testing.assert_array_equal(content["phase.permuted_any"], (TEST + others) % 3)


def test_permuted_patterns_within_a_formula(content):
    column = content["energy.permuted_formula"]
    assert np.isnan(column[3])
    assert content["phase.permuted_formula"][3] == -1
    others = (column - 10 * TEST)[:3].astype(int)
    assert (others != TEST[:3]).all()
    np.testing.assert_array_equal(FORMULA[others], FORMULA[TEST[:3]])


def test_each_polymorph_is_drawn_as_often():
    formula = np.zeros(4, dtype=np.uint64)
    rows = np.tile(np.arange(4), 3000)
    own, others = predictions.another_of_formula(formula, rows)
    assert len(own) == len(rows)
    counts = np.zeros((4, 4), dtype=int)
    np.add.at(counts, (rows, others), 1)
    assert (np.diag(counts) == 0).all()
    assert abs(counts[~np.eye(4, dtype=bool)] - 1000).max() < 150


def test_one_sample_has_no_other():
    alone = predictions.collect(STORE, TEST[:1], TRAIN, [ENERGY], model(TEST[:1]), model)
    assert np.isnan(alone["energy.permuted_any"]).all()


def test_a_model_of_one_input_is_not_permuted():
    content = predictions.collect(STORE, TEST, TRAIN, [ENERGY], model(TEST))
    assert not [name for name in content if "permuted" in name]


def test_the_file_is_read_back_and_its_bytes_are_the_same(content, tmp_path):
    first = predictions.write(tmp_path / "a.npz", content)
    second = predictions.write(tmp_path / "b.npz", content)
    assert first["sha256"] == second["sha256"]
    assert (first["file"], first["n"]) == ("a.npz", 4)
    back = predictions.read(tmp_path / "a.npz")
    assert list(back) == list(content)
    for name, column in content.items():
        np.testing.assert_array_equal(back[name], column)
        assert back[name].dtype == column.dtype
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-30])
    with pytest.raises(UserError, match=r"a\.npz"):
        predictions.read(tmp_path / "a.npz")


def test_a_table_names_classes_and_leaves_empty_what_is_not_known():
    lines = list(
        predictions.table(STORE.ids[2:4], [ENERGY, PHASE], model(TEST[2:]), {"phase": TEST[2:] - 4})
    )
    assert lines[0][:3] == ["id", "energy.true", "energy.predicted"]
    assert lines[0][-1] == "phase.probability.c"
    assert lines[1][:5] == ["id2", "", "22", "", "b"]
    assert [float(p) for p in lines[1][5:]] == pytest.approx([1 / 30, 28 / 30, 1 / 30], rel=1e-4)
