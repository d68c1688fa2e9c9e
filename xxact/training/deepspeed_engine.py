"""DeepSpeed ZeRO: the optimiser's state and the gradients are shared out over the processes.

Rajbhandari et al., https://arxiv.org/abs/1910.02054. Stage 1 shares out what AdamW keeps, stage 2
the gradients as well; stage 0 sums gradients and shares out nothing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from xxact.training.distributed import World
from xxact.training.engine import MOMENTS, Engine
from xxact.training.spec import OptimizerSpec

#: Elements of the buffers that gradients and weights are exchanged in: 200 MB.
_BUCKET_SIZE = 50_000_000


class DeepSpeedEngine(Engine):
    """ZeRO around the same AdamW; weights stay float32 under autocast, as in `TorchEngine`."""

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


@contextmanager
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
        "reduce_bucket_size": _BUCKET_SIZE,
        "allgather_bucket_size": _BUCKET_SIZE,
    }
    if zero_stage:
        zero["compute_grad_norm"] = False  # nothing is clipped
    return {
        # Sizes that DeepSpeed asks for; the parts of a batch are ours to cut.
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
        "timers": {"throughput": {"enabled": False}},  # it waits for the GPU after each part
    }
