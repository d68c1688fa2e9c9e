"""Every committed score of the last weights follows from the committed predictions alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, mean_absolute_error

from xxact.experiments.predictions import read
from xxact.files import sha256_of

RESULTS = Path(__file__).resolve().parents[2] / "results"
SUPERVISED = [
    path
    for path in sorted(RESULTS.glob("*/*/*/seed*.json"))
    if json.loads(path.read_bytes())["spec"]["objective"] == "supervised"
]
#: From eV/atom to the meV/atom of a score; other units are those of the target.
FACTOR = {"mae_mev_per_atom": 1000.0}


def _check(scores, predictions, kept):
    """Hold the scores of all targets against the predictions of the samples in the mask `kept`."""
    for target, score in scores.items():
        true = predictions[f"{target}.true"][kept]
        predicted = predictions[f"{target}.predicted"][kept]
        labelled = true >= 0 if true.dtype.kind == "i" else np.isfinite(true)
        assert labelled.sum() == score["n"]
        (metric,) = set(score) - {"n"}
        true, predicted = true[labelled], predicted[labelled]
        if metric == "accuracy_percent":
            assert 100 * accuracy_score(true, predicted) == pytest.approx(score[metric], abs=1e-9)
        elif len(true):
            error = FACTOR.get(metric, 1.0) * mean_absolute_error(
                true.astype(float), predicted.astype(float)
            )
            assert error == pytest.approx(score[metric], rel=1e-6)


def test_there_are_committed_results():
    assert len(SUPERVISED) > 20


@pytest.mark.parametrize("path", SUPERVISED, ids=lambda p: "-".join(p.with_suffix("").parts[-4:]))
def test_scores_are_those_of_the_predictions(path):
    result = json.loads(path.read_bytes())
    file = path.with_name(result["predictions"]["file"])
    assert sha256_of(file) == result["predictions"]["sha256"]
    predictions = read(file)
    n = len(predictions["id"])
    assert n == result["predictions"]["n"] == result["data"]["n"]["test"]
    final = result["metrics"]["final"]
    _check(final["test"], predictions, np.ones(n, bool))
    _check(final["test_new_formula"], predictions, ~predictions["formula_in_training"])
    if result.get("per_class"):
        true = predictions["crystal_system.true"]
        found = confusion_matrix(true, predictions["crystal_system.predicted"], labels=range(7))
        assert found.tolist() == result["per_class"]["confusion"]
    for target in final["test"]:
        if f"{target}.probability" in predictions:
            probability = predictions[f"{target}.probability"].astype(float)
            np.testing.assert_allclose(probability.sum(axis=1), 1, atol=5e-3)
