"""Transformer layers with the parameters, names and function of torch's own.

The state of `EncoderLayer` and `DecoderLayer` loads into `torch.nn.TransformerEncoderLayer` and
`TransformerDecoderLayer` (`batch_first=True`) and back. Beyond torch's layers they can compute
their output at chosen tokens alone, such as the [CLS], which is all that is read of a last layer.
Weights start as torch's layers start: Xavier-uniform for the packed query, key and value
projection, zero for the biases of attention, torch's default for the other linear maps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xxact.models.dropout import add_dropout, dropout, on_cpu, relu_dropout
from xxact.models.spec import EncoderSpec

#: Tokens at which an output is wanted: all, a range of them, or indices (B, K) of each sample's.
Choice = slice | Tensor | None
#: The [CLS] alone.
CLS = slice(0, 1)


def choose(x: Tensor, chosen: Choice) -> Tensor:
    """The `chosen` tokens (B, K, W) of `x` (B, S, W)."""
    if chosen is None:
        return x
    if isinstance(chosen, slice):
        return x[:, chosen]
    return x.gather(1, chosen[..., None].expand(-1, -1, x.shape[-1]))


class Attention(nn.Module):
    """Multi-head attention with packed projections, as `torch.nn.MultiheadAttention`."""

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
        if memory is None:
            qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # (B, S, 3 W)
            q, k, v = self._split(qkv, 3)
        else:
            w_q, w_kv = self.in_proj_weight.split((self.width, 2 * self.width))
            b_q, b_kv = self.in_proj_bias.split((self.width, 2 * self.width))
            (q,) = self._split(F.linear(x, w_q, b_q), 1)
            k, v = self._split(F.linear(memory, w_kv, b_kv), 2)
        p = self.dropout if self.training else 0.0
        if on_cpu(x):
            out = _attend(q, k, v, mask, p)
        else:
            mask = None if mask is None else mask.to(q.dtype)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # (B, S, W)

    def _split(self, projected: Tensor, n: int) -> tuple[Tensor, ...]:
        """The `n` parts (B, H, S, W / H) of packed projections (B, S, n W)."""
        batch, tokens, _ = projected.shape
        parts = projected.view(batch, tokens, n, self.heads, self.width // self.heads)
        parts = parts.permute(2, 0, 3, 1, 4)  # (n, B, H, S, W / H)
        return (parts.contiguous() if on_cpu(parts) else parts).unbind(0)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """Scaled dot-product attention (B, H, S, D) for a few short sequences on a CPU.

    torch's kernels are made for long sequences and take several times as long here. The scores
    are laid out with the keys first, in which order the softmax runs along the queries.
    """
    batch, heads, _, size = q.shape
    q, k, v = q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)  # (B H, S or M, D)
    scores = torch.bmm(k, q.transpose(1, 2)).float() * size**-0.5  # (B H, M, S)
    if mask is not None:
        scores = scores.unflatten(0, (batch, heads)) + mask.transpose(2, 3)  # (B, H, M, S)
        scores = scores.flatten(0, 1)
    weights = dropout(scores.softmax(dim=1).to(v.dtype), p, training=True)
    return torch.bmm(weights.transpose(1, 2), v).unflatten(0, (batch, heads))


class _Layer(nn.Module):
    """What encoder and decoder layers share: the feed-forward block and the order of norms."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.norm_first = spec.norm_first
        self.self_attn = Attention(spec.width, spec.heads, spec.dropout)
        self.linear1 = nn.Linear(spec.width, spec.feedforward)
        self.linear2 = nn.Linear(spec.feedforward, spec.width)
        self.p = spec.dropout

    def _add(self, residual: Tensor, x: Tensor) -> Tensor:
        return add_dropout(residual, x, self.p, self.training)

    def _attend_to_self(self, x: Tensor, h: Tensor, mask: Tensor | None, chosen: Choice) -> Tensor:
        """`x` plus self-attention of `h`, which is `x` or normalised `x`, at the `chosen`."""
        if chosen is None:
            return self._add(x, self.self_attn(h, mask=mask))
        return self._add(choose(x, chosen), self.self_attn(choose(h, chosen), h, mask))

    def _feedforward(self, x: Tensor) -> Tensor:
        return self.linear2(relu_dropout(self.linear1(x), self.p, self.training))  # (B, S, W)


class EncoderLayer(_Layer):
    """Self-attention and a feed-forward block, as `torch.nn.TransformerEncoderLayer`."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.norm1 = nn.LayerNorm(spec.width)
        self.norm2 = nn.LayerNorm(spec.width)

    def forward(self, x: Tensor, mask: Tensor | None = None, chosen: Choice = None) -> Tensor:
        """Output (B, S, W) of tokens `x` (B, S, W), at the `chosen` ones of them.

        `mask` (B, 1, 1, S) hides padding, as in `Attention`.
        """
        if self.norm_first:
            x = self._attend_to_self(x, self.norm1(x), mask, chosen)
            return self._add(x, self._feedforward(self.norm2(x)))
        x = self.norm1(self._attend_to_self(x, x, mask, chosen))
        return self.norm2(self._add(x, self._feedforward(x)))


class DecoderLayer(_Layer):
    """Self-attention, cross-attention, feed-forward, as `torch.nn.TransformerDecoderLayer`."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.multihead_attn = Attention(spec.width, spec.heads, spec.dropout)
        self.norm1 = nn.LayerNorm(spec.width)
        self.norm2 = nn.LayerNorm(spec.width)
        self.norm3 = nn.LayerNorm(spec.width)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        chosen: Choice = None,
    ) -> Tensor:
        """Output (B, S, W) of tokens `x` (B, S, W) that attend to `memory`, at the `chosen`."""
        if self.norm_first:
            x = self._attend_to_self(x, self.norm1(x), None, chosen)
            x = self._add(x, self.multihead_attn(self.norm2(x), memory, memory_mask))
            return self._add(x, self._feedforward(self.norm3(x)))
        x = self.norm1(self._attend_to_self(x, x, None, chosen))
        x = self.norm2(self._add(x, self.multihead_attn(x, memory, memory_mask)))
        return self.norm3(self._add(x, self._feedforward(x)))


class Encoder(nn.Module):
    """A stack of encoder layers; pre-norm stacks end with a LayerNorm."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(spec) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.width) if spec.norm_first else None

    def forward(self, x: Tensor, mask: Tensor | None = None, chosen: Choice = None) -> Tensor:
        """Output (B, S, W) of tokens `x` (B, S, W), at the `chosen` ones of them."""
        for layer in self.layers[:-1]:
            x = layer(x, mask)
        x = self.layers[-1](x, mask, chosen)
        return x if self.norm is None else self.norm(x)


class Decoder(nn.Module):
    """A stack of decoder layers; pre-norm stacks end with a LayerNorm."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(spec) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.width) if spec.norm_first else None

    def forward(
        self, x: Tensor, memory: Tensor, memory_mask: Tensor | None = None, chosen: Choice = None
    ) -> Tensor:
        """Output (B, S, W) of tokens `x` (B, S, W), at the `chosen` ones of them."""
        for layer in self.layers[:-1]:
            x = layer(x, memory, memory_mask)
        x = self.layers[-1](x, memory, memory_mask, chosen)
        return x if self.norm is None else self.norm(x)


def additive_mask(padding: Tensor) -> Tensor:
    """Mask (B, 1, 1, S) for attention scores: minus infinity where `padding` (B, S) is True."""
    zeros = torch.zeros(padding.shape, device=padding.device)
    return zeros.masked_fill_(padding, float("-inf"))[:, None, None, :]  # (B, 1, 1, S)
