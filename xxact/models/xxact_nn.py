"""XxaCT-NN: composition and diffraction pattern, encoded apart and fused by cross-attention.

Subramanian et al., https://arxiv.org/abs/2507.01054.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from xxact.data.targets import Target
from xxact.models.base import OBJECTIVES, Model, linear_heads
from xxact.models.composition import CompositionEncoder, Tokens
from xxact.models.fusion import make_fusion
from xxact.models.layers import CLS, Choice
from xxact.models.spec import CompositionSpec, FusionSpec, PatternSpec, XRDSpec
from xxact.models.xrd import XRDEncoder
from xxact.xrd.grid import N_POINTS

if TYPE_CHECKING:
    from xxact.data.batches import Batch


class XxactNN(Model):
    """The bimodal network, with what its pretraining objectives need.

    Masked modelling hides and rebuilds some of the `n_windows` windows of a pattern: here 17 of 250
    values, the tokens.
    """

    uses: ClassVar[frozenset[str]] = frozenset({"composition", "xrd"})
    #: What reads the pattern, made of the second argument.
    encoder: ClassVar[type[nn.Module]] = XRDEncoder

    def __init__(
        self,
        composition: CompositionSpec,
        xrd: XRDSpec | PatternSpec,
        fusion: FusionSpec,
        targets: Sequence[Target],
    ) -> None:
        super().__init__(targets)
        window = N_POINTS // xrd.tokens
        self.n_windows = xrd.tokens
        self.composition = CompositionEncoder(composition, cls=True)
        self.xrd = self.encoder(xrd)
        self.composition_bridge = nn.Linear(composition.width, fusion.width)
        self.xrd_bridge = nn.Linear(xrd.width, fusion.width)
        self.fusion = make_fusion(fusion)
        self.mxm_head = nn.Linear(fusion.width, window)
        # Patterns are in [0, 100] and mostly near 0: a unit spread tells the mask from a window
        # without reflections from the first step on.
        self.mask_token = nn.Parameter(torch.randn(window))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.07)))
        self.heads = linear_heads(fusion.width, targets)

    @property
    def temperature(self) -> Tensor:
        """Temperature of the contrastive objective; starts at 0.07."""
        return self.log_temperature.exp()

    def encode_composition(self, batch: Batch, cls_only: bool = False) -> Tokens:
        """Tokens of the composition, [CLS] first: values (B, 1 + E, W)."""
        return self.composition(batch.elements, batch.fractions, cls_only=cls_only)

    def encode_xrd(
        self, pattern: Tensor, mask: Tensor | None = None, cls_only: bool = False
    ) -> Tensor:
        """Tokens (B, 18, W) of patterns (B, 4250), [CLS] first, or (B, 1, W) of it alone.

        Windows where `mask` (B, 17) is True are replaced by the learned mask token.
        """
        windows = self.xrd.windows(pattern)  # (B, 17, 250)
        if mask is not None:
            windows = torch.where(mask[..., None], self.mask_token, windows)
        return self.xrd(windows, cls_only=cls_only)

    def fuse(self, xrd: Tensor, composition: Tokens, chosen: Choice = None) -> Tensor:
        """Fused tokens (B, 18, W) of XRD tokens (B, 18, W), at the `chosen` ones of them."""
        queries = self.xrd_bridge(xrd)  # (B, 18, 768)
        memory = self.composition_bridge(composition.values)  # (B, 1 + E, 768)
        return self.fusion(queries, memory, composition.mask, chosen)

    def windows(self, pattern: Tensor) -> Tensor:
        """The windows (B, 17, 250) of patterns (B, 4250)."""
        return self.xrd.windows(pattern)

    def reconstruct(
        self, pattern: Tensor, composition: Tokens, mask: Tensor, places: Tensor
    ) -> Tensor:
        """The windows (B, K, 250) in `places` (B, K), of patterns (B, 4250) where those that
        `mask` (B, 17) selects are hidden; any numbers, on the scale that is trained for."""
        xrd = self.encode_xrd(pattern, mask)  # (B, 18, W)
        fused = self.fuse(xrd, composition, chosen=places + 1)  # (B, K, W), behind the [CLS]
        return self.mxm_head(fused)

    def features(self, batch: Batch, cls_only: bool = True) -> Tensor:
        """Fused tokens (B, 18, W), or (B, 1, W) of the [CLS] alone."""
        composition = self.encode_composition(batch)
        return self.fuse(
            self.encode_xrd(batch.pattern), composition, chosen=CLS if cls_only else None
        )

    def embedding(self, features: Tensor) -> Tensor:
        """The fused [CLS] (B, W)."""
        return features[:, 0]

    def trained_by(self, objective: str) -> Iterable[nn.Parameter]:
        """Parameters that a gradient of `objective` reaches."""
        encoders = (self.composition, self.xrd)
        fused = (*encoders, self.composition_bridge, self.xrd_bridge, self.fusion)
        if objective not in OBJECTIVES:
            raise ValueError(f"no objective '{objective}'; there are: {', '.join(OBJECTIVES)}")
        modules = {
            "supervised": (*fused, self.heads),
            "contrastive": encoders,
            "mxm": (*fused, self.mxm_head),
            "contrastive+mxm": (*fused, self.mxm_head),
        }[objective]
        loose = []
        if "contrastive" in objective:
            loose.append(self.log_temperature)
        if "mxm" in objective and self.mask_token is not None:
            loose.append(self.mask_token)
        return chain(*(module.parameters() for module in modules), loose)
