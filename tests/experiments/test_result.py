"""The result JSON: what is written is read back, and damage is named with path and field."""

import copy
import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "analysis"))

import fabricate

from xxact.errors import UserError
from xxact.experiments import result as r


@pytest.fixture
def content():
    return fabricate.make("table2/none", seed=3)


@pytest.fixture
def path(tmp_path, content):
    path = r.result_path(tmp_path, "mini", "table2/none", 3)
    r.write_result(path, content)
    return path


def test_everything_written_is_read_back(path, content):
    assert json.loads(path.read_text()) == content
    result = r.read_result(path)
    assert result.run == "table2/none"
    assert result.spec.model_dump()["model"] == content["spec"]["model"]
    assert result.curve[-1].progress == 1.0


def test_odd_text_survives(path, content):
    content["provenance"]["command"] = 'run "a  b" [1,  2] {x:  "y"} \\ µ'
    r.write_result(path, content)
    assert json.loads(path.read_text()) == content


def test_scores_stand_on_one_line(path):
    assert any('"mae_mev_per_atom"' in line and '"n"' in line for line in path.open())


DAMAGES = {
    "metrics.final.test.crystal_system": lambda c: c["metrics"]["final"]["test"][
        "crystal_system"
    ].pop("n"),
    "metrics.best_on_test.crystal_system.accuracy_percent": lambda c: c["metrics"]["best_on_test"][
        "crystal_system"
    ].update(accuracy_percent="high"),
    "curve.4.progress": lambda c: c["curve"][4].update(progress=1.5),
    "cost.wall_s": lambda c: c["cost"].pop("wall_s"),
    "surprise": lambda c: c.update(surprise=1),
    "data.content_sha256": lambda c: c["data"].pop("content_sha256"),
    "seed": lambda c: c.update(seed=-1),
    "schema": lambda c: c.update(schema=1),
    "run": lambda c: c.update(run="none"),
}


@pytest.mark.parametrize("field", DAMAGES)
def test_damage_is_named_with_path_and_field(path, content, field):
    damaged = copy.deepcopy(content)
    DAMAGES[field](damaged)
    path.write_text(json.dumps(damaged))
    with pytest.raises(UserError) as caught:
        r.read_result(path)
    assert str(path) in str(caught.value)
    assert f"field '{field}" in str(caught.value)
    with pytest.raises(UserError):
        r.write_result(path, damaged)


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1', "[1]", "null", "\x00"])
def test_half_a_file_is_refused(path, text):
    path.write_text(text)
    with pytest.raises(UserError, match=r"seed3\.json"):
        r.read_result(path)


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        r.read_result(tmp_path / "mini/table2/none/seed0.json")


def test_not_a_number_is_refused(path, content):
    content["metrics"]["final"]["test"]["crystal_system"]["accuracy_percent"] = float("nan")
    with pytest.raises(UserError, match="accuracy_percent"):
        r.write_result(path, content)
    path.write_text(path.read_text().replace('"train_loss": 2.0', '"train_loss": NaN'))
    with pytest.raises(UserError, match="train_loss"):
        r.read_result(path)


def test_nothing_measured_is_allowed(path, content):
    content["metrics"]["final"]["test_new_formula"]["crystal_system"] = {
        "accuracy_percent": None,
        "n": 0,
    }
    r.write_result(path, content)
    assert r.read_result(path)


def test_a_result_in_the_wrong_place_is_refused(path):
    wrong = path.with_name("seed4.json")
    path.rename(wrong)
    with pytest.raises(UserError, match="seed3"):
        r.read_result(wrong)


def test_a_failed_write_leaves_the_old_file_and_no_other(path, content, monkeypatch):
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    content["cost"]["wall_s"] = 99.0
    with pytest.raises(OSError, match="disk full"):
        r.write_result(path, content)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_only_seed_files_are_results(path, tmp_path):
    (path.parent / "seed3.json.bak").write_text("x")
    (path.parent / "seedling.json").write_text("x")
    (tmp_path / "tables/mini").mkdir(parents=True)
    assert r.result_files(tmp_path, "mini") == [path]
    assert r.scales(tmp_path) == ["mini"]
