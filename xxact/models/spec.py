"""Sizes of every model, as frozen and validated dataclasses (no torch here).

The defaults are the published sizes; a scale replaces them by smaller ones.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from xxact.xrd.grid import N_POINTS

Size = Annotated[int, Field(gt=0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
_CONFIG = ConfigDict(extra="forbid")

#: Length that patterns of `PatternSpec` are padded to: 17 x 2^8 can be halved often.
N_PADDED = 4352
#: Length of a mat2vec element vector.
MAT2VEC_WIDTH = 200


class Kind(NamedTuple):
    """A kind of model: `module:class` of its network, imported when one is built, and its parts."""

    network: str
    parts: tuple[str, ...]


#: Every kind of model; one more is its module, a line here, and its sizes in the scales.
KINDS = {
    "xxact_nn": Kind("xxact.models.xxact_nn:XxactNN", ("composition", "xrd", "fusion")),
    "crabnet": Kind("xxact.models.composition:CrabNet", ("composition",)),
    "xrd_transformer": Kind("xxact.models.xrd:XRDTransformer", ("xrd",)),
    "fcn": Kind("xxact.models.pxrdpiayn:FCN", ("convolution",)),
    "fcn_mlp": Kind("xxact.models.pxrdpiayn:FCNMLP", ("convolution",)),
    "xxact_conv": Kind("xxact.models.xxact_conv:XxactConv", ("composition", "pattern", "fusion")),
    "xrd_conv": Kind("xxact.models.xxact_conv:XRDConv", ("pattern",)),
}


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"there is no kind of model '{kind}'; the kinds are: {', '.join(KINDS)}")
    return kind


@dataclass(frozen=True, config=_CONFIG, kw_only=True)
class EncoderSpec:
    """A stack of transformer layers.

    `norm_first` normalises before attention and feed-forward instead of after them and adds a
    LayerNorm after the last layer; the default is torch's (post-norm, none at the end).
    """

    width: Size
    layers: Size
    heads: Size
    feedforward: Size
    dropout: Probability = 0.1
    norm_first: bool = False

    @model_validator(mode="after")
    def _divisible(self) -> "EncoderSpec":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


@dataclass(frozen=True, config=_CONFIG, kw_only=True)
class CompositionSpec(EncoderSpec):
    """CrabNet's encoder: element vectors of `element_width`, fractions in `resolution` steps.

    `element_vectors` "mat2vec" are those of `xxact.models.mat2vec`, which no training changes.
    """

    width: Size = 512
    layers: Size = 3
    heads: Size = 4
    feedforward: Size = 2048
    element_width: Size = 200
    element_vectors: Literal["learned", "mat2vec"] = "learned"
    resolution: Size = 5000

    @model_validator(mode="after")
    def _widths(self) -> "CompositionSpec":
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: two fraction encodings share it")
        if self.element_vectors == "mat2vec" and self.element_width != MAT2VEC_WIDTH:
            raise ValueError(
                f"element_width {self.element_width}: mat2vec vectors have {MAT2VEC_WIDTH} values"
            )
        return self


@dataclass(frozen=True, config=_CONFIG, kw_only=True)
class XRDSpec(EncoderSpec):
    """Encoder of a pattern of 4250 values, cut into `tokens` windows of equal length."""

    width: Size = 512
    layers: Size = 3
    heads: Size = 4
    feedforward: Size = 1024
    tokens: Size = 17

    @model_validator(mode="after")
    def _whole_windows(self) -> "XRDSpec":
        if N_POINTS % self.tokens:
            raise ValueError(
                f"tokens {self.tokens} do not divide the {N_POINTS} values of a pattern"
            )
        return self


@dataclass(frozen=True, config=_CONFIG, kw_only=True)
class PatternSpec(EncoderSpec):
    """Encoder of a pattern by convolutions to the end, and a transformer behind them, if any.

    It reads `intensity` ("raw", or "sqrt": its square root) at equal steps of `axis`, which is
    2-theta or the logarithm of d. Convolution i has `channels[i]`: the first steps over `stride`
    values with a kernel twice as wide, each other has a kernel of 3 and halves the length. A
    perceptron with a layer of `feedforward` makes the [CLS] of a `summary` of the tokens that are
    left: all of them laid end to end, or their mean.
    """

    width: Size = 512
    layers: Annotated[int, Field(ge=0)] = 0
    heads: Size = 4
    feedforward: Size = 1024
    intensity: Literal["raw", "sqrt"] = "sqrt"
    axis: Literal["two_theta", "log_d"] = "two_theta"
    stride: Size = 8
    channels: tuple[Size, ...] = (64, 128, 256, 512, 512, 512)
    summary: Literal["flatten", "mean"] = "flatten"

    @property
    def points(self) -> int:
        """Points of a pattern that become one token."""
        return self.stride << max(0, len(self.channels) - 1)

    @property
    def tokens(self) -> int:
        """Tokens that the convolutions leave of a pattern."""
        return N_PADDED // self.points

    @model_validator(mode="after")
    def _whole_tokens(self) -> "PatternSpec":
        if not self.channels or self.stride % 2 or N_PADDED % self.points:
            raise ValueError(
                f"stride {self.stride} and {len(self.channels)} channels make tokens of"
                f" {self.points} points: they must divide {N_PADDED}, and the stride be even"
            )
        return self


@dataclass(frozen=True, config=_CONFIG, kw_only=True)
class FusionSpec(EncoderSpec):
    """Fusion of XRD tokens and composition tokens, `by` one of four ways (`xxact.models.fusion`).

    By `cross_attention`, as published, XRD tokens are the queries and composition tokens the keys
    and values; the other ways are for `xxact_conv` alone.
    """

    width: Size = 768
    layers: Size = 12
    heads: Size = 12
    feedforward: Size = 2048
    by: Literal["cross_attention", "swapped", "concatenate", "sum"] = "cross_attention"


@dataclass(frozen=True, config=_CONFIG, kw_only=True)
class ConvolutionSpec:
    """Convolutional trunk of PXRDPIAYN's networks: one block, which halves the length, a channel.

    `dropout` None means the published rate of each kind: 0.2 in `fcn` and 0.1 in `fcn_mlp`;
    `top_dropout` is the rate on both sides of the last convolution of `fcn`.
    """

    input_length: Size = N_POINTS
    channels: tuple[Size, ...] = (16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512)
    dropout: Probability | None = None
    top_dropout: Probability = 0.4

    @property
    def output_length(self) -> int:
        """Length that is left after the last pooling."""
        return self.input_length >> len(self.channels)

    @model_validator(mode="after")
    def _length(self) -> "ConvolutionSpec":
        if not 1 <= self.output_length <= 2:
            raise ValueError(
                f"{len(self.channels)} blocks leave {self.output_length} of {self.input_length} "
                "values, and 1 or 2 are needed: change the number of channels"
            )
        return self


@dataclass(frozen=True, config=_CONFIG, kw_only=True)
class ModelSpec:
    """A whole network: its kind and the sizes of the parts that this kind has (`KINDS`).

    A part that is left out takes its published size. `output_widths` are the hidden widths of
    CrabNet's output network; the other kinds have linear heads.
    """

    kind: Annotated[str, AfterValidator(_known)]
    composition: CompositionSpec | None = None
    xrd: XRDSpec | None = None
    pattern: PatternSpec | None = None
    fusion: FusionSpec | None = None
    convolution: ConvolutionSpec | None = None
    output_widths: tuple[Size, ...] = (1024, 512, 256, 128)

    @property
    def bimodal(self) -> bool:
        """Whether the network fuses both modalities by attention, as pretraining needs."""
        return self.fusion is not None

    @model_validator(mode="after")
    def _parts(self) -> "ModelSpec":
        published = {
            "composition": CompositionSpec,
            "xrd": XRDSpec,
            "pattern": PatternSpec,
            "fusion": FusionSpec,
            "convolution": ConvolutionSpec,
        }
        for part, default in published.items():
            given = getattr(self, part) is not None
            if given and part not in KINDS[self.kind].parts:
                raise ValueError(f"a model of kind {self.kind} has no part '{part}'")
            if not given and part in KINDS[self.kind].parts:
                object.__setattr__(self, part, default())
        if self.fusion is not None:
            self._check_bimodal("xrd" if self.kind == "xxact_nn" else "pattern")
        return self

    def _check_bimodal(self, part: str) -> None:
        """`ValueError` if composition, `part` (which reads the pattern) and fusion do not fit."""
        width = getattr(self, part).width
        if self.composition.width != width:
            raise ValueError(
                f"composition.width {self.composition.width} and {part}.width {width} "
                "must be equal: the contrastive objective compares their outputs"
            )
        if self.kind == "xxact_nn" and self.fusion.by != "cross_attention":
            raise ValueError(f"fusion.by '{self.fusion.by}' is for xxact_conv alone")
