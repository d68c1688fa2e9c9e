"""A run of the suite from its spec to its result JSON, in one process and in several."""

import dataclasses
import json

import pytest

from tests.experiments.rescored import check_result
from tests.training import processes
from tests.training.conftest import make_spec  # noqa: F401 (a fixture)
from xxact.errors import UserError
from xxact.experiments import suite
from xxact.experiments.execute import execute
from xxact.experiments.predictions import read
from xxact.experiments.result import read_result
from xxact.experiments.suite import Run


def make_run(spec, data, root) -> Run:
    return Run(name="table2/none", scale="tiny", seed=0, spec=spec, root=root, data=data)


def execute_twice(run, missing) -> str:
    """Two runs' worth: one that works, and one whose data are not there; what it complains of."""
    execute(run, show=False)
    try:
        execute(missing, show=False)
    except UserError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def runs(make_spec, tiny_data, tmp_path_factory):  # noqa: F811
    """The same run, done in one process and in two."""
    folder = tmp_path_factory.mktemp("execute")
    spec = make_spec(dropout=0.0, epochs=1)
    one, two = (make_run(spec, tiny_data, folder / name) for name in ("one", "two"))
    execute(one, show=False)
    missing = make_run(spec, folder / "nothing", folder / "missing")
    complaints = processes.run(2, folder / "ranks", execute_twice, two, missing)
    return one, two, complaints


def test_two_processes_write_one_result_with_the_numbers_of_one(runs):
    one, two = (json.loads(run.result_path.read_text()) for run in runs[:2])
    assert read_result(runs[1].result_path).hardware.processes == 2
    assert (one["hardware"]["processes"], two["hardware"]["processes"]) == (1, 2)
    assert two["cost"]["peak_memory_bytes"] > 0
    for split, scores in one["metrics"]["final"].items():
        for target, score in scores.items():
            found = two["metrics"]["final"][split][target]
            known = {name: value for name, value in score.items() if value is not None}
            assert {name: found[name] for name in known} == pytest.approx(known, rel=1e-2)
    assert [entry["step"] for entry in two["curve"]] == [entry["step"] for entry in one["curve"]]
    assert two["embedding"]["ids"] == one["embedding"]["ids"]
    assert two["spec"] == one["spec"]
    assert two["data"] == one["data"]


def test_every_score_follows_from_the_predictions(runs):
    for run in runs[:2]:
        result = json.loads(run.result_path.read_text())
        kept = read(run.predictions_path)
        check_result(result, kept)
        assert set(result["metrics"]) == {"final", "selected", "best_on_test"}
        steps = {entry["step"] for entry in result["curve"]}
        assert len(steps) > 2


def test_two_processes_leave_the_files_of_one(runs):
    one, two = ({path.name for path in run.folder.iterdir()} for run in runs[:2])
    assert one == two == {"lock", *suite.OWN_FILES} - {suite.CHECKPOINT}


def test_a_result_is_valid_however_it_was_computed(runs, tiny_store):
    run = runs[0]
    elsewhere = run.spec.engine.model_copy(update={"gpus": 8, "zero_stage": 2})
    longer = run.spec.model_copy(update={"epochs": 7.0})
    spec = run.spec.model_copy(update={"engine": elsewhere})
    same, other = (dataclasses.replace(run, spec=changed) for changed in (spec, longer))
    suite.check_identity(same, suite.identify(same, tiny_store))
    with pytest.raises(UserError, match=r"epochs 7\.0 against 1\.0"):
        suite.check_identity(other, suite.identify(other, tiny_store))


def test_a_run_is_of_the_weights_that_it_started_from(runs, make_spec, tiny_store):  # noqa: F811
    parent = runs[0]
    spec = make_spec(dropout=0.0, epochs=0.5, init="table2/none")
    child = dataclasses.replace(parent, name="table2/child", spec=spec)
    execute(child, show=False)
    suite.check_identity(child, suite.identify(child, tiny_store))
    before = parent.model_path.read_bytes()
    parent.model_path.write_bytes(b"of another training")
    with pytest.raises(UserError, match="the weights it starts from"):
        suite.check_identity(child, suite.identify(child, tiny_store))
    parent.model_path.unlink()  # which says nothing against the child
    suite.check_identity(child, suite.identify(child, tiny_store))
    parent.model_path.write_bytes(before)


def test_a_finished_run_outlives_changes_of_the_code(runs, tiny_store):
    run = runs[0]
    now = suite.identify(run, tiny_store)
    later = now | {"provenance": now["provenance"] | {"code_sha256": "0" * 64}}
    suite.check_identity(run, later)
    before = run.model_path.read_bytes()
    run.model_path.unlink()  # made again, they would be of other code than the result
    with pytest.raises(UserError, match="the code"):
        suite.check_identity(run, later)
    run.model_path.write_bytes(before)


def test_an_error_is_one_in_both_processes(runs):
    assert all("nothing" in complaint for complaint in runs[2])
