"""A finished run, ready to predict: alone, or on any store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xxact.data.batches import Batch, DeviceStore
from xxact.data.store import Store
from xxact.data.targets import Target
from xxact.data.units import factor
from xxact.errors import UserError
from xxact.models import build_model
from xxact.training import evaluation
from xxact.training.distributed import pick_device
from xxact.training.engine import TorchEngine
from xxact.training.loop import check_inputs
from xxact.training.spec import RunSpec
from xxact.training.task import EVALUATION_SEED, Measurements
from xxact.training.weights import read_weights


class FinishedRun:
    """The network of the run in `folder`, with its weights, and what it learned.

    Raises `UserError` for a pretraining, and for a damaged file.
    """

    def __init__(self, folder: Path) -> None:
        weights, description = read_weights(folder)
        spec = RunSpec.model_validate(description["spec"])
        if not spec.supervised:
            raise UserError(f"{folder} is a pretraining ({spec.objective}): it predicts no target")
        self.folder, self.degraded = folder, spec.degraded
        self.targets = [_target(content) for content in description["targets"]]
        self.standard = description["standard"]
        model = build_model(spec.model, self.targets, linear_heads=spec.transfer)
        model.load_state_dict(weights)
        self.engine = TorchEngine(model, spec.optimizer, spec.precision, pick_device())

    def outputs(self, gather: Callable[[slice], Batch], n: int) -> dict[str, np.ndarray]:
        """Of n samples that `gather` makes batches of: standardised values (n,), logits (n, C)."""
        found, _ = evaluation.forward(
            self.engine,
            lambda part: self.engine.model.features(gather(part)),
            n,
            [target.name for target in self.targets],
        )
        return found


class Trained(FinishedRun):
    """The run in `folder` with its data from `store`, which need not know the run's targets.

    Raises `UserError` also when the store lacks the patterns that the model reads.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        super().__init__(folder)
        self.store = store
        check_inputs(self.engine.model, store)
        self.data = DeviceStore(store, self.engine.device, xrd="xrd" in self.engine.model.uses)

    def outputs_of(self, rows: np.ndarray, degraded: bool | None = None) -> dict[str, np.ndarray]:
        """`outputs` of some of the store's samples.

        Patterns are clean or `degraded`, None: as in the run's training. Degraded ones are those
        that every run on degraded patterns is scored on.
        """
        degraded = self.degraded if degraded is None else degraded
        measurements = Measurements(degraded, self.engine.model, EVALUATION_SEED, len(rows))

        def gather(part: slice) -> Batch:
            return self.data.gather(rows[part], degrade=measurements.of(part))

        return self.outputs(gather, len(rows))

    def predict(self, rows: np.ndarray, degraded: bool | None = None) -> evaluation.Outputs:
        """Values (n,) in the run's units, or probabilities (n, C) of its classes, of patterns as
        `outputs_of` takes them."""
        return evaluation.in_physical_units(self.outputs_of(rows, degraded), self.standard)

    def true_values(self, target: Target) -> np.ndarray | None:
        """Values (N,) of the store's samples in the run's unit, or indices of its classes.

        None where the store has no such target. Raises `UserError` when what it has under that
        name is in a unit that cannot be converted, or of other classes.
        """
        own = self.store.targets.get(target.name)
        if own is None:
            return None
        values = self.store.values(target.name)
        what = f"the target {target.name} of {self.store.path}"
        if own.is_class != target.is_class:
            kinds = ["numbers" if kind.is_class else "classes" for kind in (target, own)]
            raise UserError(f"{what} is made of {kinds[0]}, and {self.folder} learned {kinds[1]}")
        if target.is_class:
            return _class_indices(values, own, target, f"{what} has", self.folder)
        times = factor(own.unit, target.unit)
        if times is None:
            raise UserError(
                f"{what} is in {_named(own.unit)}, and {self.folder} learned it in"
                f" {_named(target.unit)}: prepare the store with --target"
                f" {target.name}:{target.unit}=COLUMN, with values in that unit"
            )
        return values if times == 1 else (values.astype(np.float64) * times).astype(np.float32)

    def score(
        self, outputs: evaluation.Outputs, true: dict[str, np.ndarray]
    ) -> dict[str, dict[str, Any]]:
        """Metric, in the run's unit, of each target whose true values (n,) are known."""
        predictions = evaluation.decided(outputs)
        return {
            target.name: evaluation.score(target, predictions[target.name], true[target.name])
            for target in self.targets
            if target.name in true
        }


def _target(content: dict[str, Any]) -> Target:
    return Target(content["name"], content["unit"], tuple(content["classes"]))


def _class_indices(
    values: np.ndarray, own: Target, wanted: Target, has: str, folder: Path
) -> np.ndarray:
    """Indices (N,) into the classes of `wanted` of indices into those of `own`, by name."""
    unknown = [name for name in own.classes if name not in wanted.classes]
    if unknown:
        shown = ", ".join(unknown[:5]) + (" ..." if unknown[5:] else "")
        raise UserError(f"{has} classes that {folder} never saw: {shown}")
    index = np.array([*map(wanted.classes.index, own.classes), -1])  # the last is: no label
    return index[values]


def _named(unit: str) -> str:
    return unit or "no unit"
