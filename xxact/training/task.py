"""What a run optimises: targets (`Supervised`) or the inputs themselves (`SelfSupervised`).

Both offer the loop the same things: the rows of each task, the loss of a batch, and a score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xxact import objectives
from xxact.data.batches import DeviceStore, to_device
from xxact.data.store import Store
from xxact.data.targets import Target, find_target
from xxact.training import evaluation
from xxact.training.distributed import World
from xxact.training.engine import Engine
from xxact.training.sampler import Part, Slots, parts_of
from xxact.training.spec import RunSpec

#: Seed of the masks that self-supervised objectives are evaluated with, the same for every run.
EVALUATION_SEED = 0

#: Loss of two encoders' embeddings (b, W) and a temperature.
Contrast = Callable[[Tensor, Tensor, Tensor], Tensor]


def seed_dropout(seed: int, part: Part) -> None:
    """Let what is drawn next follow from `seed` and the part of the batch alone."""
    number = seed + 1_000_000_007 * part.number
    # `torch.manual_seed` would note the whole call stack for each kind of device that is not used.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(number)


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
        self._fixed: Tensor | None = None  # (N, ...), see `fix_features`
        self.regression_weight = spec.regression_weight
        self.targets = targets_of(spec, store)
        self.standard: dict[str, tuple[float, float]] = dict(standard or {})
        self.values: dict[str, Tensor] = {}  # name -> (N,) on the device, standardised
        self.rows_by_task: list[np.ndarray] = []
        for target in self.targets:
            values = store.values(target.name)
            self.rows_by_task.append(train_rows[target.known(values[train_rows])])
            if not target.is_class:
                if target.name not in self.standard:
                    known = values[self.rows_by_task[-1]].astype(np.float64)
                    self.standard[target.name] = (float(known.mean()), float(known.std()) or 1.0)
                mean, std = self.standard[target.name]
                values = ((values - mean) / std).astype(np.float32)
            self.values[target.name] = torch.from_numpy(values).to(data.device)

    def losses(
        self,
        engine: Engine,
        slots: Slots,
        parts: Sequence[Part],
        generator: torch.Generator,
        seed: int,
    ) -> Iterator[Callable[[], Tensor]]:
        """For each of `parts` of a batch, what computes its share of the loss.

        The loss is the mean over all slots of each slot's own task's loss.
        """
        for part in parts:
            yield partial(self._share, engine.model, slots, part, seed)

    def fix_features(self, engine: Engine) -> None:
        """Compute once what the heads read of every row: the trunk is not going to change."""
        self._fixed = evaluation.fixed_features(engine, self.data)

    def _features(
        self, model: nn.Module, rows: np.ndarray, pattern_of: np.ndarray | None = None
    ) -> Any:
        """What the heads read of `rows` (B,), or of them with the patterns of `pattern_of` (B,)."""
        if self._fixed is None or pattern_of is not None:
            return model.features(self.data.gather(rows, pattern_of=pattern_of))
        return self._fixed[to_device(rows, self.data.device)]

    def _share(self, model: nn.Module, slots: Slots, part: Part, seed: int) -> Tensor:
        seed_dropout(seed, part)
        own = slots.rows[part.slots]
        rows = to_device(own, self.data.device)  # (B,)
        tasks = to_device(slots.tasks[part.slots], self.data.device)  # (B,)
        features = self._features(model, own)
        outputs = {target.name: model.predict(features, target.name) for target in self.targets}
        values = {target.name: self.values[target.name][rows] for target in self.targets}
        loss = objectives.multi_target_loss(outputs, values, tasks, self.regression_weight)
        return loss * (len(part) / len(slots.rows))

    def predict(
        self,
        engine: Engine,
        rows: np.ndarray,
        embed: np.ndarray | None = None,
        pattern_of: np.ndarray | None = None,
    ) -> tuple[evaluation.Outputs, np.ndarray | None]:
        """Values of `rows` (n,) in physical units or class probabilities, and the embeddings of
        those that the mask `embed` selects; with the patterns of `pattern_of` (n,) if given."""

        def features_of(some: slice) -> Any:
            others = None if pattern_of is None else pattern_of[some]
            return self._features(engine.model, rows[some], others)

        names = [target.name for target in self.targets]
        outputs, embedding = evaluation.forward(engine, features_of, len(rows), names, embed)
        return evaluation.in_physical_units(outputs, self.standard), embedding

    def score(self, engine: Engine, rows: np.ndarray) -> dict[str, dict[str, Any]]:
        """Metric of each target on `rows`."""
        predictions = evaluation.decided(self.predict(engine, rows)[0])
        return evaluation.score_all(self.targets, predictions, self.store, rows)


class SelfSupervised:
    """Pretraining on the two inputs alone: contrastive, masked XRD modelling, or their sum."""

    def __init__(
        self, spec: RunSpec, store: Store, data: DeviceStore, train_rows: np.ndarray
    ) -> None:
        self.data, self.batch_size = data, spec.batch_size
        self.micro_batch = spec.engine.micro_batch
        self.objective, self.mask_fraction = spec.objective, spec.mask_fraction
        self.targets, self.standard = [], {}
        self.rows_by_task = [train_rows]

    def losses(
        self,
        engine: Engine,
        slots: Slots,
        parts: Sequence[Part],
        generator: torch.Generator,
        seed: int,
    ) -> Iterator[Callable[[], Tensor]]:
        """For each of `parts` of a batch, what computes its share of the objective."""
        for terms in self._shares(engine, slots.rows, parts, generator, seed):
            yield lambda terms=terms: terms()["loss"]

    @torch.no_grad()
    def score(self, engine: Engine, rows: np.ndarray) -> dict[str, dict[str, Any]]:
        """Mean of each term over batches of `rows`, with masks that are always the same."""
        engine.model.eval()
        world = engine.world
        generator = torch.Generator(device=engine.device).manual_seed(EVALUATION_SEED)
        total: dict[str, Tensor] = {}
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            parts = parts_of(len(batch), world.rank, world.size, self.micro_batch)
            parts = [part for part in parts if len(part)]
            for terms in self._shares(engine, batch, parts, generator, EVALUATION_SEED):
                with engine.autocast():
                    shares = terms()
                for name, value in shares.items():
                    total[name] = total.get(name, 0) + value.float() * (len(batch) / len(rows))
        sums: dict[str, float] = {}
        for found in world.gather({name: float(value) for name, value in total.items()}):
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value
        return {"objective": sums | {"n": len(rows)}}

    def _shares(
        self,
        engine: Engine,
        rows: np.ndarray,
        parts: Sequence[Part],
        generator: torch.Generator,
        seed: int,
    ) -> Iterator[Callable[[], dict[str, Tensor]]]:
        """For each of `parts` of a batch, what computes its share of each term."""
        n_tokens = engine.model.xrd.tokens
        mask = objectives.draw_mask(generator, len(rows), n_tokens, self.mask_fraction)
        contrasts = self._contrasts(engine, rows, parts, seed)
        for part, contrast in zip(parts, contrasts, strict=True):
            yield partial(self._terms, engine.model, rows, part, seed, mask, contrast)

    def _terms(
        self,
        model: nn.Module,
        rows: np.ndarray,
        part: Part,
        seed: int,
        mask: Tensor,
        contrast: Contrast,
    ) -> dict[str, Tensor]:
        seed_dropout(seed, part)
        batch = self.data.gather(rows[part.slots])
        return objectives.pretraining_loss(
            model, batch, self.objective, mask[part.slots], contrast, len(part) / len(rows)
        )

    def _contrasts(
        self, engine: Engine, rows: np.ndarray, parts: Sequence[Part], seed: int
    ) -> Sequence[Contrast]:
        """For each of `parts`, the contrastive loss that sets it beside the whole batch."""
        world, model = engine.world, engine.model
        alone = world.size == 1 and len(parts) == 1
        if "contrastive" not in self.objective or alone:
            return [objectives.contrastive_loss] * len(parts)
        together = partial(exchange, world, len(rows), model.composition.spec.width, parts)
        if len(parts) == 1:  # its embeddings can be exchanged on their way to the loss

            def contrast(composition: Tensor, xrd: Tensor, temperature: Tensor) -> Tensor:
                pair = torch.stack((composition.float(), xrd.float()))  # (2, b, W)
                (known,) = together([pair], temperature)
                return known(composition, xrd, temperature)

            return [contrast]
        # The graphs of all parts do not fit in memory together: embeddings first, and each part
        # once more when its gradients are known. The forward pass is the same in both.
        pairs = []
        for part in parts:
            seed_dropout(seed, part)
            with engine.autocast():
                batch = self.data.gather(rows[part.slots])
                embeddings = objectives.paired_embeddings(model, batch, self.objective)
            pairs.append(torch.stack([embedding.detach().float() for embedding in embeddings]))
        return together(pairs, model.temperature)


def exchange(
    world: World,
    n: int,
    width: int,
    parts: Sequence[Part],
    pairs: Sequence[Tensor],
    temperature: Tensor,
) -> list[Contrast]:
    """What each of `parts` contributes to the contrastive loss of the whole batch of `n`.

    `pairs` holds the embeddings (2, b, W) of each part: compositions, patterns. The functions
    returned have the value of the part's share, and the gradients of the whole loss.
    """
    both = torch.zeros(2, n, width, device=temperature.device)  # (2, B, W)
    for part, pair in zip(parts, pairs, strict=True):
        both[:, part.slots] = pair.detach()
    world.sum(both)
    slots = [part.slots for part in parts]
    values, (*gradients, of_temperature) = objectives.contrastive_gradients(
        *both, temperature, slots
    )
    of_both = world.sum(torch.stack(gradients))  # (2, B, W)
    return [
        partial(objectives.with_gradients, value, (*of_both[:, own], of_temperature / len(parts)))
        for value, own in zip(values, slots, strict=True)
    ]


def make_task(
    spec: RunSpec, store: Store, data: DeviceStore, train_rows: np.ndarray
) -> Supervised | SelfSupervised:
    """The task that `spec.objective` names."""
    kind = Supervised if spec.supervised else SelfSupervised
    return kind(spec, store, data, train_rows)
