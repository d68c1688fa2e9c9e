"""Scores anew, with scikit-learn, from a file of predictions alone."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, mean_absolute_error

from xxact.training.readings import EARLY

#: From eV/atom to the meV/atom of a score; other units are those of the target.
FACTOR = {"mae_mev_per_atom": 1000.0}


def check_scores(scores, predictions, kept, reading="predicted"):
    """Hold the scores of all targets against the predictions of the samples in the mask `kept`."""
    for target, score in scores.items():
        true = predictions[f"{target}.true"][kept]
        predicted = predictions[f"{target}.{reading}"][kept]
        labelled = true >= 0 if true.dtype.kind == "i" else np.isfinite(true)
        assert labelled.sum() == score["n"]
        (metric,) = set(score) - {"n"}
        true, predicted = true[labelled], predicted[labelled]
        if not len(true):
            assert score[metric] is None
        elif metric == "accuracy_percent":
            assert 100 * accuracy_score(true, predicted) == pytest.approx(score[metric], abs=1e-9)
        else:
            error = FACTOR.get(metric, 1.0) * mean_absolute_error(
                true.astype(float), predicted.astype(float)
            )
            assert error == pytest.approx(score[metric], rel=1e-6)


def check_result(result, predictions):
    """Hold every score of a result on test samples against its predictions."""
    n = len(predictions["id"])
    assert n == result["predictions"]["n"] == result["data"]["n"]["test"]
    metrics, whole = result["metrics"], np.ones(n, bool)
    final = metrics["final"]
    check_scores(final["test"], predictions, whole)
    check_scores(final["test_new_formula"], predictions, ~predictions["formula_in_training"])
    for reading in set(metrics) - {"final"}:
        scores = metrics[reading]
        check_scores(scores.get("test", scores), predictions, whole, reading)
    for reading in EARLY:
        for target in final["test"]:
            if f"{target}.{reading}" in predictions:
                (own,) = (p for p in result["curve"] if abs(p["progress"] - EARLY[reading]) < 5e-3)
                check_scores({target: own["test"][target]}, predictions, whole, reading)
    if result.get("per_class"):
        own = predictions["crystal_system.true"] >= 0
        pair = (predictions[f"crystal_system.{of}"][own] for of in ("true", "predicted"))
        found = confusion_matrix(*pair, labels=range(7))
        assert found.tolist() == result["per_class"]["confusion"]
    for target in final["test"]:
        if f"{target}.probability" in predictions:
            probability = predictions[f"{target}.probability"].astype(float)
            np.testing.assert_allclose(probability.sum(axis=1), 1, atol=5e-3)
