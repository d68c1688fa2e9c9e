"""What a step of a network takes, counted on the network itself: parameters, FLOPs, bytes.

The network is built without numbers (torch's device "meta") and goes through a step of a few
samples. FLOPs are those that `FlopCounterMode` counts, two for a multiplication with its addition,
in matrix products and convolutions alone: so many a step, a sample, and a pair of samples (a
contrastive loss), and three small batches tell those of any. Bytes are those that autograd keeps
for the backward pass, at two a number as under bfloat16 autocast. Fused attention keeps less, its
scores left out, and LayerNorm twice as much, which leaves 10 %; with activation checkpointing
inputs of blocks, in four bytes, are most of it, and the rest is counted in four bytes too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from xxact import objectives
from xxact.data.batches import Batch
from xxact.data.targets import Target
from xxact.models import ModelSpec, build_model
from xxact.models.layers import DecoderLayer, EncoderLayer
from xxact.training.engine import prepare_blocks
from xxact.training.spec import EngineSpec
from xxact.xrd.grid import N_POINTS

#: Elements that compositions are padded to in large batches (`COMPOSITION_SIZES`).
PADDED_ELEMENTS = 8
#: Sizes of the batches that are counted.
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


@functools.lru_cache(maxsize=1024)
def count(
    model: ModelSpec,
    objective: str,
    targets: tuple[Target, ...],
    batch_size: int,
    transfer: bool = False,
    checkpointing: bool = False,
) -> Count:
    """What a step of `batch_size` samples takes.

    With activation `checkpointing` blocks are computed twice, inputs of blocks are kept, in four
    bytes a number, and at any time one block, which is reckoned with their mean size.
    """
    case = model, objective, targets, transfer
    if batch_size in COUNTED:
        return _count(*case, batch_size, checkpointing)
    counts = [count(*case[:3], n, transfer, checkpointing) for n in COUNTED]
    forward, step, kept = (
        _extrapolated([getattr(one, name) for one in counts], batch_size)
        for name in ("forward", "step", "kept")
    )
    return Count(counts[0].parameters, counts[0].trained, forward, step, kept)


def _extrapolated(values: Sequence[float], x: int) -> float:
    """At `x`, the parabola through `values` at `COUNTED` (Lagrange's formula)."""
    a, b, c = COUNTED
    u, v, w = values
    u, v, w = u / ((a - b) * (a - c)), v / ((b - a) * (b - c)), w / ((c - a) * (c - b))
    return u * (x - b) * (x - c) + v * (x - a) * (x - c) + w * (x - a) * (x - b)


def _count(
    spec: ModelSpec,
    objective: str,
    targets: tuple[Target, ...],
    transfer: bool,
    n: int,
    checkpointing: bool,
) -> Count:
    with torch.device("meta"):
        model = build_model(spec, targets, linear_heads=transfer).train()
        elements = torch.ones(n, PADDED_ELEMENTS, dtype=torch.int64)
        batch = Batch(elements, torch.ones(n, PADDED_ELEMENTS), torch.ones(n, N_POINTS))
        mask = torch.ones(n, spec.xrd.tokens if spec.xrd else 0, dtype=torch.bool)
    trained = model.freeze_for(objective, transfer)
    prepare_blocks(model, EngineSpec(activation_checkpointing=checkpointing))
    own = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers(), batch.pattern)}
    kept: dict[int, Tensor] = {}  # which keeps the storages alive, and their numbers their own

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        if objective != "supervised":
            loss = objectives.pretraining_loss(model, batch, objective, mask)["loss"]
            forward, known = counter.get_total_flops(), 0
        else:
            with torch.set_grad_enabled(not transfer):
                features = model.features(batch)
            known = counter.get_total_flops() if transfer else 0
            loss = sum(model.predict(features, target.name).sum() for target in targets)
            forward = counter.get_total_flops()
        loss.backward()
    size = FLOAT32 if checkpointing else BFLOAT16
    n_bytes = sum(
        tensor.untyped_storage().nbytes() * (size / FLOAT32 if tensor.is_floating_point() else 1)
        for tensor in kept.values()
    )
    if checkpointing and not transfer:
        blocks = sum(isinstance(module, EncoderLayer | DecoderLayer) for module in model.modules())
        n_bytes += count(spec, objective, targets, n).kept / max(1, blocks)
    step = counter.get_total_flops() - known
    sizes = [sum(p.numel() for p in some) for some in (model.parameters(), trained)]
    return Count(*sizes, forward, step, n_bytes)


def _storage(tensor: Tensor) -> int:
    """Which storage a tensor without numbers has: it has no address."""
    return tensor.untyped_storage()._cdata
