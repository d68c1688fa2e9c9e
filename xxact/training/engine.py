"""What turns a loss into a step: device, precision, optimiser, state.

`TorchEngine` is plain PyTorch in one process. A second engine has the same four methods; the loop
knows no other difference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xxact.training.spec import OptimizerSpec


def pick_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(precision: str, device: torch.device) -> str:
    """`precision` with "auto" replaced: bfloat16 where `device` computes in it, else float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    capabilities = torch.cpu.get_capabilities()
    fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bfloat16" if fast else "float32"


class TorchEngine:
    """Plain PyTorch: AdamW in float32, autocast to bfloat16 where the precision says so."""

    def __init__(
        self, model: nn.Module, optimizer: OptimizerSpec, precision: str, device: torch.device
    ) -> None:
        self.model = model.to(device)
        self.device = device
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

    def step(self, rate: float, compute_loss: Callable[[], Tensor]) -> Tensor:
        """One optimiser step at learning rate `rate`; the detached loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.autocast():
            loss = compute_loss()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs to go on."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
