"""What a run optimises: targets (`Supervised`) or the inputs themselves (`SelfSupervised`).

Both offer the loop the same things: the rows of each task, the loss of a batch, and a score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xxact import objectives
from xxact.data.batches import DeviceStore, to_device
from xxact.data.store import Store
from xxact.data.targets import Target, find_target
from xxact.errors import UserError
from xxact.models.base import Estimate
from xxact.objectives import Output, Reconstruction
from xxact.training import evaluation
from xxact.training.contrast import Contrast, contrasts
from xxact.training.engine import Engine
from xxact.training.explained import ExplainedVariance, mean_windows
from xxact.training.micro_batches import MicroBatch, micro_batches_of
from xxact.training.sampler import Slots
from xxact.training.spec import RunSpec
from xxact.xrd import instrument

#: Seed of the masks that self-supervised objectives are evaluated with, and of the measurements
#: that degraded patterns are, the same for every run.
EVALUATION_SEED = 0


class Measurements:
    """What degraded patterns are made of (n, ...), of `n` of them; nothing where all are clean."""

    def __init__(self, degraded: bool, model: nn.Module, seed: int, n: int) -> None:
        self._drawn = instrument.draw(seed, n, model.reads_unmeasured) if degraded else None

    def of(self, samples: slice) -> np.ndarray | None:
        """Those of some of the patterns (b, ...), None where they are clean."""
        return None if self._drawn is None else self._drawn[samples]


def targets_of(spec: RunSpec, store: Store) -> list[Target]:
    """The targets of a run, as the store describes them; `UserError` names one it lacks."""
    return [find_target(name, store.targets, str(store.path)) for name in spec.targets]


class Supervised:
    """Regression on standardised targets and classification, one task per slot of a batch, or
    `together` all targets of which its sample has a value.

    `standard` holds mean and standard deviation of each regression target; without it they are
    those of `train_rows`.
    """

    def __init__(
        self,
        spec: RunSpec,
        store: Store,
        data: DeviceStore,
        train_rows: np.ndarray,
        standard: dict[str, tuple[float, float]] | None = None,
    ) -> None:
        self.store, self.data = store, data
        self._fixed: Tensor | None = None  # (N, ...), see `fix_features`
        self.regression_weight, self.degraded = spec.regression_weight, spec.degraded
        self.robust = spec.regression_loss == "robust_l1"
        self.targets = targets_of(spec, store)
        self.standard: dict[str, tuple[float, float]] = dict(standard or {})
        self.values: dict[str, Tensor] = {}  # name -> (N,) on the device, standardised
        self.rows_by_task = [self._rows_to_train_on(target, train_rows) for target in self.targets]
        for target, rows in zip(self.targets, self.rows_by_task, strict=True):
            values = store.values(target.name)
            if not target.is_class:
                if target.name not in self.standard:
                    own = values[rows].astype(np.float64)
                    self.standard[target.name] = (float(own.mean()), float(own.std()) or 1.0)
                mean, std = self.standard[target.name]
                values = ((values - mean) / std).astype(np.float32)
            self.values[target.name] = torch.from_numpy(values).to(data.device)
        self._known: Tensor | None = None  # (N, T) bool, where a slot is of all its targets
        if spec.together:
            known = [target.known(store.values(target.name)) for target in self.targets]
            self._known = torch.from_numpy(np.stack(known, axis=1)).to(data.device)
            self.rows_by_task = [np.unique(np.concatenate(self.rows_by_task))]

    def _rows_to_train_on(self, target: Target, train_rows: np.ndarray) -> np.ndarray:
        """Those of `train_rows` that have a value of `target`; `UserError` if none has."""
        rows = train_rows[target.known(self.store.values(target.name)[train_rows])]
        if not len(rows):
            raise UserError(
                f"{self.store.path} has no example with a value of '{target.name}' to train on"
            )
        return rows

    def losses(
        self,
        engine: Engine,
        slots: Slots,
        micro_batches: Sequence[MicroBatch],
        generator: torch.Generator,
        seed: int,
    ) -> Iterator[Callable[[], Tensor]]:
        """For each of `micro_batches` of a batch, what computes its share of the loss.

        The loss is the mean over all slots of the losses of each slot's own targets.
        """
        measurements = Measurements(self.degraded, engine.model, seed, len(slots.rows))
        for micro_batch in micro_batches:
            yield partial(self._share, engine.model, slots, micro_batch, seed, measurements)

    def fix_features(self, engine: Engine) -> None:
        """Compute once what the heads read of every row: the trunk is not going to change."""
        self._fixed = evaluation.fixed_features(engine, self.data)

    def _features(
        self,
        model: nn.Module,
        rows: np.ndarray,
        pattern_of: np.ndarray | None = None,
        degrade: np.ndarray | None = None,
    ) -> Any:
        """What the heads read of `rows` (B,), or of them with the patterns of `pattern_of` (B,),
        clean or as the measurements `degrade` (B, ...) give them."""
        if self._fixed is None or pattern_of is not None:
            return model.features(self.data.gather(rows, pattern_of=pattern_of, degrade=degrade))
        return self._fixed[to_device(rows, self.data.device)]

    def _share(
        self,
        model: nn.Module,
        slots: Slots,
        micro_batch: MicroBatch,
        seed: int,
        measurements: Measurements,
    ) -> Tensor:
        micro_batch.seed_dropout(seed)
        own = slots.rows[micro_batch.slots]
        rows = to_device(own, self.data.device)  # (B,)
        if self._known is None:
            tasks = to_device(slots.tasks[micro_batch.slots], self.data.device)  # (B,)
            every = torch.arange(len(self.targets), device=self.data.device)
            trained_on = tasks[:, None] == every  # (B, T)
        else:
            trained_on = self._known[rows]  # (B, T)
        features = self._features(model, own, degrade=measurements.of(micro_batch.slots))
        outputs = {target.name: self._output(model, features, target) for target in self.targets}
        values = {target.name: self.values[target.name][rows] for target in self.targets}
        loss = objectives.multi_target_loss(outputs, values, trained_on, self.regression_weight)
        return loss * (len(micro_batch) / len(slots.rows))

    def _output(self, model: nn.Module, features: Any, target: Target) -> Tensor | Estimate:
        """What the loss of a target is of."""
        if self.robust and not target.is_class:
            return model.estimate(features, target.name)
        return model.predict(features, target.name)

    def predict(
        self,
        engine: Engine,
        rows: np.ndarray,
        embed: np.ndarray | None = None,
        pattern_of: np.ndarray | None = None,
    ) -> tuple[evaluation.Outputs, np.ndarray | None]:
        """Values of `rows` (n,) in physical units or class probabilities, and the embeddings of
        those that the mask `embed` selects; with the patterns of `pattern_of` (n,) if given."""
        measurements = Measurements(self.degraded, engine.model, EVALUATION_SEED, len(rows))

        def features_of(some: slice) -> Any:
            others = None if pattern_of is None else pattern_of[some]
            return self._features(engine.model, rows[some], others, measurements.of(some))

        names = [target.name for target in self.targets]
        outputs, embedding = evaluation.forward(engine, features_of, len(rows), names, embed)
        return evaluation.in_physical_units(outputs, self.standard), embedding

    def evaluate(
        self, engine: Engine, rows: np.ndarray
    ) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
        """Metric of each target on `rows` (n,), and the predictions (n,) that it is of."""
        predictions = evaluation.decided(self.predict(engine, rows)[0])
        return evaluation.score_all(self.targets, predictions, self.store, rows), predictions


@dataclass(frozen=True)
class Share:
    """The share of a micro-batch in a pretraining objective of its batch, computed when called for.

    `mask` (b, 17), `contrast` and `degrade` (b, ...), of what its patterns are degraded by, are the
    micro-batch's own, `n` is the size of the whole batch.
    """

    model: nn.Module
    data: DeviceStore
    objective: str
    rows: np.ndarray  # (b,)
    n: int
    micro_batch: MicroBatch
    seed: int
    mask: Tensor
    contrast: Contrast
    output: Output
    degrade: np.ndarray | None

    def terms(self, look: Callable[[Reconstruction], None] | None = None) -> dict[str, Tensor]:
        """The share in each term; `look` is shown the windows of masked modelling."""
        self.micro_batch.seed_dropout(self.seed)
        batch, weight = self.data.gather(self.rows, degrade=self.degrade), len(self.rows) / self.n
        clean = None if self.degrade is None else self.data.calculated(self.rows, self.degrade)
        given = self.mask, self.contrast, weight, look, self.output, clean
        return objectives.pretraining_loss(self.model, batch, self.objective, *given)

    def loss(self) -> Tensor:
        """The share in the sum of the terms."""
        return self.terms()["loss"]


class SelfSupervised:
    """Pretraining on the two inputs alone: contrastive, masked XRD modelling, or their sum."""

    def __init__(
        self, spec: RunSpec, store: Store, data: DeviceStore, train_rows: np.ndarray
    ) -> None:
        self.data, self.batch_size = data, spec.batch_size
        self.micro_batch = spec.engine.micro_batch
        self.objective, self.mask_fraction = spec.objective, spec.mask_fraction
        self.output, self.degraded = Output(spec.mxm_scale, spec.mxm_activation), spec.degraded
        self.targets, self.standard = [], {}
        self.rows_by_task = [train_rows]
        self._mean_windows: Tensor | None = None

    def losses(
        self,
        engine: Engine,
        slots: Slots,
        micro_batches: Sequence[MicroBatch],
        generator: torch.Generator,
        seed: int,
    ) -> Iterator[Callable[[], Tensor]]:
        """For each of `micro_batches` of a batch, what computes its share of the objective."""
        measurements = Measurements(self.degraded, engine.model, seed, len(slots.rows))
        given = slots.rows, micro_batches, generator, seed, measurements.of(slice(None))
        for share in self._shares(engine, *given):
            yield share.loss

    @torch.no_grad()
    def evaluate(
        self, engine: Engine, rows: np.ndarray
    ) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
        """Mean of each term over batches of `rows`, with masks that are always the same; there are
        no predictions.

        Masked modelling also has the part of the variance around the mean training pattern that
        it explains at what was masked, of intensities and of their square roots; of clean patterns,
        whether it is shown clean or degraded ones. Of degraded ones also at what was shown.
        """
        model, world = engine.model.eval(), engine.world
        explained = self._explained(model)

        def look(rebuilt: Reconstruction) -> None:
            for part in explained:
                part.add(rebuilt)

        generator = torch.Generator(device=engine.device).manual_seed(EVALUATION_SEED)
        measurements = Measurements(self.degraded, model, EVALUATION_SEED, len(rows))
        total: dict[str, Tensor] = {}
        for start in range(0, len(rows), self.batch_size):
            some = slice(start, start + self.batch_size)
            batch, degrade = rows[some], measurements.of(some)
            own = micro_batches_of(len(batch), world.rank, world.size, self.micro_batch)
            own = [micro_batch for micro_batch in own if len(micro_batch)]
            for share in self._shares(engine, batch, own, generator, EVALUATION_SEED, degrade):
                with engine.autocast():
                    terms = share.terms(look)
                for name, value in terms.items():
                    total[name] = total.get(name, 0) + value.float() * (len(batch) / len(rows))
        sums: dict[str, float | None] = {}
        for found in world.gather({name: float(value) for name, value in total.items()}):
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value
        for part in explained:
            sums |= part.scores(world)
        return {"objective": sums | {"n": len(rows)}}, {}

    def _explained(self, model: nn.Module) -> list[ExplainedVariance]:
        """Of what is masked, and of what is shown where that is to be rebuilt as well."""
        if "mxm" not in self.objective:
            return []
        parts = (True, False) if self.degraded else (True,)
        return [ExplainedVariance(self._means(model), masked) for masked in parts]

    def _means(self, model: nn.Module) -> Tensor:
        """Of the windows of the rows that are trained on, (2, 17, 250), computed once."""
        if self._mean_windows is None:
            self._mean_windows = mean_windows(self.data, self.rows_by_task[0], model.windows)
        return self._mean_windows

    def _shares(
        self,
        engine: Engine,
        rows: np.ndarray,
        micro_batches: Sequence[MicroBatch],
        generator: torch.Generator,
        seed: int,
        degrade: np.ndarray | None,
    ) -> Iterator[Share]:
        """The share of each of `micro_batches` of the batch `rows`, degraded or not."""
        model = engine.model
        mask = objectives.draw_mask(generator, len(rows), model.n_windows, self.mask_fraction)
        found = contrasts(engine, self.data, rows, micro_batches, self.objective, seed)
        for one, contrast in zip(micro_batches, found, strict=True):
            own = rows[one.slots], len(rows), one, seed, mask[one.slots], contrast, self.output
            measured = None if degrade is None else degrade[one.slots]
            yield Share(model, self.data, self.objective, *own, measured)


def make_task(
    spec: RunSpec, store: Store, data: DeviceStore, train_rows: np.ndarray
) -> Supervised | SelfSupervised:
    """The task that `spec.objective` names."""
    kind = Supervised if spec.supervised else SelfSupervised
    return kind(spec, store, data, train_rows)
