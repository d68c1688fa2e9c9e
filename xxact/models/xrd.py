"""The XRD encoder, and the transformer that reads a pattern alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from xxact.data.targets import Target
from xxact.models.base import Model, linear_heads
from xxact.models.layers import CLS, Encoder
from xxact.models.spec import XRDSpec
from xxact.xrd.grid import N_POINTS

if TYPE_CHECKING:
    from xxact.data.batches import Batch


class XRDEncoder(nn.Module):
    """Tokens of the windows of a pattern, behind a learned [CLS], with learned positions."""

    def __init__(self, spec: XRDSpec) -> None:
        super().__init__()
        self.tokens = spec.tokens
        self.projection = nn.Linear(N_POINTS // spec.tokens, spec.width)
        self.cls = nn.Parameter(torch.empty(1, 1, spec.width))
        self.positions = nn.Parameter(torch.empty(1 + spec.tokens, spec.width))
        nn.init.normal_(self.cls, std=0.02)
        nn.init.normal_(self.positions, std=0.02)
        self.encoder = Encoder(spec)

    def windows(self, pattern: Tensor) -> Tensor:
        """The windows (B, 17, 250) of patterns (B, 4250) in [0, 100]."""
        return pattern.unflatten(-1, (self.tokens, -1))

    def forward(self, windows: Tensor, cls_only: bool = False) -> Tensor:
        """Encode windows (B, 17, 250): (B, 18, W), or (B, 1, W) of the [CLS] alone."""
        x = self.projection(windows)  # (B, 17, W)
        x = torch.cat((self.cls.expand(len(x), -1, -1).to(x.dtype), x), dim=1) + self.positions
        return self.encoder(x, chosen=CLS if cls_only else None)  # (B, 18, W)


class XRDTransformer(Model):
    """The XRD encoder with linear heads on its [CLS]."""

    uses: ClassVar[frozenset[str]] = frozenset({"xrd"})

    def __init__(self, spec: XRDSpec, targets: Sequence[Target]) -> None:
        super().__init__(targets)
        self.xrd = XRDEncoder(spec)
        self.heads = linear_heads(spec.width, targets)

    def features(self, batch: Batch, cls_only: bool = True) -> Tensor:
        """Tokens (B, 18, W), or (B, 1, W) of the [CLS] alone."""
        return self.xrd(self.xrd.windows(batch.pattern), cls_only=cls_only)

    def embedding(self, features: Tensor) -> Tensor:
        """The [CLS] output (B, W)."""
        return features[:, 0]
