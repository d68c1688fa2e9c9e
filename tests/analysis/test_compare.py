"""A rerun agrees, disagrees, or cannot be judged."""

import json

import fabricate
import pandas as pd
import pytest

from xxact.analysis import compare as k
from xxact.experiments.result import result_path, write_result


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
    sides = {"rerun": pd.Series(rerun, dtype=float), "committed": pd.Series(committed, dtype=float)}
    assert k.judged(pd.DataFrame(sides)) == verdict


def test_trees(whole, tmp_path):
    own = fabricate.write_tree(tmp_path, "mini", ["table2/none", "table2/pretrain_mxm"], (0,))
    path = result_path(own, "mini", "table2/none", 0)
    content = json.loads(path.read_text())
    content["metrics"]["final"]["test"]["crystal_system"]["accuracy_percent"] = 1.0
    write_result(path, content)
    rows = k.compare(own, whole)
    verdicts = rows.set_index(["run", "score"])["verdict"].to_dict()
    assert verdicts.pop(("table2/none", "final test, crystal_system")) == k.OUTSIDE
    assert set(verdicts.values()) == {k.SAME}
    assert ("table2/pretrain_mxm", "final test, loss") in verdicts
    absent = k.compare(whole, own)
    assert set(absent[absent["committed"] == "-"]["verdict"]) == {k.ABSENT}
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
    assert set(rows["verdict"]) == {k.OTHER_SPEC}
    assert "spec.epochs" in rows["remark"].iloc[0]
    assert "data (cccccccccccc" in rows["remark"].iloc[0]
