"""Transformer layers with the parameters, names and function of torch's own.

The state of `EncoderLayer` and `DecoderLayer` loads into `torch.nn.TransformerEncoderLayer` and
`TransformerDecoderLayer` (`batch_first=True`) and back. Beyond torch's layers they can compute
their output at chosen tokens alone, such as the [CLS], which is all that is read of a last layer.
Weights start as torch's layers start: Xavier-uniform for the packed query, key and value
projection, zero for the biases of attention, torch's default for the other linear maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xxact.models.attention import Attention
from xxact.models.dropout import add_dropout, relu_dropout
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
        mask: Tensor | None = None,
    ) -> Tensor:
        """Output (B, S, W) of tokens `x` (B, S, W) that attend to `memory`, at the `chosen`.

        `memory_mask` (B, 1, 1, M) and `mask` (B, 1, 1, S) hide padding of `memory` and of `x`.
        """
        if self.norm_first:
            x = self._attend_to_self(x, self.norm1(x), mask, chosen)
            x = self._add(x, self.multihead_attn(self.norm2(x), memory, memory_mask))
            return self._add(x, self._feedforward(self.norm3(x)))
        x = self.norm1(self._attend_to_self(x, x, mask, chosen))
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
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        chosen: Choice = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Output (B, S, W) of tokens `x` (B, S, W), at the `chosen` ones of them."""
        for layer in self.layers[:-1]:
            x = layer(x, memory, memory_mask, mask=mask)
        x = self.layers[-1](x, memory, memory_mask, chosen, mask)
        return x if self.norm is None else self.norm(x)


def additive_mask(padding: Tensor) -> Tensor:
    """Mask (B, 1, 1, S) for attention scores: minus infinity where `padding` (B, S) is True."""
    zeros = torch.zeros(padding.shape[::-1], device=padding.device)  # (S, B), as CPUs read it
    return zeros.masked_fill_(padding.t(), float("-inf")).t()[:, None, None, :]  # (B, 1, 1, S)
