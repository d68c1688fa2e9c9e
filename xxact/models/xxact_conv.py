"""Networks that read patterns by convolutions, and patterns of which parts were not measured.

Not of the paper: XxaCT-NN's windows of 250 raw intensities give way to a stem of convolutions on
square roots, in which weak reflections count too. What was not measured is NaN in the pattern;
masked modelling hides windows in just this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xxact.data.targets import Target
from xxact.models.base import Model, linear_heads
from xxact.models.composition import Tokens
from xxact.models.layers import CLS, Encoder, choose
from xxact.models.spec import CompositionSpec, FusionSpec, PatternSpec
from xxact.models.xxact_nn import XxactNN
from xxact.xrd.grid import N_POINTS, TWO_THETA_MIN_DEG, TWO_THETA_STEP_DEG, two_theta_grid

if TYPE_CHECKING:
    from xxact.data.batches import Batch

#: Windows that masked modelling hides: 50 values, 1 degree, four times as wide as a line.
N_WINDOWS = 85


class PatternEncoder(nn.Module):
    """Tokens of a pattern from strided convolutions, behind a learned [CLS], and a transformer.

    Convolutions work on images of height 1 in channels-last order, which is fastest on a CPU.
    """

    def __init__(self, spec: PatternSpec) -> None:
        super().__init__()
        self.intensity = spec.intensity
        self.stem = nn.ModuleList(
            nn.Conv2d(a, b, (1, 2 * step), (1, step), padding=(0, (step + 1) // 2))
            for a, b, step in zip((2, *spec.channels), spec.channels, spec.strides, strict=False)
        ).to(memory_format=torch.channels_last)
        self.projection = nn.Linear(spec.channels[-1], spec.width)
        self.cls = nn.Parameter(torch.empty(1, 1, spec.width))
        self.positions = nn.Parameter(torch.empty(1 + spec.tokens, spec.width))
        nn.init.normal_(self.cls, std=0.02)
        nn.init.normal_(self.positions, std=0.02)
        self.encoder = Encoder(spec)
        self.resampled = spec.axis == "log_d"
        if self.resampled:
            left, weight = log_d_points()
            self.register_buffer("left", left, persistent=False)
            self.register_buffer("weight", weight, persistent=False)

    def on_axis(self, pattern: Tensor) -> Tensor:
        """Patterns (B, 4250) at equal steps of the encoder's axis, by linear interpolation."""
        if not self.resampled:
            return pattern
        left = pattern.index_select(-1, self.left)
        return torch.lerp(left, pattern.index_select(-1, self.left + 1), self.weight)

    def forward(self, pattern: Tensor, cls_only: bool = False) -> Tensor:
        """Encode patterns (B, 4250) on the encoder's axis, in [0, 100] or NaN: (B, 1 + T, W), or
        (B, 1, W) of the [CLS] alone."""
        x = self._channels(pattern)  # (B, 2, 1, 4250)
        for convolution in self.stem:
            x = F.relu(convolution(x))  # (B, C, 1, L)
        x = self.projection(x[:, :, 0].transpose(1, 2))  # (B, T, W)
        x = torch.cat((self.cls.expand(len(x), -1, -1).to(x.dtype), x), dim=1) + self.positions
        return self.encoder(x, chosen=CLS if cls_only else None)  # (B, 1 + T, W)

    def _channels(self, pattern: Tensor) -> Tensor:
        """Intensity in [0, 10], 0 where it is not known, and 1 where that is so: (B, 2, 1, 4250).

        Either scale has the same range, so that the first weights suit both.
        """
        unknown = pattern.isnan()
        known = torch.where(unknown, torch.zeros_like(pattern), pattern)
        intensity = known.sqrt() if self.intensity == "sqrt" else known / 10
        both = torch.stack((intensity, unknown.to(intensity.dtype)), dim=-1)  # (B, 4250, 2)
        return both[:, None].permute(0, 3, 1, 2)  # channels last in memory


def log_d_points() -> tuple[Tensor, Tensor]:
    """Where 4250 equal steps of log d lie on the grid of 2-theta: the point to the left of each
    (4250,) int64, and how far it is on the way to the next one (4250,), 0 to 1.

    By Bragg's law log d is less log(sin theta), but for a constant; order and ends stay.
    """
    sines = np.sin(np.radians(two_theta_grid()[[0, -1]] / 2))
    two_theta = 2 * np.degrees(np.arcsin(np.geomspace(*sines, N_POINTS)))
    place = (two_theta - TWO_THETA_MIN_DEG) / TWO_THETA_STEP_DEG
    left = np.clip(np.floor(place), 0, N_POINTS - 2)
    weight = np.clip(place - left, 0, 1)
    return torch.tensor(left, dtype=torch.int64), torch.tensor(weight, dtype=torch.float32)


