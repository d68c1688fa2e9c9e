"""A rerun agrees, disagrees, or cannot be judged."""

import json

import fabricate
import pytest

from xxact.analysis import compare as k
from xxact.experiments.result import result_path, write_result


def _row(rerun, committed, remark=""):
    return k.Row("mini", "table2/none", "final test", "%", rerun, committed, remark)


@pytest.mark.parametrize(
    ("rerun", "committed", "verdict"),
    [
        ({0: 90.0}, {0: 90.0, 1: 80.0}, k.SAME),
        ({0: 90.1}, {0: 90.0, 1: 91.0, 2: 92.0}, k.WITHIN),
        ({5: 93.0}, {0: 90.0, 1: 91.0, 2: 92.0}, k.WITHIN),  # 2 apart, 2 x spread is 2.83
        ({5: 94.0}, {0: 90.0, 1: 91.0, 2: 92.0}, k.OUTSIDE),  # 3 apart
        ({0: 90.1}, {0: 90.0}, k.NO_SPREAD),
        ({0: 100.0}, {0: 90.0}, k.OUTSIDE),  # more than a tenth
        ({0: 90.0}, {}, k.ABSENT),
    ],
)
def test_verdicts(rerun, committed, verdict):
    assert _row(rerun, committed).verdict == verdict


def test_other_spec_is_not_comparable():
    assert _row({0: 1.0}, {0: 1.0}, "spec.epochs").verdict == k.OTHER_SPEC


def test_trees(whole, tmp_path):
    own = fabricate.write_tree(tmp_path, "mini", ["table2/none", "table2/pretrain_mxm"], (0,))
    path = result_path(own, "mini", "table2/none", 0)
    content = json.loads(path.read_text())
    content["metrics"]["final"]["test"]["crystal_system"]["accuracy_percent"] = 1.0
    write_result(path, content)
    rows = k.compare(own, whole)
    verdicts = {(row.run, row.metric): row.verdict for row in rows}
    assert verdicts.pop(("table2/none", "final test, crystal_system")) == k.OUTSIDE
    assert set(verdicts.values()) == {k.SAME}
    assert ("table2/pretrain_mxm", "final test, loss") in verdicts
    text = k.render(rows)
    assert "1 outside spread" in text
    assert f"{len(rows)} numbers" in text


def test_other_data_is_named(whole, tmp_path):
    own = fabricate.write_tree(tmp_path, "mini", ["table2/none"], (0,))
    path = result_path(own, "mini", "table2/none", 0)
    (tmp_path / "mini/data.json").unlink()
    content = json.loads(path.read_text())
    content["data"]["content_sha256"] = "c" * 64
    content["spec"]["epochs"] = 3
    write_result(path, content)
    rows = k.compare(own, whole)
    assert {row.verdict for row in rows} == {k.OTHER_SPEC}
    assert "spec.epochs" in rows[0].remark
    assert "data (cccccccccccc" in rows[0].remark
