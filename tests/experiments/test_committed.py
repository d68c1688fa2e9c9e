"""Every committed score on test samples follows from the committed predictions alone."""

import json
from pathlib import Path

import pytest

from tests.experiments.rescored import check_result
from xxact.experiments.predictions import read
from xxact.files import sha256_of

RESULTS = Path(__file__).resolve().parents[2] / "results"
SUPERVISED = [
    path
    for path in sorted(RESULTS.glob("*/*/*/seed*.json"))
    if json.loads(path.read_bytes())["spec"]["objective"] == "supervised"
]


def test_there_are_committed_results():
    assert len(SUPERVISED) > 20


@pytest.mark.parametrize("path", SUPERVISED, ids=lambda p: "-".join(p.with_suffix("").parts[-4:]))
def test_scores_are_those_of_the_predictions(path):
    result = json.loads(path.read_bytes())
    file = path.with_name(result["predictions"]["file"])
    assert sha256_of(file) == result["predictions"]["sha256"]
    check_result(result, read(file))
