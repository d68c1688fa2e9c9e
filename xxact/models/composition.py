"""CrabNet: the composition encoder, and the whole network with its output net.

Wang et al., npj Comput. Mater. 7, 77 (2021), https://doi.org/10.1038/s41524-021-00545-1. Its
authors take mat2vec's element vectors; here the vectors are a table that is learned, unless the
specification says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xxact.data.targets import Target
from xxact.models.base import Estimate, Model, in_float32, linear_heads
from xxact.models.layers import CLS, Encoder, additive_mask
from xxact.models.mat2vec import Mat2Vec
from xxact.models.spec import CompositionSpec, ModelSpec

if TYPE_CHECKING:
    from xxact.data.batches import Batch

#: Rows of the element table: atomic numbers 1 to 118, and 0 for padding.
N_ELEMENTS = 119


class Tokens(NamedTuple):
    """Outputs of the composition encoder."""

    values: Tensor  # (B, S, W), with S = E, or 1 + E with a leading [CLS]
    padding: Tensor  # (B, S) bool, True where there is no element
    mask: Tensor  # (B, 1, 1, S), 0 or minus infinity, to add to attention scores

    @property
    def cls(self) -> Tensor:
        """The leading [CLS] (B, W)."""
        return self.values[:, 0]


class CompositionEncoder(nn.Module):
    """Tokens of the elements of a composition, with a learned [CLS] in front if asked for."""

    def __init__(self, spec: CompositionSpec, cls: bool) -> None:
        super().__init__()
        self.spec = spec
        if spec.element_vectors == "mat2vec":
            self.table = Mat2Vec()
        else:
            self.table = nn.Embedding(N_ELEMENTS, spec.element_width, padding_idx=0)
        self.projection = nn.Linear(spec.element_width, spec.width)
        self.element_scale = nn.Parameter(torch.ones(1))
        self.fraction_scale = nn.Parameter(torch.ones(2))  # linear, logarithmic
        self.cls = nn.Parameter(torch.empty(1, 1, spec.width)) if cls else None
        if cls:
            nn.init.normal_(self.cls, std=0.02)
        self.encoder = Encoder(spec)
        encoding = fraction_encoding(spec.resolution, spec.width // 2)
        self.register_buffer("encoding", encoding, persistent=False)

    def embed(self, elements: Tensor, fractions: Tensor) -> Tensor:
        """Input tokens (B, E, W) of atomic numbers (B, E) and fractions (B, E)."""
        table = self.projection(self.table.weight) * 2**self.element_scale  # (119, W)
        index = fraction_index(fractions, self.spec.resolution)  # (B, E, 2)
        encoding = F.embedding(index, self.encoding)  # (B, E, 2, W / 2)
        encoding = encoding * 2 ** ((1 - self.fraction_scale) ** 2)[:, None]
        return F.embedding(elements, table, padding_idx=0) + encoding.flatten(2)

    def forward(self, elements: Tensor, fractions: Tensor, cls_only: bool = False) -> Tokens:
        """Encode atomic numbers (B, E), 0 where there is none, and their fractions (B, E)."""
        x = self.embed(elements, fractions)  # (B, E, W)
        padding = elements == 0  # (B, E)
        if self.cls is not None:
            x = torch.cat((self.cls.expand(len(x), -1, -1).to(x.dtype), x), dim=1)  # (B, 1 + E, W)
            padding = F.pad(padding, (1, 0), value=False)  # (B, 1 + E)
        mask = additive_mask(padding)
        return Tokens(self.encoder(x, mask, CLS if cls_only else None), padding, mask)


def fraction_encoding(resolution: int, width: int) -> Tensor:
    """Sines and cosines (resolution, width) of position / 50^(2 column / width)."""
    position = torch.arange(resolution)[:, None]
    column = torch.arange(width)
    angle = position / 50 ** (2 * column / width)  # (resolution, width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())


def fraction_index(fractions: Tensor, resolution: int) -> Tensor:
    """Rows (B, E, 2) of the encoding for fractions (B, E): linear, and of 0.0025 log2(f)^2."""
    logarithmic = 0.0025 * torch.log2(fractions) ** 2
    both = torch.stack((fractions, logarithmic), dim=-1)  # (B, E, 2)
    return (both.clamp(1 / resolution, 1) * resolution).round().long() - 1


class ResidualNetwork(nn.Module):
    """CrabNet's output net: LeakyReLU layers, each with a linear map (no bias) around it.

    Where two widths are equal the map around the layer is the identity.
    """

    def __init__(self, n_inputs: int, widths: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        sizes = list(zip([n_inputs, *widths], widths, strict=False))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in sizes)
        self.around = nn.ModuleList(
            nn.Linear(a, b, bias=False) if a != b else nn.Identity() for a, b in sizes
        )
        self.output = nn.Linear(sizes[-1][1] if sizes else n_inputs, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., n_outputs) of inputs (..., n_inputs)."""
        for layer, around in zip(self.layers, self.around, strict=True):
            x = F.leaky_relu(layer(x)) + around(x)
        return in_float32(self.output, x)


