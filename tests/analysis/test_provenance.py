"""Results that do not belong together are refused, by name."""

import json

import fabricate
import pytest

from xxact.analysis.provenance import ordered_scales, read_tree
from xxact.errors import UserError
from xxact.experiments import suite
from xxact.experiments.result import data_path, result_path, write_data_summary, write_result


@pytest.fixture
def tree(tmp_path):
    return fabricate.write_tree(tmp_path, "mini", ["table2/none", "table2/mxm"], (0, 1))


def _change(path, change):
    content = json.loads(path.read_text())
    change(content)
    write_result(path, content)


def test_seeds_of_different_specs_are_refused(tree):
    path = result_path(tree, "mini", "table2/none", 1)
    _change(path, lambda content: content["spec"]["model"].update(width=7))
    with pytest.raises(UserError) as caught:
        read_tree(tree)
    message = str(caught.value)
    assert str(path) in message
    assert str(result_path(tree, "mini", "table2/none", 0)) in message
    assert "spec.model.width (None and 7)" in message


@pytest.mark.parametrize(
    "run",
    ["table2/none", "table1/crabnet_energy", "table1/constant_energy", "table1/forest_xrd_system"],
)
def test_a_key_that_came_later_tells_no_seeds_apart(run, tmp_path):
    """The committed seeds of any kind of run go on to take newer ones beside them."""
    spec = suite.plan([run], "mini", [0], tmp_path)[-1].spec.model_dump(mode="json")
    old = {key: value for key, value in spec.items() if key not in ("degraded", "regression_loss")}
    assert len(old) < len(spec)
    for seed, recorded in enumerate((old, spec)):
        fabricate.write_one(tmp_path, fabricate.make(run, seed=seed) | {"spec": recorded})
    assert len(read_tree(tmp_path)) == 2
    _change(
        result_path(tmp_path, "mini", run, 1), lambda content: content["spec"].update(degraded=True)
    )
    with pytest.raises(UserError, match=r"spec\.degraded"):
        read_tree(tmp_path)


def test_prose_and_seed_may_differ(tree):
    path = result_path(tree, "mini", "table2/none", 1)
    _change(path, lambda content: content["spec"].update(reproduces="other words", seed=1))
    assert len(read_tree(tree)) == 4


@pytest.mark.parametrize(("run", "seed"), [("table2/none", 1), ("table2/mxm", 0)])
def test_other_data_is_refused_within_a_run_and_within_a_table(tree, run, seed):
    path = result_path(tree, "mini", run, seed)
    _change(path, lambda content: content["data"].update(content_sha256="b" * 64))
    with pytest.raises(UserError, match="different data") as caught:
        read_tree(tree)
    assert str(path) in str(caught.value)


def test_data_summary_of_other_data_is_refused(tree):
    write_data_summary(data_path(tree, "mini"), fabricate.make_data("mini", "b" * 64))
    with pytest.raises(UserError, match=r"data\.json"):
        read_tree(tree)


def test_scales_are_apart(tree):
    other = fabricate.make("table2/none", "mp-small", data="b" * 64)
    fabricate.write_one(tree, other)
    assert [r.scale for r in read_tree(tree)] == ["mini"] * 4 + ["mp-small"]
    assert ordered_scales(tree) == ["mini", "mp-small"]
    assert ordered_scales(tree / "absent") == []
