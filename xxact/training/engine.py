"""What turns a loss into a step: device, precision, optimiser, state.

`TorchEngine` is plain PyTorch in one process; `deepspeed_engine.py` holds the other one. The loop
knows no difference, and what they save does not say which of them, or how many processes, did.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xxact.errors import UserError
from xxact.models.composition import CompositionEncoder
from xxact.models.layers import DecoderLayer, EncoderLayer
from xxact.training.distributed import World, pick_device
from xxact.training.memory import keep_freed_memory
from xxact.training.spec import EngineSpec, OptimizerSpec, RunSpec

#: What AdamW keeps of each parameter, beside the number of steps.
MOMENTS = ("exp_avg", "exp_avg_sq")


def resolve_precision(precision: str, device: torch.device) -> str:
    """`precision` with "auto" replaced: bfloat16 where `device` computes in it, else float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities = torch.cpu.get_capabilities()
    fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bfloat16" if fast else "float32"


class Engine(ABC):
    """A model, the AdamW that trains it, and where and how both compute."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerSpec,
        precision: str,
        device: torch.device,
        world: World,
    ) -> None:
        if device.type == "cpu":
            keep_freed_memory()
        self.model = model.to(device)
        self.device, self.world = device, world
        self.precision = resolve_precision(precision, device)
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=optimizer.peak_lr,
            betas=optimizer.betas,
            weight_decay=optimizer.weight_decay,
            fused=True,
        )

    def autocast(self) -> contextlib.AbstractContextManager:
        """Context in which the model computes, in training and evaluation alike."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def step(self, rate: float, losses: Iterable[Callable[[], Tensor]]) -> Tensor:
        """One optimiser step at learning rate `rate`.

        Each of `losses` computes a part of the loss, which is the sum of all parts of all
        processes. Returns the sum of this process's parts, detached.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = sum(self._backward(compute) for compute in losses)
        self._update()
        return total

    @abstractmethod
    def _backward(self, compute: Callable[[], Tensor]) -> Tensor:
        """Add the gradients of a part of the loss; its value, detached."""

    @abstractmethod
    def _update(self) -> None:
        """Change the weights by the gradients of all processes, and forget these."""

    def weights(self) -> dict[str, Tensor]:
        """A copy of the model's weights, on the CPU."""
        return {name: _copy(value) for name, value in self.model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs to go on; complete in the first process, which saves it.

        `optimizer` holds the number of steps and, by the name of each trained parameter, the
        moments in full. Not to be called before the first step.
        """
        moments: dict[str, Any] = {key: {} for key in MOMENTS}
        for name, parameter in self._trained():
            for key in MOMENTS:
                moment = self._moment(parameter, key)
                if self.world.is_first:
                    moments[key][name] = _copy(moment)
        steps = int(next(iter(self.optimizer.state.values()))["step"])
        weights = self.weights() if self.world.is_first else {}
        return {"model": weights, "optimizer": {"steps": steps, **moments}}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, in whichever engine and number of processes."""
        self.model.load_state_dict(state["model"])
        saved = state["optimizer"]
        self._load_optimizer(saved["steps"], {key: saved[key] for key in MOMENTS})

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        named = self.model.named_parameters()
        return [(name, parameter) for name, parameter in named if parameter.requires_grad]

    def _moment(self, parameter: nn.Parameter, key: str) -> Tensor:
        """The moment `key` of a parameter, in full."""
        return self.optimizer.state[parameter][key]

    def _load_optimizer(self, steps: int, moments: dict[str, dict[str, Tensor]]) -> None:
        """Take over moments by key and name."""
        for name, parameter in self._trained():
            self.optimizer.state[parameter] = self._fresh_state(parameter, steps)
            for key in MOMENTS:
                self.optimizer.state[parameter][key].copy_(moments[key][name])

    def _fresh_state(self, parameter: Tensor, steps: int) -> dict[str, Tensor]:
        """State of a parameter after `steps` steps, with moments of zero."""
        zeros = {key: torch.zeros_like(parameter, requires_grad=False) for key in MOMENTS}
        return {"step": torch.tensor(float(steps), device=self.device), **zeros}


class TorchEngine(Engine):
    """Plain PyTorch: AdamW in float32, autocast to bfloat16 where the precision says so."""

    def __init__(
        self, model: nn.Module, optimizer: OptimizerSpec, precision: str, device: torch.device
    ) -> None:
        super().__init__(model, optimizer, precision, device, World())

    def _backward(self, compute: Callable[[], Tensor]) -> Tensor:
        with self.autocast():
            loss = compute()
        loss.backward()
        return loss.detach()

    def _update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def make_engine(model: nn.Module, spec: RunSpec, world: World) -> Engine:
    """The engine that `spec.engine` asks for. Raises `UserError` if it cannot be had."""
    kind = spec.engine.kind
    if kind == "auto":
        kind = "torch" if world.size == 1 else "deepspeed"
    _prepare_blocks(model, spec.engine)
    common = model, spec.optimizer, spec.precision, pick_device()
    if kind == "deepspeed":
        from xxact.training.deepspeed_engine import DeepSpeedEngine

        return DeepSpeedEngine(*common, world, spec.engine.zero_stage)
    if world.size > 1:
        raise UserError(
            f"engine.kind 'torch' computes in one process, and there are {world.size}: set it to"
            " 'auto' or 'deepspeed'"
        )
    return TorchEngine(*common)


def _prepare_blocks(model: nn.Module, spec: EngineSpec) -> None:
    """Compile the transformer blocks of a model, and checkpoint their activations, where asked."""
    if not (spec.compile or spec.activation_checkpointing):
        return
    if spec.compile:
        # Blocks share their code: each meets training and evaluation, masks, several lengths.
        torch._dynamo.config.recompile_limit = 64
    for block in model.modules():
        if isinstance(block, CompositionEncoder):
            block.packs = not spec.compile
        if isinstance(block, EncoderLayer | DecoderLayer):
            if spec.compile:
                block.forward = torch.compile(block.forward)
            if spec.activation_checkpointing:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
