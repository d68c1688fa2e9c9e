"""Networks that read patterns by convolutions, and patterns of which parts were not measured.

Not of the paper: XxaCT-NN's windows of 250 raw intensities give way to convolutions on square
roots, in which weak reflections count too. What was not measured is NaN in the pattern; masked
modelling hides windows in just this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xxact.data.targets import Target
from xxact.models.base import Model, linear_heads
from xxact.models.composition import Tokens
from xxact.models.layers import CLS, Encoder, choose
from xxact.models.pooling import halve
from xxact.models.spec import N_PADDED, CompositionSpec, FusionSpec, PatternSpec
from xxact.models.xxact_nn import XxactNN
from xxact.xrd.grid import N_POINTS, TWO_THETA_MIN_DEG, TWO_THETA_STEP_DEG, two_theta_grid

if TYPE_CHECKING:
    from xxact.data.batches import Batch

#: Windows that masked modelling hides: 50 values, 1 degree, four times as wide as a line.
N_WINDOWS = 85


class Block(nn.Module):
    """Convolution (kernel 3), maximum of each two neighbours, LayerNorm over channels, ReLU."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(n_inputs, n_outputs, (1, 3), padding=(0, 1))
        self.convolution.to(memory_format=torch.channels_last)
        self.norm = nn.LayerNorm(n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Channels (B, n_outputs, 1, L // 2) of channels (B, n_inputs, 1, L)."""
        x = halve(self.convolution(x)).permute(0, 2, 3, 1)  # (B, 1, L // 2, n_outputs)
        return F.relu(self.norm(x)).permute(0, 3, 1, 2)


class PatternEncoder(nn.Module):
    """Tokens of a pattern by convolutions and pooling, behind a [CLS] that sums them up.

    Where a line is tells as much as what lines there are, so the [CLS] reads every token in its
    place. Convolutions work on images of height 1 in channels-last order, fastest on a CPU.
    """

    def __init__(self, spec: PatternSpec) -> None:
        super().__init__()
        self.intensity, self.summary = spec.intensity, spec.summary
        first, step = spec.channels[0], spec.stride
        self.first = nn.Conv2d(2, first, (1, 2 * step), (1, step), (0, step // 2))
        self.first.to(memory_format=torch.channels_last)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in pairwise(spec.channels))
        self.projection = nn.Linear(spec.channels[-1], spec.width)
        n_read = spec.width * (spec.tokens if spec.summary == "flatten" else 1)
        self.cls = nn.Sequential(
            nn.Linear(n_read, spec.feedforward), nn.ReLU(), nn.Linear(spec.feedforward, spec.width)
        )
        self.positions = nn.Parameter(torch.empty(spec.tokens, spec.width))
        nn.init.normal_(self.positions, std=0.02)
        self.encoder = Encoder(spec) if spec.layers else None
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
        x = self._channels(pattern)  # (B, 2, 1, 4352)
        x = F.relu(self.first(x))  # (B, C, 1, 4352 / stride)
        for block in self.blocks:
            x = block(x)  # (B, C, 1, L)
        x = self.projection(x[:, :, 0].transpose(1, 2)) + self.positions  # (B, T, W)
        read = x.flatten(1) if self.summary == "flatten" else x.mean(1)
        x = torch.cat((self.cls(read)[:, None], x), dim=1)  # (B, 1 + T, W)
        chosen = CLS if cls_only else None
        return choose(x, chosen) if self.encoder is None else self.encoder(x, chosen=chosen)

    def _channels(self, pattern: Tensor) -> Tensor:
        """Intensity in [0, 10], 0 where it is not known, and 1 where that is so: (B, 2, 1, 4352).

        Either scale has the same range, so that the first weights suit both. What lies beyond the
        last angle is not known.
        """
        pattern = F.pad(pattern, (0, N_PADDED - N_POINTS), value=torch.nan)
        unknown = pattern.isnan()
        known = torch.where(unknown, torch.zeros_like(pattern), pattern)
        intensity = known.sqrt() if self.intensity == "sqrt" else known / 10
        both = torch.stack((intensity, unknown.to(intensity.dtype)), dim=-1)  # (B, 4352, 2)
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


class XRDConv(Model):
    """The pattern encoder with linear heads."""

    uses: ClassVar[frozenset[str]] = frozenset({"xrd"})
    reads_unmeasured: ClassVar[bool] = True

    def __init__(self, spec: PatternSpec, targets: Sequence[Target]) -> None:
        super().__init__(targets)
        self.xrd = PatternEncoder(spec)
        self.heads = linear_heads(spec.width, targets)

    def features(self, batch: Batch, cls_only: bool = True) -> Tensor:
        """Tokens (B, 1 + T, W), or (B, 1, W) of the [CLS] alone."""
        return self.xrd(self.xrd.on_axis(batch.pattern), cls_only=cls_only)

    def embedding(self, features: Tensor) -> Tensor:
        """The [CLS] (B, W)."""
        return features[:, 0]


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
        self.n_windows = N_WINDOWS
        self.mask_token = None  # what is hidden is NaN
        self.mxm_head = nn.Linear(fusion.width, pattern.points)

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
        points = self.mxm_head(fused).flatten(1)[:, :N_POINTS]  # (B, 4250)
        return choose(points.unflatten(-1, (N_WINDOWS, -1)), places)
