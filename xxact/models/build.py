"""From a specification to a network."""

from __future__ import annotations

from collections.abc import Sequence

from xxact.arguments import of_type
from xxact.data.targets import Target
from xxact.models.base import Model
from xxact.models.composition import CrabNet
from xxact.models.pxrdpiayn import FCN, FCNMLP
from xxact.models.spec import ModelSpec
from xxact.models.xrd import XRDTransformer
from xxact.models.xxact_nn import XxactNN


def build_model(
    spec: ModelSpec, targets: Sequence[Target] = (), *, linear_heads: bool = False
) -> Model:
    """A network with random weights (torch's global generator) and a head for each target.

    `linear_heads` gives CrabNet linear heads on its embedding in place of its output net, as
    transfer to a new target needs; the heads of the other kinds are linear anyway. Raises
    `UserError` for arguments of other types.
    """
    of_type("spec", spec, ModelSpec, "a ModelSpec")
    of_type("targets", targets, Sequence, "a list of Target")
    for target in targets:
        of_type("each of targets", target, Target, "a Target")
    if spec.kind == "xxact_nn":
        return XxactNN(spec.composition, spec.xrd, spec.fusion, targets)
    if spec.kind == "crabnet":
        return CrabNet(spec.composition, spec.output_widths, targets, linear=linear_heads)
    if spec.kind == "xrd_transformer":
        return XRDTransformer(spec.xrd, targets)
    network = FCN if spec.kind == "fcn" else FCNMLP
    return network(spec.convolution, targets)
