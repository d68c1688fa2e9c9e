"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from xxact.training.spec import OptimizerSpec


def learning_rate(step: int, total_steps: int, spec: OptimizerSpec) -> float:
    """Rate of step `step` (0 to `total_steps` - 1): linear warm-up, then cosine (section 3.4).

    Warm-up starts at `start_lr` and reaches `peak_lr` after `warmup_fraction` of the steps; the
    last step has `final_lr`.
    """
    warmup = round(spec.warmup_fraction * total_steps)
    if step < warmup:
        return spec.start_lr + (spec.peak_lr - spec.start_lr) * step / warmup
    progress = (step - warmup) / max(1, total_steps - 1 - warmup)
    return spec.final_lr + (spec.peak_lr - spec.final_lr) * (1 + math.cos(math.pi * progress)) / 2
