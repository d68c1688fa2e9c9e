"""The fusion module: tokens of the pattern and of the composition become one sequence.

Each way takes XRD tokens (B, S, W), composition tokens (B, M, W), [CLS] first in both, and the mask
(B, 1, 1, M) that hides padding of the latter. No mask hides later XRD tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xxact.models.layers import Choice, Decoder, Encoder
from xxact.models.spec import FusionSpec


class CrossAttention(Decoder):
    """As published: XRD tokens are the queries, composition tokens the keys and values."""

    def forward(self, xrd: Tensor, composition: Tensor, mask: Tensor, chosen: Choice) -> Tensor:
        """Fused tokens (B, S, W), in the places of XRD tokens, at the `chosen` ones of them."""
        return super().forward(xrd, composition, mask, chosen)


class Swapped(Decoder):
    """The roles swapped: composition tokens are the queries, XRD tokens the keys and values."""

    def forward(self, xrd: Tensor, composition: Tensor, mask: Tensor, chosen: Choice) -> Tensor:
        """Fused tokens (B, M, W), in the places of composition tokens, at the `chosen` ones."""
        return super().forward(composition, xrd, None, chosen, mask)


class Concatenated(Encoder):
    """One sequence of the tokens of both, which attend to each other."""

    def forward(self, xrd: Tensor, composition: Tensor, mask: Tensor, chosen: Choice) -> Tensor:
        """Fused tokens (B, S, W), in the places of XRD tokens, at the `chosen` ones of them."""
        tokens = torch.cat((xrd, composition), dim=1)  # (B, S + M, W)
        own = slice(0, xrd.shape[1])
        return super().forward(
            tokens, F.pad(mask, (xrd.shape[1], 0)), own if chosen is None else chosen
        )


class Summed(Encoder):
    """The composition's [CLS] added to each XRD token.

    Behind a linear map of each side, this is also what a linear map of both side by side can do.
    """

    def forward(self, xrd: Tensor, composition: Tensor, mask: Tensor, chosen: Choice) -> Tensor:
        """Fused tokens (B, S, W), in the places of XRD tokens, at the `chosen` ones of them."""
        return super().forward(xrd + composition[:, :1], None, chosen)


WAYS = {
    "cross_attention": CrossAttention,
    "swapped": Swapped,
    "concatenate": Concatenated,
    "sum": Summed,
}


def make_fusion(spec: FusionSpec) -> CrossAttention | Swapped | Concatenated | Summed:
    """The fusion module that a specification describes."""
    return WAYS[spec.by](spec)
