"""Multi-head attention with the parameters, names and function of `torch.nn.MultiheadAttention`.

Accelerators compute it by torch's fused kernels. On a CPU those, made for long sequences, take
several times as long for our 4 to 18 tokens as the matrix products around them: a compiled kernel
computes it there, with the batch as the innermost axis (`xxact.models.kernel`), and without the
padding where tokens come packed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xxact.models import kernel
from xxact.models.dropout import N_VALUES, draw_seed, on_cpu
from xxact.models.packing import Packing

#: Which keys there are: a term of the scores (B, 1, 1, M), or how tokens without padding lie.
Mask = Tensor | Packing | None


class Attention(nn.Module):
    """Attention with one packed projection to queries, keys and values."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.width, self.heads, self.dropout = width, heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, memory: Tensor | None = None, mask: Mask = None) -> Tensor:
        """Attend from `x` (B, S, W) to `memory` (B, M, W), or to `x` itself where it is None.

        `mask` (B, 1, 1, M) is added to the scores: 0 or minus infinity. Returns (B, S, W). Where
        it is the `Packing` of `memory` (T, W), `x` and the output are its first tokens or all.
        """
        p = self.dropout if self.training else 0.0
        if isinstance(mask, Packing):
            return self._by_columns(x, memory, None, mask.starts_of(len(x)), mask.starts, p)
        return (self._batch_last if on_cpu(x) else self._fused)(x, memory, mask, p)

    def _fused(self, x: Tensor, memory: Tensor | None, mask: Tensor | None, p: float) -> Tensor:
        if memory is None:
            q, k, v = self._heads(x, 0, 3)
        else:
            (q,), (k, v) = self._heads(x, 0, 1), self._heads(memory, 1, 3)
        mask = None if mask is None else mask.to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # (B, S, W)

    def _heads(self, x: Tensor, start: int, stop: int) -> tuple[Tensor, ...]:
        """Of queries, keys and values of `x` (B, S, W) those asked for, each (B, H, S, W / H)."""
        projected = F.linear(x, *self._projection(start, stop))  # (B, S, n W)
        parts = projected.unflatten(-1, (stop - start, self.heads, -1))  # (B, S, n, H, W / H)
        return parts.permute(2, 0, 3, 1, 4).unbind(0)

    def _projection(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        if stop - start == 3:
            return self.in_proj_weight, self.in_proj_bias
        rows = slice(start * self.width, stop * self.width)
        return self.in_proj_weight[rows], self.in_proj_bias[rows]

    def _batch_last(
        self, x: Tensor, memory: Tensor | None, mask: Tensor | None, p: float
    ) -> Tensor:
        starts = [_even_starts(sequences) for sequences in (x, x if memory is None else memory)]
        mask = None if mask is None else mask[:, 0, 0].t().reshape(-1)  # (M B,)
        memory = None if memory is None else _batch_second(memory)
        out = self._by_columns(_batch_second(x), memory, mask, *starts, p)  # (S B, W)
        return out.view(x.shape[1], len(x), -1).transpose(0, 1)  # (B, S, W)

    def _by_columns(
        self,
        x: Tensor,
        memory: Tensor | None,
        mask: Tensor | None,
        x_starts: np.ndarray,
        memory_starts: np.ndarray,
        p: float,
    ) -> Tensor:
        """Attention from `x` (T, W) to `memory` (U, W), whose tokens lie as the starts say."""
        if memory is None:
            q, kv = self._channels(x, 0, 3), None  # (3 W, T)
        else:
            q, kv = self._channels(x, 0, 1), self._channels(memory, 1, 3)  # (W, T), (2 W, U)
        out = _Attend.apply(q, kv, mask, x_starts, memory_starts, self.heads, p)  # (W, T)
        return self.out_proj(out.t())

    def _channels(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Those asked for of tokens (T, W), joint, with the channels first: (n W, T)."""
        weight, bias = self._projection(start, stop)
        return torch.addmm(bias[:, None], weight, x.t())


def _even_starts(x: Tensor) -> np.ndarray:
    """First rows (S + 1,) of the tokens of each turn in tokens (B, S, W) as (S B, W)."""
    return np.arange(x.shape[1] + 1, dtype=np.uint64) * len(x)


def _batch_second(x: Tensor) -> Tensor:
    """Tokens (B, S, W) as (S B, W)."""
    return x.transpose(0, 1).reshape(-1, x.shape[-1])


class _Attend(torch.autograd.Function):
    """Attention in float32 of joint projections: of queries (W, T) and of keys and values (2 W, U),
    or of all three (3 W, T) and None. Starts and `mask` (U,) or None are as in `kernel.attend`."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        kv: Tensor | None,
        mask: Tensor | None,
        q_starts: np.ndarray,
        kv_starts: np.ndarray,
        heads: int,
        p: float,
    ) -> Tensor:
        ctx.dtype, ctx.joint = q.dtype, kv is None
        width = len(q) // 3 if kv is None else len(q)
        first = width if kv is None else 0
        q = q.detach().float()
        kv = q if kv is None else kv.detach().float()
        mask = torch.zeros(kv.shape[1]) if mask is None else mask
        dropout = (draw_seed(), round(p * N_VALUES)) if p else (0, 0)
        weights = torch.empty(heads, len(q_starts) - 1, len(kv_starts) - 1, int(kv_starts[1]))
        out = torch.zeros(width, q.shape[1])
        ctx.options = q_starts, kv_starts, first, heads, *dropout
        kernel.attend(*_numpy(q, kv, mask), *ctx.options, *_numpy(weights, out))
        ctx.save_for_backward(q, kv, weights)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, kv, weights = ctx.saved_tensors
        dq = torch.zeros_like(q)
        dkv = dq if ctx.joint else torch.zeros_like(kv)
        given = _numpy(gradient.float().contiguous(), q, kv)
        kernel.attend_backward(*given, *ctx.options, *_numpy(weights, dq, dkv))
        dkv = None if ctx.joint else dkv.to(ctx.dtype)
        return dq.to(ctx.dtype), dkv, None, None, None, None, None


def _numpy(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.numpy() for tensor in tensors)
