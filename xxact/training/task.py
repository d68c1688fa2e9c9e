"""What a run optimises: targets (`Supervised`) or the inputs themselves (`SelfSupervised`).

Both offer the loop the same things: the rows of each task, the loss of a batch, and a score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xxact import objectives
from xxact.data.batches import DeviceStore
from xxact.data.store import Store
from xxact.data.targets import Target, find_target
from xxact.training import evaluation
from xxact.training.engine import TorchEngine
from xxact.training.sampler import Slots
from xxact.training.spec import RunSpec

#: Seed of the masks that self-supervised objectives are evaluated with, the same for every run.
EVALUATION_SEED = 0


def targets_of(spec: RunSpec, store: Store) -> list[Target]:
    """The targets of a run, as the store describes them; `UserError` names one it lacks."""
    return [find_target(name, store.targets, str(store.path)) for name in spec.targets]


class Supervised:
    """Regression on standardised targets and classification, one task per slot of a batch.

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
        self.regression_weight = spec.regression_weight
        self.targets = targets_of(spec, store)
        self.standard: dict[str, tuple[float, float]] = dict(standard or {})
        self.values: dict[str, Tensor] = {}  # name -> (N,) on the device, standardised
        self.rows_by_task: list[np.ndarray] = []
        for target in self.targets:
            values = store.values(target.name)
            labelled = values >= 0 if target.is_class else np.isfinite(values)
            self.rows_by_task.append(train_rows[labelled[train_rows]])
            if not target.is_class:
                if target.name not in self.standard:
                    known = values[self.rows_by_task[-1]].astype(np.float64)
                    self.standard[target.name] = (float(known.mean()), float(known.std()) or 1.0)
                mean, std = self.standard[target.name]
                values = ((values - mean) / std).astype(np.float32)
            self.values[target.name] = torch.from_numpy(values).to(data.device)

    def loss(self, model: nn.Module, slots: Slots, generator: torch.Generator) -> Tensor:
        """Mean over the slots of each slot's own task's loss."""
        rows = torch.from_numpy(slots.rows).to(self.data.device)  # (B,)
        tasks = torch.from_numpy(slots.tasks).to(self.data.device)  # (B,)
        features = model.features(self.data.gather(slots.rows))
        outputs = {target.name: model.predict(features, target.name) for target in self.targets}
        values = {target.name: self.values[target.name][rows] for target in self.targets}
        return objectives.multi_target_loss(outputs, values, tasks, self.regression_weight)

    def predict(
        self, engine: TorchEngine, rows: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Predictions in physical units or class indices, and embeddings, of `rows`."""
        names = [target.name for target in self.targets]
        outputs, embedding = evaluation.forward(engine, self.data, rows, names)
        for name, (mean, std) in self.standard.items():
            outputs[name] = outputs[name] * std + mean
        return outputs, embedding

    def score(self, engine: TorchEngine, rows: np.ndarray) -> dict[str, dict[str, Any]]:
        """Metric of each target on `rows`."""
        return evaluation.score_all(self.targets, self.predict(engine, rows)[0], self.store, rows)


class SelfSupervised:
    """Pretraining on the two inputs alone: contrastive, masked XRD modelling, or their sum."""

    def __init__(
        self, spec: RunSpec, store: Store, data: DeviceStore, train_rows: np.ndarray
    ) -> None:
        self.data, self.batch_size = data, spec.batch_size
        self.objective, self.mask_fraction = spec.objective, spec.mask_fraction
        self.targets, self.standard = [], {}
        self.rows_by_task = [train_rows]

    def _terms(
        self, model: nn.Module, rows: np.ndarray, generator: torch.Generator
    ) -> dict[str, Tensor]:
        batch = self.data.gather(rows)
        n_tokens = model.xrd.tokens
        mask = objectives.draw_mask(generator, len(rows), n_tokens, self.mask_fraction)
        return objectives.pretraining_loss(model, batch, self.objective, mask)

    def loss(self, model: nn.Module, slots: Slots, generator: torch.Generator) -> Tensor:
        """The objective on one batch."""
        return self._terms(model, slots.rows, generator)["loss"]

    @torch.no_grad()
    def score(self, engine: TorchEngine, rows: np.ndarray) -> dict[str, dict[str, Any]]:
        """Mean of each term over batches of `rows`, with masks that are always the same."""
        model = engine.model.eval()
        generator = torch.Generator(device=engine.device).manual_seed(EVALUATION_SEED)
        total: dict[str, Tensor] = {}
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            with engine.autocast():
                terms = self._terms(model, part, generator)
            for name, value in terms.items():
                total[name] = total.get(name, 0) + value.float() * (len(part) / len(rows))
        return {"objective": {name: float(v) for name, v in total.items()} | {"n": len(rows)}}


def make_task(
    spec: RunSpec, store: Store, data: DeviceStore, train_rows: np.ndarray
) -> Supervised | SelfSupervised:
    """The task that `spec.objective` names."""
    kind = Supervised if spec.supervised else SelfSupervised
    return kind(spec, store, data, train_rows)
