"""The contrastive loss of a batch that goes through the model in micro-batches, or in processes.

Each sample is set beside every other of the batch, so a micro-batch alone does not know its share
of the loss: embeddings are exchanged first. They are small, (B, W), where graphs are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xxact import objectives
from xxact.data.batches import DeviceStore
from xxact.training.distributed import World
from xxact.training.engine import Engine
from xxact.training.micro_batches import MicroBatch

#: Loss of two encoders' embeddings (b, W) and a temperature.
Contrast = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class KnownShare:
    """A micro-batch's share of the contrastive loss of its batch, already known as a number.

    Called, as `objectives.contrastive_loss` is, with what the model gives for the micro-batch, it
    has this value, and the gradients of the whole loss with respect to what it is called with.
    """

    value: Tensor  # ()
    gradients: tuple[Tensor, Tensor, Tensor]  # (b, W), (b, W), ()

    def __call__(self, composition: Tensor, xrd: Tensor, temperature: Tensor) -> Tensor:
        return objectives.with_gradients(self.value, self.gradients, composition, xrd, temperature)


@dataclass(frozen=True)
class Exchange:
    """What the processes of `world` tell each other about a batch of `n` embeddings.

    `micro_batches` are this process's, maybe none. All processes have to ask for their shares.
    """

    world: World
    n: int
    width: int
    micro_batches: Sequence[MicroBatch]

    def shares(self, pairs: Sequence[Tensor], temperature: Tensor) -> list[KnownShare]:
        """The share of each micro-batch, from its embeddings (2, b, W): compositions, patterns."""
        both = torch.zeros(2, self.n, self.width, device=temperature.device)  # (2, B, W)
        slots = [micro_batch.slots for micro_batch in self.micro_batches]
        for own, pair in zip(slots, pairs, strict=True):
            both[:, own] = pair.detach()
        self.world.sum(both)
        values, (*gradients, of_temperature) = objectives.contrastive_gradients(
            *both, temperature, slots
        )
        c, x = self.world.sum(torch.stack(gradients))  # (B, W) each
        return [
            KnownShare(value, (c[own], x[own], of_temperature / len(slots)))
            for value, own in zip(values, slots, strict=True)
        ]


@dataclass(frozen=True)
class ExchangedShare:
    """The share of a process's only micro-batch: embeddings are exchanged on their way to it."""

    exchange: Exchange

    def __call__(self, composition: Tensor, xrd: Tensor, temperature: Tensor) -> Tensor:
        pair = torch.stack((composition.float(), xrd.float()))  # (2, b, W)
        (known,) = self.exchange.shares([pair], temperature)
        return known(composition, xrd, temperature)


def contrasts(
    engine: Engine,
    data: DeviceStore,
    rows: np.ndarray,
    micro_batches: Sequence[MicroBatch],
    objective: str,
    seed: int,
) -> Sequence[Contrast]:
    """For each of `micro_batches` of the batch `rows`, its contrastive loss beside the others.

    The graphs of all micro-batches do not fit in memory together: embeddings come first, and each
    goes through the model once more when its gradients are known, with the same dropout.
    """
    world, model = engine.world, engine.model
    if "contrastive" not in objective or (world.size == 1 and len(micro_batches) == 1):
        return [objectives.contrastive_loss] * len(micro_batches)
    exchange = Exchange(world, len(rows), model.composition.spec.width, micro_batches)
    if len(micro_batches) == 1:
        return [ExchangedShare(exchange)]
    pairs = []
    for micro_batch in micro_batches:
        micro_batch.seed_dropout(seed)
        with engine.autocast():  # with gradients, as later: kernels and dropout are then the same
            batch = data.gather(rows[micro_batch.slots])
            embeddings = objectives.paired_embeddings(model, batch, objective)
        pairs.append(torch.stack([embedding.detach().float() for embedding in embeddings]))
    return exchange.shares(pairs, model.temperature)
