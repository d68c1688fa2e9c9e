"""Dropout that costs little on a CPU.

`torch.nn.functional.dropout` draws one Bernoulli variable after another there, which takes longer
than the matrix product beside it. Here each element compares 16 random bits with a threshold, so
that the rate is exact to 1/131072. The bits follow from a seed that each call draws from torch's
global generator: seeds and saved generator states work as ever. On other devices torch's own
kernels are used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xxact.models import kernel

#: Random values per element, of which those below p times as many are dropped.
N_VALUES = 65536


def on_cpu(x: Tensor) -> bool:
    """Whether `x` lies where the ways of this module pay; what is compiled is fused anyway."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero elements of `x` with probability `p` and scale the others by 1 / (1 - p)."""
    if not training or p == 0.0:
        return x
    if not on_cpu(x):
        return F.dropout(x, p)
    keep, scale = _keep(x, p)
    return x.mul(keep).mul_(scale)


def add_dropout(residual: Tensor, x: Tensor, p: float, training: bool) -> Tensor:
    """`residual` + dropout of `x`, of the same shape; in the wider of the two types."""
    if not training or p == 0.0:
        return residual + x
    if not on_cpu(x):
        return residual + F.dropout(x, p)
    keep, scale = _keep(x, p)
    return torch.addcmul(residual, x, keep, value=scale)


def relu_dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Dropout of the positive part of `x`."""
    if not training or p == 0.0:
        return F.relu(x)
    if not on_cpu(x):
        return F.dropout(F.relu(x), p)
    return _ReluDropout.apply(x, p)


class _ReluDropout(torch.autograd.Function):
    """The output is positive exactly where the gradient passes, so no mask need be kept."""

    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        keep, ctx.scale = _keep(x, p)
        output = torch.relu(x).mul_(keep).mul_(ctx.scale)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (output,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, output, 0).mul_(ctx.scale), None


def draw_seed() -> int:
    """A seed of random bits, from torch's global generator."""
    return torch.empty((), dtype=torch.int64).random_().item()


def _keep(x: Tensor, p: float) -> tuple[Tensor, float]:
    """Ones and zeros of the shape and type of `x`, and the factor that keeps the mean."""
    n, dropped = x.numel(), round(p * N_VALUES)
    words = torch.empty((n + 3) // 4, dtype=torch.uint64)
    keep = words.view(torch.int16)
    kernel.draw(draw_seed(), dropped - N_VALUES // 2, words.numpy(), keep.numpy())
    keep = keep[:n].view(torch.bfloat16).view(x.shape)
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        keep = keep.as_strided(x.shape, x.stride())
    return keep.to(x.dtype), N_VALUES / (N_VALUES - dropped)
