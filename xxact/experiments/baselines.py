"""Baselines that are no networks: what knowing nothing, a random forest, and kriging achieve.

The first two are scikit-learn's estimators with its default settings, on the inputs that the
networks read; kriging foretells what a finished run gets wrong (`xxact.experiments.kriging`). All
are scored by the same code. Nothing is optimised step by step: a baseline has no learning curve,
and nothing can start from it, so it leaves no weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

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


class Kriging(Spec):
    """What a finished run, the row's `init`, says, and the mean of its residual by neighbours."""

    kind: Literal["kriging"] = "kriging"
    inputs: tuple[Input, Input] = ("composition", "xrd")


#: What a row may name as its model, at every scale.
BASELINES: dict[str, Constant | Forest | Kriging] = {
    "constant": Constant(),
    "forest_composition": Forest(inputs=("composition",)),
    "forest_xrd": Forest(inputs=("xrd",)),
    "forest_both": Forest(inputs=("composition", "xrd")),
    "kriging": Kriging(),
}
#: Inputs (n, F) of rows (n,) of a store, given others (n,) with the patterns of those.
Reader = Callable[..., "np.ndarray"]


class BaselineSpec(Spec):
    """One fit of a baseline to one target; what it shares with a `RunSpec` has the same name."""

    reproduces: str = ""
    model: Constant | Forest | Kriging = Field(discriminator="kind")
    objective: Literal["supervised"] = "supervised"
    targets: tuple[str] = Field(min_length=1, max_length=1)
    together: Literal[False] = False
    init: str | None = Field(None, validate_default=True)
    transfer: Literal[False] = False
    train_fraction: float = Field(1.0, gt=0, le=1)
    equal_steps: Literal[False] = False
    degraded: Literal[False] = False
    engine: EngineSpec = EngineSpec()

    @field_validator("init")
    @classmethod
    def _of_kriging_alone(cls, init: str | None, known: ValidationInfo) -> str | None:
        model = known.data.get("model")
        if model is not None and (model.kind == "kriging") != (init is not None):
            told = "needs the run whose residuals it kriges" if init is None else "starts from none"
            raise ValueError(f"a {model.kind} {told}")
        return init


def fit_and_score(
    spec: BaselineSpec,
    store: Store,
    train_rows: np.ndarray,
    seed: int,
    progress: Progress,
    init: Path | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
    """Fit to `train_rows` and predict: `metrics` and the scores by class or element of a result,
    and the predictions for the test split (`predictions.collect`). `init`: weights to start from.

    Raises `UserError` when the store lacks the target or the patterns, and `Stopped`.
    """
    from xxact.experiments import predictions as kept
    from xxact.training import evaluation
    from xxact.training.summary import describe_predictions

    target = find_inputs(spec, store)
    values = store.values(target.name)
    read = _reader(spec.model, store, target, init)
    rows = train_rows[target.known(values[train_rows])]
    both = len(spec.model.inputs) == 2
    if not len(rows):
        raise UserError(f"the training split of {store.path} has no value of {target.name}")
    fitted = _fit(estimator(spec.model, target, seed), read(rows), values[rows], progress)
    metrics: dict[str, Any] = {"final": {}}
    result: dict[str, Any] = {"metrics": metrics}

    def predict(rows: np.ndarray, pattern_of: np.ndarray | None = None) -> kept.Outputs:
        return {target.name: _output(fitted, target, read(rows, pattern_of))}

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


def _reader(
    model: Constant | Forest | Kriging, store: Store, target: Target, init: Path | None
) -> Reader:
    if model.kind == "kriging":
        from xxact.experiments import kriging

        return kriging.Reader(init, store, target)
    from xxact.data.batches import DeviceStore

    data = DeviceStore(store, xrd="xrd" in model.inputs, cache_bytes=0)
    return partial(features, model, data)


def _output(fitted: Any, target: Target, inputs: np.ndarray) -> np.ndarray:
    """What a fitted estimator says of `inputs` (n, F): values (n,), or probabilities (n, C) of all
    classes, among them those that it never saw."""
    import numpy as np

    if not target.is_class:
        return fitted.predict(inputs)
    probability = np.zeros((len(inputs), target.n_outputs))
    probability[:, fitted.classes_] = fitted.predict_proba(inputs)
    return probability


def estimator(model: Constant | Forest | Kriging, target: Target, seed: int) -> Any:
    """The estimator for a target, scikit-learn's or one like those, not yet fitted."""
    from sklearn import dummy, ensemble

    if model.kind == "kriging":
        from xxact.experiments import kriging

        return kriging.Kriging()
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
