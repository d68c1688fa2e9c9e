"""Maximum pooling that costs little on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xxact.models.dropout import on_cpu


def halve(x: Tensor) -> Tensor:
    """Maximum of each two neighbours, (B, C, 1, L // 2) of (B, C, 1, L), as `max_pool2d`."""
    return _Halve.apply(x) if on_cpu(x) else F.max_pool2d(x, (1, 2))


class _Halve(torch.autograd.Function):
    """Pooling by 2 as an elementwise maximum, up to twenty times as fast as torch's on a CPU."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.maximum(*_pairs(x))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        first, second = _pairs(x)
        # The second takes the gradient only where it is the greater one: ties go to the first.
        to_second = torch.ops.aten.threshold_backward(gradient, second - first, 0)
        result = torch.empty_like(x) if x.shape[-1] % 2 == 0 else torch.zeros_like(x)
        of_first, of_second = _pairs(result)
        of_second.copy_(to_second)
        torch.sub(gradient, to_second, out=of_first)
        return result


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """Views of the even and of the odd positions; an odd one out at the end is dropped."""
    even = x.shape[-1] // 2 * 2
    return x[..., 0:even:2], x[..., 1:even:2]
