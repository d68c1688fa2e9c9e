"""Baselines that are no networks: what knowing nothing, and a random forest, achieve.

They are scikit-learn's estimators with its default settings, on the inputs that the networks read,
scored by the same code. Nothing is optimised step by step: a baseline has no learning curve, and
nothing can start from it, so it leaves no weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt

from xxact.errors import UserError
from xxact.training.spec import EngineSpec, Spec

if TYPE_CHECKING:
    import numpy as np

    from xxact.data.batches import DeviceStore
    from xxact.data.store import Store
    from xxact.data.targets import Target
    from xxact.training.progress import Progress

Input = Literal["composition", "xrd"]
#: Windows of a pattern whose mean intensity a forest reads, of 5 degrees: XxaCT-NN's own tokens.
WINDOWS = 17
_BLOCK = 512


class Constant(Spec):
    """The mean, or the most frequent class, of the training split."""

    kind: Literal["constant"] = "constant"
    inputs: tuple[()] = ()


class Forest(Spec):
    """A random forest on atomic fractions (100), on mean intensities in windows (17), or both."""

    kind: Literal["forest"] = "forest"
    inputs: tuple[Input, ...]
    trees: PositiveInt = 100


#: What a row may name as its model, at every scale.
BASELINES: dict[str, Constant | Forest] = {
    "constant": Constant(),
    "forest_composition": Forest(inputs=("composition",)),
    "forest_xrd": Forest(inputs=("xrd",)),
    "forest_both": Forest(inputs=("composition", "xrd")),
}


class BaselineSpec(Spec):
    """One fit of a baseline to one target; what it shares with a `RunSpec` has the same name."""

    reproduces: str = ""
    model: Constant | Forest = Field(discriminator="kind")
    objective: Literal["supervised"] = "supervised"
    targets: tuple[str] = Field(min_length=1, max_length=1)
    init: None = None
    transfer: Literal[False] = False
    train_fraction: float = Field(1.0, gt=0, le=1)
    equal_steps: Literal[False] = False
    degraded: Literal[False] = False
    engine: EngineSpec = EngineSpec()


def fit_and_score(
    spec: BaselineSpec, store: Store, train_rows: np.ndarray, seed: int, progress: Progress
) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
    """Fit to `train_rows` and predict: `metrics` and the scores by class or element of a result,
    and the predictions for the test split (`predictions.collect`).

    Raises `UserError` when the store lacks the target or the patterns, and `Stopped`.
    """
    from xxact.data.batches import DeviceStore
    from xxact.experiments import predictions as kept
    from xxact.training import evaluation
    from xxact.training.summary import describe_predictions

    target = find_inputs(spec, store)
    values = store.values(target.name)
    data = DeviceStore(store, xrd="xrd" in spec.model.inputs, cache_bytes=0)
    rows = train_rows[target.known(values[train_rows])]
    both = len(spec.model.inputs) == 2
    if not len(rows):
        raise UserError(f"the training split of {store.path} has no value of {target.name}")
    inputs = features(spec.model, data, rows)
    fitted = _fit(estimator(spec.model, target, seed), inputs, values[rows], progress)
    metrics: dict[str, Any] = {"final": {}}
    result: dict[str, Any] = {"metrics": metrics}

    def predict(rows: np.ndarray, pattern_of: np.ndarray | None = None) -> kept.Outputs:
        found = features(spec.model, data, rows, pattern_of)
        return {target.name: _output(fitted, target, found)}

    content = None
    for split in ("validation", "test"):
        rows = store.indices(split)
        if not len(rows):
            continue
        outputs = predict(rows)
        predictions = evaluation.decided(outputs)
        if split == "validation":
            metrics["final"][split] = evaluation.score_all([target], predictions, store, rows)
        else:
            details, scores = describe_predictions([target], predictions, store, train_rows)
            metrics["final"] |= scores
            result |= details
            others = predict if both else None
            content = kept.collect(store, rows, train_rows, [target], outputs, others)
    return result, content


def find_inputs(spec: BaselineSpec, store: Store) -> Target:
    """The target of a baseline; `UserError` when the store lacks it, or the patterns."""
    from xxact.data.targets import find_target

    if "xrd" in spec.model.inputs and not store.has_xrd:
        raise UserError(f"{store.path} holds compositions only, and {spec.model.kind} reads xrd")
    return find_target(spec.targets[0], store.targets, str(store.path))


def _output(fitted: Any, target: Target, inputs: np.ndarray) -> np.ndarray:
    """What a fitted estimator says of `inputs` (n, F): values (n,), or probabilities (n, C) of all
    classes, among them those that it never saw."""
    import numpy as np

    if not target.is_class:
        return fitted.predict(inputs)
    probability = np.zeros((len(inputs), target.n_outputs))
    probability[:, fitted.classes_] = fitted.predict_proba(inputs)
    return probability


def estimator(model: Constant | Forest, target: Target, seed: int) -> Any:
    """scikit-learn's estimator for a target, not yet fitted."""
    from sklearn import dummy, ensemble

    if model.kind == "constant":
        if target.is_class:
            return dummy.DummyClassifier(strategy="most_frequent")
        return dummy.DummyRegressor(strategy="mean")
    kind = ensemble.RandomForestClassifier if target.is_class else ensemble.RandomForestRegressor
    return kind(n_estimators=model.trees, random_state=seed, n_jobs=1)


def features(
    model: Constant | Forest,
    data: DeviceStore,
    rows: np.ndarray,
    pattern_of: np.ndarray | None = None,
) -> np.ndarray:
    """Inputs (n, F) float32 of `rows`: atomic fractions by Z - 1, then mean intensities.

    Both come from the batches that the networks read, patterns in [0, 100]; F is 0, 100, 17, 117.
    With `pattern_of` (n,) the patterns are those of other samples.
    """
    import torch

    from xxact.models.pxrdpiayn import dense_fractions

    blocks = []
    for start in range(0, len(rows), _BLOCK):
        some = slice(start, start + _BLOCK)
        others = None if pattern_of is None else pattern_of[some]
        batch = data.gather(rows[some], pattern="xrd" in model.inputs, pattern_of=others)
        parts = [torch.empty(len(batch), 0)]
        if "composition" in model.inputs:
            parts.append(dense_fractions(batch.elements, batch.fractions))  # (B, 100)
        if "xrd" in model.inputs:
            parts.append(batch.pattern.view(len(batch), WINDOWS, -1).mean(2))  # (B, 17)
        blocks.append(torch.cat(parts, dim=1))
    return torch.cat(blocks).numpy()


def _fit(model: Any, inputs: np.ndarray, values: np.ndarray, progress: Progress) -> Any:
    """Fit; a forest tree by tree, with the result of one call, so that it can show how far it is.

    Raises `Stopped` when a signal asked for it: nothing is saved, a forest takes minutes.
    """
    from xxact.training.signals import StopFlag, Stopped

    trees = getattr(model, "n_estimators", None)
    if trees is None:
        return model.fit(inputs, values)
    progress.start(0, trees)
    model.set_params(warm_start=True)
    with StopFlag() as stop:
        for done in range(1, trees + 1):
            model.set_params(n_estimators=done).fit(inputs, values)
            progress.update(done, [], evaluated=False)
            if stop.requested and done < trees:
                raise Stopped(done, trees)
    return model
