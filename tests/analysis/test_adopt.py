"""Results are copied whole or not at all, and nothing else is."""

import json

import fabricate
import pytest

from xxact.analysis.adopt import COPIED, UNCHANGED, adopt
from xxact.errors import UserError
from xxact.experiments.result import result_path


@pytest.fixture
def runs(tmp_path):
    root = fabricate.write_tree(tmp_path / "runs", "mini", ["table2/none", "table2/mxm"], (0, 1))
    folder = root / "mini/table2/none/seed0"
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"weights")
    (root / "mini/table2/none/seed1.log").write_text("log")
    return root


def _files(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def test_results_and_predictions_are_copied_and_checkpoints_are_not(runs, tmp_path):
    target = tmp_path / "results"
    assert {a.state for a in adopt(runs, target)} == {COPIED}
    wanted = [
        f"mini/table2/{run}/seed{k}.{kind}"
        for run in ("mxm", "none")
        for k in (0, 1)
        for kind in ("json", "npz")
    ]
    assert _files(target) == ["mini/data.json", *wanted]
    assert {a.state for a in adopt(runs, target)} == {UNCHANGED}


@pytest.mark.parametrize("pattern", ["table2/none", "*/none", "mini/table2/none"])
def test_runs_are_chosen_by_name_or_pattern(runs, tmp_path, pattern):
    adopt(runs, tmp_path / "results", [pattern])
    assert not (tmp_path / "results/mini/table2/mxm").exists()
    assert (tmp_path / "results/mini/table2/none/seed1.json").exists()


def test_a_different_result_is_kept_unless_told(runs, tmp_path):
    target = tmp_path / "results"
    adopt(runs, target)
    path = result_path(target, "mini", "table2/none", 0)
    path.write_text(path.read_text().replace('"wall_s": 30.0', '"wall_s": 31.0'))
    result_path(target, "mini", "table2/mxm", 0).unlink()
    with pytest.raises(UserError, match="--overwrite") as caught:
        adopt(runs, target)
    assert str(path) in str(caught.value)
    assert not result_path(target, "mini", "table2/mxm", 0).exists()
    adopt(runs, target, overwrite=True)
    assert path.read_bytes() == result_path(runs, "mini", "table2/none", 0).read_bytes()


def test_data_of_another_name_are_the_same_data(runs, tmp_path):
    target = tmp_path / "results"
    adopt(runs, target, ["table2/none"])
    described = runs / "mini" / "data.json"
    committed = (target / "mini" / "data.json").read_bytes()
    summary = json.loads(committed)
    described.write_text(json.dumps(summary | {"name": "another"}))
    adopt(runs, target)
    assert (target / "mini/table2/mxm/seed0.json").exists()
    assert (target / "mini" / "data.json").read_bytes() == committed
    described.write_text(json.dumps(summary | {"content_sha256": "e" * 64}))
    with pytest.raises(UserError, match=r"differ from those in .*data\.json"):
        adopt(runs, target)


def test_what_does_not_belong_together_stops_everything(runs, tmp_path):
    target = tmp_path / "results"
    adopt(runs, target, ["table2/none"])
    result_path(target, "mini", "table2/none", 1).unlink()
    for old, new in (
        ('"epochs": ', '"epochs": 1'),
        ('"content_sha256": "', '"content_sha256": "0'),
    ):
        path = result_path(runs, "mini", "table2/none", 1)
        kept = path.read_text()
        changed = kept.replace(old, new, 1)
        assert changed != kept
        path.write_text(changed)
        with pytest.raises(UserError, match=r"seed1\.json"):
            adopt(runs, target)
        kept_files = ["seed0.json", "seed0.npz", "seed1.npz"]
        assert _files(target) == ["mini/data.json", *(f"mini/table2/none/{f}" for f in kept_files)]
        path.write_text(kept)


def test_a_name_that_matches_nothing_stops_everything(runs, tmp_path):
    with pytest.raises(UserError, match="table9/typo"):
        adopt(runs, tmp_path / "results", ["table2/none", "table9/typo"])
    assert not (tmp_path / "results").exists()


def test_a_damaged_result_stops_everything(runs, tmp_path):
    path = result_path(runs, "mini", "table2/none", 1)
    path.write_text("{")
    with pytest.raises(UserError, match=r"seed1\.json"):
        adopt(runs, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_nothing_to_adopt(runs, tmp_path):
    with pytest.raises(UserError, match="table9"):
        adopt(runs, tmp_path / "results", ["table9/*"])
    with pytest.raises(UserError, match="no finished result"):
        adopt(tmp_path / "absent", tmp_path / "results")
