"""What a step of a network takes, counted on the network itself: parameters, FLOPs, bytes.

The network is built without numbers (torch's device "meta") and goes through a step of a few
samples. FLOPs are those that `FlopCounterMode` counts, two for a multiplication with its addition,
in matrix products and convolutions alone: so many a step, a sample and, in a contrastive loss, a
pair of samples, so that two or three small batches tell those of any. Bytes are those that autograd
keeps for the backward pass, at two a number as under bfloat16 autocast. Fused attention keeps less,
its scores left out, and LayerNorm twice as much: together that is within 10 %, and within 20 % with
activation checkpointing.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from xxact import objectives
from xxact.data.batches import Batch
from xxact.data.targets import Target
from xxact.models import ModelSpec, build_model
from xxact.models.layers import DecoderLayer, EncoderLayer
from xxact.xrd.grid import N_POINTS

#: Elements that compositions are padded to in large batches (`COMPOSITION_SIZES`).
PADDED_ELEMENTS = 8
#: Sizes of the batches that are counted, the third where pairs of samples count.
COUNTED = (2, 3, 4)
#: Bytes of a number.
FLOAT32, BFLOAT16 = 4, 2


@dataclass(frozen=True)
class Count:
    """A step of a network on a batch; with transfer, of its heads on features that are known."""

    parameters: int
    trained: int  # of the parameters
    forward: float  # FLOPs of a forward pass of the whole network
    step: float  # FLOPs of a step, forward and backward
    kept: float  # bytes kept for the backward pass
    kept_outside: float  # the same with activation checkpointing: outside of blocks, their inputs,
    largest_block: float  # and what one block keeps while it is computed again


@functools.lru_cache(maxsize=256)
def count(
    model: ModelSpec,
    objective: str,
    targets: tuple[Target, ...],
    batch_size: int,
    transfer: bool = False,
) -> Count:
    """What a step of `batch_size` samples takes."""
    sizes = COUNTED if "contrastive" in objective else COUNTED[:2]
    if batch_size in sizes:
        return _count(model, objective, targets, batch_size, transfer)
    counts = [count(model, objective, targets, n, transfer) for n in sizes]
    weights = [
        math.prod((batch_size - other) / (n - other) for other in sizes if other != n)
        for n in sizes
    ]  # of Lagrange's polynomial through the counts

    def extrapolated(name: str) -> float:
        return sum(w * getattr(one, name) for w, one in zip(weights, counts, strict=True))

    found = {field.name: extrapolated(field.name) for field in fields(Count)}
    return Count(**found | {"parameters": counts[0].parameters, "trained": counts[0].trained})


def _count(
    spec: ModelSpec, objective: str, targets: tuple[Target, ...], n: int, transfer: bool
) -> Count:
    with torch.device("meta"):
        model = build_model(spec, targets, linear_heads=transfer).train()
        elements = torch.ones(n, PADDED_ELEMENTS, dtype=torch.int64)
        batch = Batch(elements, torch.ones(n, PADDED_ELEMENTS), torch.ones(n, N_POINTS))
        mask = torch.ones(n, getattr(model, "n_windows", 0), dtype=torch.bool)
    trained = model.freeze_for(objective, transfer)
    kept = _Kept(model, batch)
    with kept, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        known = 0  # FLOPs of features, which a transfer computes once
        if objective == "supervised":
            with torch.set_grad_enabled(not transfer):
                features = model.features(batch)
            known = counter.get_total_flops() if transfer else 0
            loss = sum(model.predict(features, target.name).sum() for target in targets)
        else:
            loss = objectives.pretraining_loss(model, batch, objective, mask)["loss"]
        forward = counter.get_total_flops()
        loss.backward()
    return Count(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained=sum(parameter.numel() for parameter in trained),
        forward=forward,
        step=counter.get_total_flops() - known,
        kept=kept.bytes,
        kept_outside=kept.bytes - sum(kept.of_blocks) + kept.inputs,
        largest_block=max(kept.of_blocks, default=0),
    )


class _Kept(torch.autograd.graph.saved_tensors_hooks):
    """Context that adds up the bytes that autograd keeps, weights and the batch aside."""

    def __init__(self, model: nn.Module, batch: Batch) -> None:
        super().__init__(self._keep, lambda tensor: tensor)
        self._known = {_storage(tensor): tensor for tensor in model.state_dict().values()}
        self._known[_storage(batch.pattern)] = batch.pattern
        self.bytes = self.inputs = self._before = 0
        self.of_blocks: list[int] = []
        for module in model.modules():
            if isinstance(module, EncoderLayer | DecoderLayer):
                module.register_forward_pre_hook(self._enter_block)
                module.register_forward_hook(self._leave_block)

    def _keep(self, tensor: Tensor) -> Tensor:
        if _storage(tensor) not in self._known:
            self._known[_storage(tensor)] = tensor  # held: no other storage gets its place
            whole = tensor.untyped_storage().nbytes()
            self.bytes += whole * BFLOAT16 // FLOAT32 if tensor.is_floating_point() else whole
        return tensor

    def _enter_block(self, block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.inputs += inputs[0].nbytes  # (B, S, W) in float32, as LayerNorm gives it
        self._before = self.bytes

    def _leave_block(self, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.of_blocks.append(self.bytes - self._before)


def _storage(tensor: Tensor) -> int:
    """Which storage a tensor without numbers has, since it has no address."""
    return tensor.untyped_storage()._cdata
