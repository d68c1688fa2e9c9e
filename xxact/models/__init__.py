"""Networks: composition encoder, XRD encoder, their fusion, and the unimodal models.

`build_model` is imported on first use, so that reading a specification does not load torch.
"""

from typing import TYPE_CHECKING, Any

from xxact.models.spec import (
    CompositionSpec,
    ConvolutionSpec,
    EncoderSpec,
    FusionSpec,
    ModelSpec,
    PatternSpec,
    XRDSpec,
)

if TYPE_CHECKING:
    from xxact.models.build import build_model

__all__ = [
    "CompositionSpec",
    "ConvolutionSpec",
    "EncoderSpec",
    "FusionSpec",
    "ModelSpec",
    "PatternSpec",
    "XRDSpec",
    "build_model",
]


def __getattr__(name: str) -> Any:
    if name == "build_model":
        from xxact.models.build import build_model

        return build_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
