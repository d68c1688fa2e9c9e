"""The frames say what the files say, from anywhere, and refuse what cannot be trusted."""

import json
import subprocess
import sys

import fabricate
import numpy as np
import pytest

from xxact import analysis
from xxact.errors import UserError
from xxact.experiments import predictions
from xxact.experiments.result import result_path

RUN = "table2/none"


def _one(frame, **wanted):
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def test_a_score_is_a_row_with_its_origin(whole):
    row = _one(
        analysis.load(whole),
        run=RUN,
        seed=1,
        split="test",
        reading="selected",
        target="crystal_system",
    )
    wanted = fabricate.make(RUN, seed=1)["metrics"]["selected"]["test"]["crystal_system"]
    assert (row["value"], row["n"], row["unit"]) == (wanted["accuracy_percent"], 500, "%")
    assert (row["scale"], row["table"], row["row"]) == ("mini", "table2", "none")
    assert (row["step"], row["metric"], row["data"]) == (456, "accuracy_percent", "a" * 12)


def test_every_number_of_a_result_is_in_one_frame(whole):
    result = fabricate.make("table2/mxm", seed=2)
    place = {"run": "table2/mxm", "seed": 2}
    point = result["curve"][7]
    row = _one(
        analysis.load_curves(whole),
        **place,
        step=point["step"],
        split="test",
        target=fabricate.ENERGY,
    )
    assert row["value"] == point["test"][fabricate.ENERGY]["mae_mev_per_atom"]
    row = _one(analysis.load_classes(whole), **place, **{"class": "cubic"})
    assert row["value"] == result["per_class"]["crystal_system"]["cubic"]["accuracy_percent"]
    row = _one(analysis.load_confusion(whole), **place, true="cubic", predicted="trigonal")
    assert row["count"] == result["per_class"]["confusion"][6][4]
    row = _one(analysis.load_elements(whole), **place, element="O")
    assert row["value"] == result["per_element"][fabricate.ENERGY]["O"]["mae_mev_per_atom"]
    row = _one(analysis.load_embeddings(whole), **place, id="made-up-009")
    assert [row["x"], row["y"]] == result["embedding"]["pca"][9]
    row = _one(analysis.load_silhouettes(whole), **place, space="projection", **{"class": "mean"})
    assert row["value"] == result["embedding"]["silhouette"]["projection"]["mean"]
    row = _one(analysis.load_runs(whole), **place)
    assert (row["wall_s"], row["n_train"]) == (32.0, 4000)
    row = _one(analysis.load_data(whole), split="test", kind="element", name="H")
    assert row["n"] == int(50 * 0.125)


def test_kept_predictions_are_a_row_a_sample_and_target(whole):
    found = analysis.load_predictions(whole, "mini", [RUN])
    assert len(found) == 3 * 2 * 500
    path = result_path(whole, "mini", RUN, 1).with_suffix(".npz")
    kept = predictions.read(path)
    own = found[(found["seed"] == 1) & (found["target"] == fabricate.ENERGY)]
    np.testing.assert_array_equal(own["predicted"], kept[f"{fabricate.ENERGY}.predicted"])
    np.testing.assert_array_equal(own["formula"], kept["formula"])
    errors = 1000 * (own["predicted"] - own["true"]).abs()
    score = fabricate.make(RUN, seed=1)["metrics"]["final"]["test"][fabricate.ENERGY]
    assert errors.mean() == pytest.approx(score["mae_mev_per_atom"], rel=1e-3)


def test_predictions_of_another_run_are_refused(results):
    first, second = (result_path(results, "mini", RUN, k).with_suffix(".npz") for k in (0, 1))
    second.write_bytes(first.read_bytes())
    with pytest.raises(UserError, match=r"seed1\.npz is not the file"):
        analysis.load_predictions(results)
    assert len(analysis.load(results))


def test_what_lacks_a_label_or_a_metric_is_left_out(results):
    path = result_path(results, "mini", RUN, 0)
    result = json.loads(path.read_text())
    kept = fabricate.make_predictions(result)
    kept[f"{fabricate.ENERGY}.true"][:10] = np.nan
    kept["crystal_system.true"][:20] = -1
    result["predictions"] = predictions.write(path.with_suffix(".npz"), kept)
    fabricate.write_result(path, result)
    found = analysis.load_predictions(results, "mini", [RUN])
    counts = found[found["seed"] == 0].groupby("target").size()
    assert counts.to_dict() == {fabricate.ENERGY: 490, "crystal_system": 480}


def test_a_tree_without_results_is_an_error_with_what_to_do(tmp_path):
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="holds no result; train some"):
            analysis.load(root)


def test_a_changed_file_is_read_again(results):
    before = len(analysis.load_runs(results))
    result_path(results, "mini", RUN, 0).unlink()
    assert len(analysis.load_runs(results)) == before - 1
    path = result_path(results, "mini", RUN, 1)
    path.write_text(path.read_text().replace('"wall_s"', '"wall_clock"'))
    with pytest.raises(UserError, match=r"seed1\.json: damaged result: field 'cost\.wall_s'"):
        analysis.load(results)


def test_committed_results_are_found_from_any_folder_and_without_torch(tmp_path):
    script = """
import sys
import xxact.analysis
assert "pandas" not in sys.modules
assert len(xxact.analysis.load("results"))
heavy = {"torch", "seaborn", "matplotlib", "pymatgen"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
