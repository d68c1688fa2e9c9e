"""Multi-head attention with the parameters, names and function of `torch.nn.MultiheadAttention`.

Accelerators compute it by torch's fused kernels. On a CPU those, made for long sequences, take
several times as long for our 4 to 18 tokens as the matrix products around them: a compiled kernel
computes it there, with the batch as the innermost axis (`xxact.models.kernel`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xxact.models import kernel
from xxact.models.dropout import N_VALUES, draw_seed, on_cpu


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

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from `x` (B, S, W) to `memory` (B, M, W), or to `x` itself where it is None.

        `mask` (B, 1, 1, M) is added to the scores: 0 or minus infinity. Returns (B, S, W).
        """
        compute = self._batch_last if on_cpu(x) else self._fused
        return compute(x, memory, mask, self.dropout if self.training else 0.0)

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
        if memory is None:
            q, kv = self._channels(x, 0, 3), None  # (3 W, S, B)
        else:
            q, kv = self._channels(x, 0, 1), self._channels(memory, 1, 3)  # (W | 2 W, S | M, B)
        out = _Attend.apply(q, kv, mask, self.heads, p)  # (W, S, B)
        out = self.out_proj(out.view(self.width, -1).t())  # (S B, W)
        return out.view(x.shape[1], len(x), -1).transpose(0, 1)  # (B, S, W)

    def _channels(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Those asked for, packed with the channels first and the batch last: (n W, S, B)."""
        weight, bias = self._projection(start, stop)
        rows = x.transpose(0, 1).reshape(-1, self.width)  # (S B, W)
        projected = torch.addmm(bias[:, None], weight, rows.t())  # (n W, S B)
        return projected.view(-1, x.shape[1], len(x))


class _Attend(torch.autograd.Function):
    """Attention in float32 of packed projections: of queries (W, S, B) and of keys and values
    (2 W, M, B), or of all three (3 W, S, B) and None."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, kv: Tensor | None, mask: Tensor | None, heads: int, p: float
    ) -> Tensor:
        ctx.dtype, ctx.packed = q.dtype, kv is None
        width = len(q) // 3 if kv is None else len(q)
        first = width if kv is None else 0
        q = q.detach().float()
        kv = q if kv is None else kv.detach().float()
        (_, n_queries, batch), n_keys = q.shape, kv.shape[1]
        hidden = torch.zeros(n_keys, batch) if mask is None else mask[:, 0, 0].t().contiguous()
        dropout = (draw_seed(), round(p * N_VALUES)) if p else (0, 0)
        weights = torch.empty(heads, n_queries, n_keys, batch)
        out = torch.empty(width, n_queries, batch)
        ctx.options = first, heads, *dropout
        kernel.attend(*_numpy(q, kv, hidden), *ctx.options, *_numpy(weights, out))
        ctx.save_for_backward(q, kv, weights)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, kv, weights = ctx.saved_tensors
        dq = torch.zeros_like(q)
        dkv = dq if ctx.packed else torch.zeros_like(kv)
        given = _numpy(gradient.float().contiguous(), q, kv)
        kernel.attend_backward(*given, *ctx.options, *_numpy(weights, dq, dkv))
        return dq.to(ctx.dtype), None if ctx.packed else dkv.to(ctx.dtype), None, None, None


def _numpy(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.numpy() for tensor in tensors)