class CrabNet(Model):
    """CrabNet alone: no [CLS]; the output net's predictions are averaged over the elements.

    With `linear` heads (transfer) they read the mean of the element tokens instead.
    """

    uses: ClassVar[frozenset[str]] = frozenset({"composition"})

    def __init__(
        self,
        spec: CompositionSpec,
        output_widths: Sequence[int],
        targets: Sequence[Target],
        linear: bool = False,
    ) -> None:
        super().__init__(targets)
        self.linear = linear
        self.composition = CompositionEncoder(spec, cls=False)
        if linear:
            self.heads = linear_heads(spec.width, targets)
        for target in () if linear else targets:
            n_outputs = target.n_outputs if target.is_class else 3
            self.heads[target.name] = ResidualNetwork(spec.width, output_widths, n_outputs)

    @classmethod
    def of(cls, spec: ModelSpec, targets: Sequence[Target], linear_heads: bool) -> CrabNet:
        """With linear heads in place of the output net, as transfer needs, if they are wanted."""
        return cls(spec.composition, spec.output_widths, targets, linear=linear_heads)

    def features(self, batch: Batch, cls_only: bool = True) -> Tokens | Tensor:
        """Element tokens; every one is read by the heads. Linear ones read their mean (B, W)."""
        tokens = self.composition(batch.elements, batch.fractions)
        return mean_of_elements(tokens.values.float(), tokens.padding) if self.linear else tokens

    def embedding(self, features: Tokens | Tensor) -> Tensor:
        """Mean (B, W) of the element tokens, before the output net."""
        if self.linear:
            return features
        return mean_of_elements(features.values.float(), features.padding)

    def predict(self, features: Tokens | Tensor, target: str) -> Tensor:
        """Standardised values (B,) or logits (B, C), averaged over the elements."""
        if self.linear:
            return super().predict(features, target)
        if self.targets[target].is_class:
            return self._output(features, target)
        return self.estimate(features, target).value

    def estimate(self, features: Tokens, target: str) -> Estimate:
        """Standardised values of a regression target, and how sure the output net is of them.

        Its third output is the logit of a gate on the value.
        """
        value, log_deviation, gate = self._output(features, target).unbind(dim=1)  # (B,) each
        return Estimate(value * torch.sigmoid(gate), log_deviation)

    def _output(self, features: Tokens, target: str) -> Tensor:
        """Of the output net, (B, n_outputs)."""
        return mean_of_elements(self.heads[target](features.values), features.padding)


def mean_of_elements(values: Tensor, padding: Tensor) -> Tensor:
    """Mean (B, W) of `values` (B, E, W) over the elements that are not padding (B, E)."""
    weight = (~padding).to(values.dtype)
    weight = weight / weight.sum(dim=1, keepdim=True)  # (B, E)
    return (values * weight[..., None]).sum(dim=1)