def read(tokens: Tensor, reading: str) -> Tensor:
    """What the heads read of tokens (B, 1 + T, W): the [CLS] (B, W), or all (B, (1 + T) W)."""
    return tokens[:, 0] if reading == "cls" else tokens.flatten(1)


def read_width(width: int, spec: PatternSpec) -> int:
    """Width of what the heads read of tokens of a `width`."""
    return width if spec.reading == "cls" else width * (1 + spec.tokens)


class XRDConv(Model):
    """The pattern encoder with linear heads."""

    uses: ClassVar[frozenset[str]] = frozenset({"xrd"})
    reads_unmeasured: ClassVar[bool] = True

    def __init__(self, spec: PatternSpec, targets: Sequence[Target]) -> None:
        super().__init__(targets)
        self.reading = spec.reading
        self.xrd = PatternEncoder(spec)
        self.heads = linear_heads(read_width(spec.width, spec), targets)

    def features(self, batch: Batch, cls_only: bool = True) -> Tensor:
        """Tokens (B, 1 + T, W), or (B, 1, W) of the [CLS] where it alone is read."""
        pattern = self.xrd.on_axis(batch.pattern)
        return self.xrd(pattern, cls_only=cls_only and self.reading == "cls")

    def embedding(self, features: Tensor) -> Tensor:
        """What the heads read, (B, W) or (B, (1 + T) W)."""
        return read(features, self.reading)


class XxactConv(XxactNN):
    """XxaCT-NN with the pattern encoder in place of the published one.

    Masked modelling hides and rebuilds windows of 50 values on the encoder's axis.
    """

    reads_unmeasured: ClassVar[bool] = True
    encoder: ClassVar[type[nn.Module]] = PatternEncoder

    def __init__(
        self,
        composition: CompositionSpec,
        pattern: PatternSpec,
        fusion: FusionSpec,
        targets: Sequence[Target],
    ) -> None:
        super().__init__(composition, pattern, fusion, targets)
        self.n_windows, self.reading = N_WINDOWS, pattern.reading
        self.mask_token = None  # what is hidden is NaN
        self.heads = linear_heads(read_width(fusion.width, pattern), targets)

    def encode_xrd(
        self, pattern: Tensor, mask: Tensor | None = None, cls_only: bool = False
    ) -> Tensor:
        """Tokens (B, 1 + T, W) of patterns (B, 4250), [CLS] first, or (B, 1, W) of it alone.

        Windows where `mask` (B, 85) is True are hidden.
        """
        windows = self.windows(pattern)  # (B, 85, 50)
        if mask is not None:
            windows = windows.masked_fill(mask[..., None], torch.nan)
        return self.xrd(windows.flatten(1), cls_only=cls_only)

    def windows(self, pattern: Tensor) -> Tensor:
        """The windows (B, 85, 50) of patterns (B, 4250), on the encoder's axis."""
        return self.xrd.on_axis(pattern).unflatten(-1, (N_WINDOWS, -1))

    def reconstruct(
        self, pattern: Tensor, composition: Tokens, mask: Tensor, places: Tensor
    ) -> Tensor:
        """As of `XxactNN`, windows (B, K, 50): a token rebuilds several, or a part of one."""
        xrd = self.encode_xrd(pattern, mask)  # (B, 1 + T, W)
        fused = self.fuse(xrd, composition, chosen=slice(1, xrd.shape[1]))  # (B, T, W)
        points = self.mxm_head(fused).flatten(1)  # (B, 4250)
        return choose(points.unflatten(-1, (N_WINDOWS, -1)), places)

    def features(self, batch: Batch, cls_only: bool = True) -> Tensor:
        """Fused tokens (B, S, W), or (B, 1, W) of the [CLS] where it alone is read."""
        return super().features(batch, cls_only and self.reading == "cls")

    def embedding(self, features: Tensor) -> Tensor:
        """What the heads read, (B, W) or (B, (1 + T) W)."""
        return read(features, self.reading)
