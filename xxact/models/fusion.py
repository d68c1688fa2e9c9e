"""The fusion module: XRD tokens attend to each other and to the composition's tokens."""

from __future__ import annotations

from xxact.models.layers import Decoder
from xxact.models.spec import FusionSpec


class Fusion(Decoder):
    """Transformer decoder; queries are XRD tokens, keys and values composition tokens.

    The composition's [CLS] is among the keys and values, and no mask hides later XRD tokens.
    """

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__(spec)
