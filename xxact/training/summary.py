"""What a finished training has to say: the measured part of its result JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from xxact.data.store import Store
from xxact.data.targets import CRYSTAL_SYSTEM, Target
from xxact.training import evaluation, readings
from xxact.training.loop import EVALUATED_SPLITS, Training
from xxact.training.task import Supervised

Scores = dict[str, dict[str, Any]]


def summarise(training: Training) -> tuple[dict[str, Any], evaluation.Outputs]:
    """Metrics, learning curve and, of a supervised run, scores by class, element and embedding;
    and the outputs for the test split that they are of, none of other runs."""
    curve, targets = training.state.curve, training.task.targets
    splits = [split for split in EVALUATED_SPLITS if split in curve[-1]]
    metrics: dict[str, Any] = {"final": {split: curve[-1][split] for split in splits}}
    summary = {"curve": curve, "metrics": metrics}
    if not isinstance(training.task, Supervised):
        return summary, {}
    outputs: evaluation.Outputs = {}
    if "validation" in splits:
        chosen = readings.select_on_validation(curve, targets)
        metrics["selected"] = {"step": chosen["step"], "criterion": readings.CRITERION} | {
            split: chosen[split] for split in splits
        }
    if "test" in splits:
        best = {target.name: readings.best_on_test(curve, target) for target in targets}
        metrics["best_on_test"] = {
            name: entry["test"][name] for name, entry in best.items() if entry is not None
        }
        details, scores, outputs = _test_details(training)
        metrics["final"] |= scores
        summary |= details
    return summary, outputs


def _test_details(
    training: Training,
) -> tuple[dict[str, Any], dict[str, Scores], evaluation.Outputs]:
    """Of the last weights: `describe_predictions`, with the embedding summary, and the outputs.

    The scores are of these very outputs, which are kept: the last evaluation has the same but for
    rounding, since sums on a GPU are taken in no fixed order.
    """
    task, store = training.task, training.store
    rows = store.indices("test")
    sample = None
    if CRYSTAL_SYSTEM.name in store.targets and not training.spec.transfer:
        sample = evaluation.embedding_sample(store, rows)
        if sample.sum() < 2:  # nothing to project
            sample = None
    outputs, embedding = task.predict(training.engine, rows, sample)
    predictions = evaluation.decided(outputs)
    details, scores = describe_predictions(task.targets, predictions, store, training.train_rows)
    if sample is not None:
        details["embedding"] = evaluation.summarise_embedding(store, rows[sample], embedding)
    return details, scores, outputs


def describe_predictions(
    targets: list[Target], predictions: dict[str, Any], store: Store, train_rows: np.ndarray
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """Of predictions (n,) on the test split: scores by class and element; and scores on all its
    rows, and on those unlike any of `train_rows`."""
    rows = store.indices("test")
    details: dict[str, Any] = {"per_element": {}}
    for target in targets:
        if target.name == CRYSTAL_SYSTEM.name:
            details["per_class"] = evaluation.accuracy_by_system(
                predictions[target.name], store.values(target.name)[rows]
            )
        elif not target.is_class:
            details["per_element"][target.name] = evaluation.error_by_element(
                target, predictions[target.name], store, rows
            )
    scores = {"test": evaluation.score_all(targets, predictions, store, rows)}
    for name, keys in (
        ("test_new_formula", store.formula_keys()),
        ("test_new_chemical_system", store.chemical_system_keys()),
    ):
        new = evaluation.not_in(keys, train_rows, rows)
        scores[name] = evaluation.score_all(targets, predictions, store, rows, new)
    return details, scores
