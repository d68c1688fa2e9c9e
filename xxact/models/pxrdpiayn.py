"""The convolutional baselines FCN and FCN+MLP of Lee et al., "Powder XRD Pattern Is All You Need".

Lee et al., Adv. Intell. Syst. 4, 2200042 (2022), https://doi.org/10.1002/aisy.202200042; sizes,
dropout and the slope 0.3 of LeakyReLU (the default of Keras) are those of the authors' notebooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xxact.data.targets import Target
from xxact.models.base import Model, linear_heads
from xxact.models.dropout import dropout
from xxact.models.pooling import halve
from xxact.models.spec import ConvolutionSpec

if TYPE_CHECKING:
    from xxact.data.batches import Batch

SLOPE = 0.3
#: Elements that the composition branch tells apart: hydrogen to fermium.
N_FRACTIONS = 100
#: Hidden widths of the composition branch of FCN+MLP.
COMPOSITION_WIDTHS = (128, 256, 256, 128, 128, 64)


class Trunk(nn.Module):
    """Blocks of convolution (kernel 3), LeakyReLU and pooling by 2, with dropout in between.

    It works on images of height 1 in channels-last order, in which one-dimensional convolutions
    of few channels run several times as fast on a CPU; the function is that of `Conv1d`.
    """

    def __init__(self, spec: ConvolutionSpec, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout if spec.dropout is None else spec.dropout
        sizes = zip((1, *spec.channels), spec.channels, strict=False)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, (1, 3), padding=(0, 1)) for a, b in sizes
        ).to(memory_format=torch.channels_last)

    def forward(self, pattern: Tensor) -> Tensor:
        """Channels (B, C, 1, L >> 12) of patterns (B, L)."""
        x = pattern[:, None, None, :].to(memory_format=torch.channels_last)  # (B, 1, 1, L)
        for i, convolution in enumerate(self.convolutions):
            if i:
                x = dropout(x, self.dropout, self.training)
            # Pooling first is the same function, since LeakyReLU rises, on half the values.
            x = F.leaky_relu(halve(convolution(x)), SLOPE)
        return x


class FCN(Model):
    """The fully convolutional network on a pattern alone."""

    uses: ClassVar[frozenset[str]] = frozenset({"xrd"})

    def __init__(self, spec: ConvolutionSpec, targets: Sequence[Target]) -> None:
        super().__init__(targets)
        self.trunk = Trunk(spec, dropout=0.2)
        self.dropout = nn.Dropout(spec.top_dropout)
        self.convolution = nn.Conv2d(spec.channels[-1], 64, (1, 3), padding=(0, 1))
        self.heads = linear_heads(64, targets)

    def features(self, batch: Batch, cls_only: bool = True) -> Tensor:
        """The 64 channels (B, 64) that the last layer reads."""
        x = self.dropout(self.trunk(batch.pattern))
        x = F.max_pool2d(self.convolution(x), (1, 2), ceil_mode=True)  # (B, 64, 1, 1)
        return self.dropout(x.flatten(1))

    def embedding(self, features: Tensor) -> Tensor:
        """The features themselves, (B, 64)."""
        return features


class MLP(nn.Sequential):
    """Linear layers with LeakyReLU and dropout after each."""

    def __init__(self, widths: Sequence[int], dropout: float) -> None:
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.LeakyReLU(SLOPE), nn.Dropout(dropout)]
        super().__init__(*layers)


class FCNMLP(Model):
    """The convolutional trunk beside a perceptron on the composition, concatenated."""

    uses: ClassVar[frozenset[str]] = frozenset({"composition", "xrd"})

    def __init__(self, spec: ConvolutionSpec, targets: Sequence[Target]) -> None:
        super().__init__(targets)
        self.trunk = Trunk(spec, dropout=0.1)
        dropout = self.trunk.dropout
        self.composition = MLP((N_FRACTIONS, *COMPOSITION_WIDTHS), dropout)
        self.composition.append(nn.Linear(COMPOSITION_WIDTHS[-1], 16))
        n_trunk = spec.channels[-1] * spec.output_length
        self.joined = MLP((n_trunk + 16, 128, 16), dropout)
        self.heads = linear_heads(16, targets)

    def features(self, batch: Batch, cls_only: bool = True) -> Tensor:
        """The 16 values (B, 16) that the last layer reads."""
        pattern = self.trunk(batch.pattern).flatten(1)  # (B, 512)
        fractions = dense_fractions(batch.elements, batch.fractions)  # (B, 100)
        return self.joined(torch.cat((pattern, self.composition(fractions)), dim=1))

    def embedding(self, features: Tensor) -> Tensor:
        """The features themselves, (B, 16)."""
        return features


def dense_fractions(elements: Tensor, fractions: Tensor) -> Tensor:
    """Fraction of each element (B, 100), at index Z - 1, from (B, E) lists of them.

    Elements beyond fermium are left out, as in the original.
    """
    dense = fractions.new_zeros(len(elements), N_FRACTIONS + 1)
    index = torch.where(elements > N_FRACTIONS, 0, elements)
    return dense.scatter_add_(1, index, fractions)[:, 1:]
