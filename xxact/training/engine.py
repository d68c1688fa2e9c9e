"""What turns a loss into a step: device, precision, optimiser, state.

`TorchEngine` is plain PyTorch in one process, `DeepSpeedEngine` ZeRO in one or several. The loop
knows no difference, and what they save does not say which of them, or how many processes, did.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xxact.errors import UserError
from xxact.models.layers import DecoderLayer, EncoderLayer
from xxact.training.distributed import World, pick_device
from xxact.training.memory import keep_freed_memory
from xxact.training.spec import EngineSpec, OptimizerSpec, RunSpec

#: What AdamW keeps of each parameter, beside the number of steps.
MOMENTS = ("exp_avg", "exp_avg_sq")
#: Elements of the buffers in which ZeRO exchanges gradients and weights: 200 MB.
BUCKET_SIZE = 50_000_000


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
        if self.precision == "float32":  # by default a GPU's convolutions round to TF32
            torch.backends.cudnn.allow_tf32 = False
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

        Each of `losses` computes the share of a micro-batch in the loss, which is the sum of all
        shares of all processes. Returns the sum of this process's shares, detached.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = sum(self._backward(compute) for compute in losses)
        self._update()
        return total

    @abstractmethod
    def _backward(self, compute: Callable[[], Tensor]) -> Tensor:
        """Add the gradients of a share of the loss; its value, detached."""

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


class DeepSpeedEngine(Engine):
    """ZeRO around the same AdamW; weights stay float32 under autocast, as in `TorchEngine`.

    Rajbhandari et al., https://arxiv.org/abs/1910.02054. Stage 1 shares out what AdamW keeps over
    the processes, stage 2 the gradients as well; stage 0 sums gradients and shares out nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerSpec,
        precision: str,
        device: torch.device,
        world: World,
        zero_stage: int,
    ) -> None:
        super().__init__(model, optimizer, precision, device, world)
        self._shared_out = zero_stage > 0
        self._deepspeed = _import_deepspeed(device)
        # A task that sees one GPU alone has to use number 0, whatever its rank.
        number = torch.cuda.current_device() if device.type == "cuda" else 0
        with _not_sent(self.model):
            self._engine, *_ = self._deepspeed.initialize(
                args=SimpleNamespace(device_rank=number),
                model=_Calls(self.model),
                optimizer=self.optimizer,
                config=_config(zero_stage, self.precision),
                dist_init_required=False,
            )

    def _backward(self, compute: Callable[[], Tensor]) -> Tensor:
        loss = self._engine(compute)
        self._engine.backward(loss)
        return loss.detach()

    def _update(self) -> None:
        self._engine.step()

    def _moment(self, parameter: nn.Parameter, key: str) -> Tensor:
        if not self._shared_out:
            return super()._moment(parameter, key)
        return self._deepspeed.utils.safe_get_full_optimizer_state(parameter, key)

    def _load_optimizer(self, steps: int, moments: dict[str, dict[str, Tensor]]) -> None:
        if not self._shared_out:
            return super()._load_optimizer(steps, moments)
        # AdamW now has one parameter: this process's stretch of all weights, laid end to end.
        utils = self._deepspeed.utils
        (stretch,) = self.optimizer.param_groups[0]["params"]
        self.optimizer.state[stretch] = self._fresh_state(stretch, steps)
        trained = self._trained()
        utils.lazy_init_hp_params_optimizer_state(
            [parameter for _, parameter in trained], stretch, self.optimizer.state
        )
        for name, parameter in trained:
            utils.safe_set_full_fp32_param(parameter, parameter.detach())
            for key in MOMENTS:
                utils.safe_set_full_optimizer_state(parameter, moments[key][name], key)


class _Calls(nn.Module):
    """A model as DeepSpeed wants it: `forward` calls what computes a loss with the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        return compute()


@contextlib.contextmanager
def _not_sent(model: nn.Module) -> Iterator[None]:
    """DeepSpeed sends the weights of the first process to the others, which have the same here,
    and fails on those that are not plain rows of numbers, as a temperature without dimensions or
    convolutions in channels-last order: mark them as not to be sent."""
    marked = [p for p in model.parameters() if p.ndim == 0 or not p.is_contiguous()]
    for parameter in marked:
        parameter.ds_optim_param = True
    yield
    for parameter in marked:
        del parameter.ds_optim_param


def _import_deepspeed(device: torch.device) -> ModuleType:
    """DeepSpeed, told the device, and with a process group, which it wants for one process too."""
    os.environ["DS_ACCELERATOR"] = device.type
    os.environ.setdefault("LOCAL_RANK", "0")
    import deepspeed

    # It calls functions that torch now names otherwise.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.", FutureWarning)
    # None of its own kernels is used here: do not look for a compiler, nor build one of them.
    deepspeed.ops.__compatible_ops__ = {}
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    return deepspeed


def _config(zero_stage: int, precision: str) -> dict[str, Any]:
    zero: dict[str, Any] = {
        "stage": zero_stage,
        "reduce_bucket_size": BUCKET_SIZE,
        "allgather_bucket_size": BUCKET_SIZE,
    }
    if zero_stage:
        zero["compute_grad_norm"] = False  # nothing is clipped
    return {
        # Sizes that DeepSpeed asks for; the micro-batches are ours to cut.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_allreduce_op": "sum",
        "gradient_clipping": 0.0,
        "zero_optimization": zero,
        # Gradients are exchanged in float32: the number of processes must not round them.
        "torch_autocast": {
            "enabled": precision == "bfloat16",
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        },
        "timers": {"throughput": {"enabled": False}},  # it waits for the GPU after each micro-batch
    }


def make_engine(model: nn.Module, spec: RunSpec, world: World) -> Engine:
    """The engine that `spec.engine` asks for. Raises `UserError` if it cannot be had."""
    kind = spec.engine.kind
    if kind == "auto":
        kind = "torch" if world.size == 1 else "deepspeed"
    prepare_blocks(model, spec.engine)
    common = model, spec.optimizer, spec.precision, pick_device()
    if kind == "deepspeed":
        return DeepSpeedEngine(*common, world, spec.engine.zero_stage)
    if world.size > 1:
        raise UserError(
            f"engine.kind 'torch' computes in one process, and there are {world.size}: set it to"
            " 'auto' or 'deepspeed'"
        )
    return TorchEngine(*common)


def prepare_blocks(model: nn.Module, spec: EngineSpec) -> None:
    """Compile the transformer blocks of a model, and checkpoint their activations, where asked."""
    if not (spec.compile or spec.activation_checkpointing):
        return
    if spec.compile:
        # Blocks share their code: each meets training and evaluation, masks, several lengths.
        torch._dynamo.config.recompile_limit = 64
    for block in model.modules():
        if isinstance(block, EncoderLayer | DecoderLayer):
            if spec.compile:
                block.forward = torch.compile(block.forward)
            if spec.activation_checkpointing:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
