"""What the training loop needs of every network."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from xxact.data.targets import Target
from xxact.models.spec import KINDS, ModelSpec

if TYPE_CHECKING:
    from xxact.data.batches import Batch

#: Objectives that a network can be trained for.
OBJECTIVES = ("supervised", "contrastive", "mxm", "contrastive+mxm")


class Estimate(NamedTuple):
    """Standardised values, and the logarithm of the standard deviation expected of their errors."""

    value: Tensor  # (B,)
    log_deviation: Tensor  # (B,)


class Model(nn.Module, ABC):
    """A trunk that turns a batch into features, and one head for each target.

    `uses` names the modalities that the trunk reads; the others may be absent from a batch.
    `reads_unmeasured` tells whether patterns may be NaN, where nothing was measured.
    """

    uses: ClassVar[frozenset[str]]
    reads_unmeasured: ClassVar[bool] = False

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__()
        self.targets = {target.name: target for target in targets}
        self.heads = nn.ModuleDict()
        self._trunk_frozen = False

    @classmethod
    def of(cls, spec: ModelSpec, targets: Sequence[Target], linear_heads: bool) -> Model:
        """The network that a specification describes, from the parts that its kind has."""
        return cls(*(getattr(spec, part) for part in KINDS[spec.kind].parts), targets)

    @abstractmethod
    def features(self, batch: Batch, cls_only: bool = True) -> Any:
        """Output of the trunk, as the heads need it.

        `cls_only` spares the last layer the tokens that no head reads, where there are such.
        """

    @abstractmethod
    def embedding(self, features: Any) -> Tensor:
        """The representation (B, W) of each sample that a linear head would read."""

    def predict(self, features: Any, target: str) -> Tensor:
        """Standardised values (B,) of a regression target, or logits (B, C) of its classes."""
        output = in_float32(self.heads[target], self.embedding(features))  # (B, n_outputs)
        return output if self.targets[target].is_class else output.squeeze(-1)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Prediction of every target, by name."""
        features = self.features(batch)
        return {name: self.predict(features, name) for name in self.heads}

    def trained_by(self, objective: str) -> Iterable[nn.Parameter]:
        """Parameters that a gradient of `objective` reaches."""
        if objective != "supervised":
            raise ValueError(f"{type(self).__name__} has no objective '{objective}'")
        return self.parameters()

    def freeze_for(self, objective: str, transfer: bool = False) -> list[nn.Parameter]:
        """Let exactly the parameters that `objective` trains require a gradient; return them.

        With `transfer` only the heads are trained, and the frozen trunk stays in evaluation mode
        (no dropout) whatever `train()` is told, so that its features are fixed.
        """
        used = self.heads.parameters() if transfer else self.trained_by(objective)
        trained = {id(parameter) for parameter in used}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        self._trunk_frozen = transfer
        self.train(self.training)
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def train(self, mode: bool = True) -> Model:
        """As `nn.Module.train`, except that a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self._trunk_frozen:
            for name, module in self.named_children():
                module.train(mode and name == "heads")
        return self


def outside_autocast(x: Tensor) -> contextlib.AbstractContextManager:
    """Context in which what is computed of `x` keeps its precision. There is no autocast on the
    meta device, where networks are counted."""
    return contextlib.nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)` outside autocast: a prediction in bfloat16 would be rounded to 0.4 %."""
    with outside_autocast(x):
        return layer(x.float())


def linear_heads(width: int, targets: Sequence[Target]) -> nn.ModuleDict:
    """One linear head for each target, by name."""
    return nn.ModuleDict({target.name: nn.Linear(width, target.n_outputs) for target in targets})
