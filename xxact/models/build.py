"""From a specification to a network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from xxact.arguments import of_type
from xxact.data.targets import Target
from xxact.models.base import Model
from xxact.models.spec import KINDS, ModelSpec


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
    module, name = KINDS[spec.kind].network.split(":")
    return getattr(import_module(module), name).of(spec, targets, linear_heads)
