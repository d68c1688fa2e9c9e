"""Scores on measured patterns, counted by hand."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from tests.inference.made_up import measurement
from xxact.errors import UserError
from xxact.inference.answer import Answer, Classes
from xxact.inference.benchmark import benchmark, beside, read_entries

COLUMNS = "id source formula space_group crystal_system radiation wavelength_angstrom thin_film"
COLUMNS = [*COLUMNS.split(), "single_phase", "confidence"]
ROWS = [
    ("a", "one", "NaCl", 225, "cubic", "Cu Ka1+Ka2", 1.5406, "no", "yes", "high"),
    ("b", "one", "NaCl", 225, "cubic", "Cu Ka1", 1.5406, "no", "yes, by match", "medium"),
    ("c", "two", "", 152, "trigonal", "synchrotron", 0.41, "no", "yes", "high"),
    ("d", "two", "CaCO3", 167, "trigonal", "Mo Ka1+Ka2", 0.7093, "no", "yes", "high"),
    ("e", "two", "KCl", 225, "cubic", "Cu Ka1+Ka2", 1.5406, "textured", "yes", "high"),
    ("f", "two", "KCl", 225, "cubic", "Cu Ka1+Ka2", 1.5406, "no", "mixture", "high"),
    ("g", "two", "KCl", 225, "cubic", "Cu Ka1+Ka2", 1.5406, "no", "yes", "low"),
]
#: What the made-up model says: system, group, probability of both, and whether that is enough.
SAID = {
    "a": ("cubic", "225", 0.9, True),
    "b": ("cubic", "221", 0.4, False),
    "c": ("trigonal", "154", 0.8, True),
    "d": None,
}


@pytest.fixture
def folder(tmp_path):
    x, y = measurement()
    steps = np.round(np.diff(x, prepend=x[0]) * 1e6).astype(np.int32)
    np.savez(
        tmp_path / "patterns.npz",
        id=np.array([row[0] for row in ROWS]),
        offset=np.arange(len(ROWS) + 1) * len(x),
        two_theta_start=np.full(len(ROWS), x[0]),
        two_theta_delta_1e6=np.tile(steps, len(ROWS)),
        counts=np.tile(y, len(ROWS)).astype(np.float32),
    )
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    return tmp_path


class MadeUpPredictor:
    """Says `SAID`, whatever the pattern."""

    card = None

    def sample(self, pattern, formula=None):
        return SimpleNamespace(pattern=pattern, formula=formula)

    def predict_all(self, samples):
        return [self._answer(sample.pattern) for sample in samples]

    def _answer(self, pattern):
        said = SAID[pattern.name]
        if said is None:
            return Answer(pattern, None, None, "made up", doubts=("too noisy",))
        system, group, p, known = said
        doubt = "" if known else "unsure"
        classes = {"crystal_system": Classes({system: p, "other": 1 - p}, doubt)}
        classes["space_group"] = Classes({group: p, "1": 1 - p}, doubt)
        return Answer(pattern, None, None, "made up", classes)


def test_entries_are_powders_of_one_sure_phase(folder):
    x, y = measurement()
    entries = read_entries(folder)
    assert [entry.pattern.name for entry in entries] == ["a", "b", "c", "d"]
    assert len(read_entries(folder, everything=True)) == 7
    np.testing.assert_allclose(entries[1].pattern.two_theta_deg, x, atol=1e-9)
    np.testing.assert_array_equal(entries[1].pattern.counts, y)
    radiations = [(e.pattern.radiation.alpha1, e.pattern.radiation.alpha2) for e in entries]
    assert radiations == [(1.54056, 1.54439), (1.5406, None), (0.41, None), (0.7093, 0.71359)]
    assert [entry.formula for entry in entries] == ["NaCl", "NaCl", None, "CaCO3"]


def test_scores(folder, tiny_store):
    found = benchmark(MadeUpPredictor(), read_entries(folder), tiny_store)
    assert (found["patterns"], found["phases"]) == (4, 3)
    alone, given = found["pattern_only"], found["with_formula"]
    assert (alone["all"]["n"], given["all"]["n"]) == (4, 3)
    assert alone["all"]["crystal_system"] == {
        "accuracy": 0.75,
        "accuracy_by_phase": pytest.approx(2 / 3, abs=1e-4),
        "answered": 0.5,
        "accuracy_of_answered": 1.0,
        "accuracy_of_surest_half": 1.0,
        "mean_confidence": pytest.approx(0.7, abs=1e-4),
        "calibration_error": pytest.approx((0.1 + 0.6 + 0.2) / 3, abs=1e-4),
        # one answer in each bin, of confidence 0.9, 0.4 and 0.8
        "calibration_error_by_chance": pytest.approx(
            (2 / np.pi) ** 0.5 * (0.3 + 0.24**0.5 + 0.4) / 3, abs=1e-4
        ),
    }
    told = found["told"]["pattern_only"]["space_group"]
    assert told == {"confidence": [0.9, 0.4, 0.8], "right": [True, False, True]}
    groups = alone["all"]["space_group"]
    assert groups["accuracy"] == 0.5  # 154 is the mirror image of 152
    assert groups["accuracy_by_phase"] == pytest.approx((0.5 + 1 + 0) / 3, abs=1e-4)
    assert given["source: one"]["space_group"]["accuracy"] == 0.5
    assert given["source: two"]["crystal_system"]["calibration_error"] is None
    assert alone["system: trigonal"]["crystal_system"]["accuracy"] == 0.5
    is_in = any(name.startswith(b"NaCl-0") for name in tiny_store.ids[tiny_store.indices("train")])
    assert given["in training: no"]["n"] == (1 if is_in else 3)


def test_runs_stand_side_by_side(folder, tiny_store):
    entries = read_entries(folder)
    found = beside({"a": MadeUpPredictor(), "b": MadeUpPredictor()}, entries, tiny_store)
    assert list(found) == ["a", "b"]
    assert found["b"] == benchmark(MadeUpPredictor(), entries, tiny_store)["pattern_only"]


def test_another_layout_is_named(folder):
    (folder / "labels.csv").write_text("id,source\na,one\n")
    with pytest.raises(UserError, match="another layout"):
        read_entries(folder)
    (folder / "labels.csv").unlink()
    with pytest.raises(UserError, match=r"labels.csv is missing"):
        read_entries(folder)
