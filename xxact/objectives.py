"""Training objectives, as pure functions of tensors; every loss is computed in float32.

Batches are B samples; a pattern is 17 windows of 250 values in [0, 100], or as many as the model
says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xxact.models.base import Estimate, outside_autocast
from xxact.models.layers import choose

if TYPE_CHECKING:
    from xxact.data.batches import Batch
    from xxact.models.composition import Tokens
    from xxact.models.xxact_nn import XxactNN


def contrastive_loss(composition: Tensor, xrd: Tensor, temperature: Tensor | float) -> Tensor:
    """Symmetric cross-entropy of matching B compositions to B patterns, as in CLIP.

    Logits are the cosine similarities of the rows of `composition` (B, W) and `xrd` (B, W) over
    `temperature`; each row's own partner is the right class among the whole batch.
    Radford et al., https://arxiv.org/abs/2103.00020.
    """
    with outside_autocast(composition):
        c = F.normalize(composition.float(), dim=-1)
        x = F.normalize(xrd.float(), dim=-1)
        logits = c @ x.T / temperature  # (B, B)
        own = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def contrastive_share(
    composition: Tensor, xrd: Tensor, temperature: Tensor | float, rows: slice
) -> Tensor:
    """What the samples `rows` of a batch contribute to its `contrastive_loss`.

    Only their logits (b, B) are computed; the shares of all samples add up to the loss.
    """
    with outside_autocast(composition):
        c = F.normalize(composition.float(), dim=-1)
        x = F.normalize(xrd.float(), dim=-1)
        own = torch.arange(len(c), device=c.device)[rows]  # (b,)
        total = F.cross_entropy(c[rows] @ x.T / temperature, own, reduction="sum")
        total = total + F.cross_entropy(x[rows] @ c.T / temperature, own, reduction="sum")
        return total / (2 * len(c))


def contrastive_gradients(
    composition: Tensor, xrd: Tensor, temperature: Tensor, shares: Sequence[slice]
) -> tuple[list[Tensor], tuple[Tensor, Tensor, Tensor]]:
    """The `contrastive_share` of each of `shares`, and the gradients of their sum.

    These are with respect to `composition` (B, W), `xrd` (B, W) and `temperature`, whose own
    graphs stay untouched.
    """
    tensors = [t.detach().float().requires_grad_() for t in (composition, xrd, temperature)]
    values = []
    with torch.enable_grad():
        for rows in shares:
            value = contrastive_share(*tensors, rows)
            value.backward()
            values.append(value.detach())
    return values, tuple(
        torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in tensors
    )


def with_gradients(value: Tensor, gradients: Sequence[Tensor], *tensors: Tensor) -> Tensor:
    """A number equal to `value` whose gradients with respect to `tensors` are `gradients`."""
    with outside_autocast(value):
        pairs = zip(tensors, gradients, strict=True)
        linear = sum((tensor.float() * gradient).sum() for tensor, gradient in pairs)
        return value + (linear - linear.detach())


def draw_mask(
    generator: torch.Generator, batch: int, tokens: int = 17, fraction: float = 0.05
) -> Tensor:
    """Which tokens to mask, (B, tokens) bool on the generator's device: at least one a sample.

    Each is drawn independently with probability `fraction`; where none was, one is picked at
    random (that of the smallest uniform number, which is none but a random one).
    """
    uniform = torch.rand(batch, tokens, generator=generator, device=generator.device)
    mask = uniform < fraction
    return mask.scatter_(1, uniform.argmin(dim=1, keepdim=True), True)


def mxm_loss(prediction: Tensor, windows: Tensor, mask: Tensor) -> Tensor:
    """Masked XRD modelling: squared error of the windows to rebuild, on the scale [0, 100].

    Mean over the 250 values of a window of `prediction` and `windows` (B, K, 250), then over the
    windows where `mask` (B, K) is True, then over the samples; K is 17 or a choice of them.
    """
    error = (prediction.float() - windows.float()).square().mean(dim=-1)  # (B, 17)
    weight = mask.float()
    return ((error * weight).sum(dim=1) / weight.sum(dim=1)).mean()


def robust_l1(estimate: Estimate, value: Tensor) -> Tensor:
    """Negative log-likelihood (B,) of `value` (B,), each drawn from a Laplace distribution.

    It has the mean and the standard deviation that `estimate` says; the constant log(2) / 2 is left
    out. CrabNet's authors train with it (Wang et al. 2021, as Roost's do).
    """
    error = (estimate.value.float() - value.float()).abs()
    log_deviation = estimate.log_deviation.float()
    return math.sqrt(2) * error * torch.exp(-log_deviation) + log_deviation


def slot_losses(output: Tensor | Estimate, value: Tensor, regression_weight: float = 1.0) -> Tensor:
    """Loss (B,) of each slot: cross-entropy of logits (B, C), or `regression_weight` times the
    squared error of values (B,), or `robust_l1` of an estimate."""
    if isinstance(output, Estimate):
        return regression_weight * robust_l1(output, value)
    if output.ndim == 2:
        return F.cross_entropy(output.float(), value, reduction="none")
    return regression_weight * (output.float() - value.float()).square()


def multi_target_loss(
    outputs: Mapping[str, Tensor | Estimate],
    values: Mapping[str, Tensor],
    trained_on: Tensor,
    regression_weight: float = 1.0,
) -> Tensor:
    """Mean over the slots of a batch of the losses of each slot's own targets, each as
    `slot_losses` gives it.

    `trained_on` (B, T) bool: the targets of a slot, in the order of `outputs`. What `values` holds
    for others (NaN and -1 included) plays no part.
    """
    total = torch.zeros(len(trained_on), device=trained_on.device)
    for (name, output), own in zip(outputs.items(), trained_on.unbind(dim=1), strict=True):
        value = torch.where(own, values[name], torch.zeros_like(values[name]))
        total = total + torch.where(own, slot_losses(output, value, regression_weight), 0.0)
    return total.mean()


def paired_embeddings(model: XxactNN, batch: Batch, kind: str) -> tuple[Tensor, Tensor]:
    """What the contrastive term compares: [CLS] (B, W) of compositions, and of patterns.

    Computed as in `pretraining_loss`: with the same dropout when the generator starts the same.
    """
    composition = model.encode_composition(batch, cls_only="mxm" not in kind)
    return composition.cls, model.encode_xrd(batch.pattern, cls_only=True)[:, 0]


class Reconstruction(NamedTuple):
    """Windows of patterns, as a model has rebuilt them."""

    prediction: Tensor  # (B, K, 250), on the scale of an `Output`
    windows: Tensor  # (B, K, 250), what they should be
    places: Tensor  # (B, K) int64, which of the 17 windows
    mask: Tensor  # (B, K) bool, which of them were masked


class Output(NamedTuple):
    """What masked modelling predicts: intensities, or their square roots, by a head that ends in a
    ReLU or in nothing. As published: intensities, and at least 0."""

    scale: str = "raw"
    activation: str = "relu"

    def activate(self, prediction: Tensor) -> Tensor:
        """What the head gives."""
        return torch.relu(prediction) if self.activation == "relu" else prediction

    def on_scale(self, intensity: Tensor) -> Tensor:
        """Intensities on the predicted scale."""
        return intensity.sqrt() if self.scale == "sqrt" else intensity

    def intensity(self, prediction: Tensor) -> Tensor:
        """Intensities, at least 0, of what was predicted."""
        prediction = prediction.clamp(min=0)
        return prediction.square() if self.scale == "sqrt" else prediction


#: What the paper's masked modelling predicts.
PUBLISHED = Output()


def pretraining_loss(
    model: XxactNN,
    batch: Batch,
    kind: str,
    mask: Tensor | None = None,
    contrast: Callable[[Tensor, Tensor, Tensor], Tensor] = contrastive_loss,
    share: float = 1.0,
    look: Callable[[Reconstruction], None] | None = None,
    output: Output = PUBLISHED,
    clean: Tensor | None = None,
) -> dict[str, Tensor]:
    """Terms of a pretraining objective and, under `loss`, their unweighted sum.

    `kind` is `contrastive`, `mxm` or `contrastive+mxm`; the latter two need the `mask` (B, 17) of
    `draw_mask`, and predict what `output` says. The contrastive term always sees the pattern
    without mask. Where the batch is the `share` of a larger one, the terms are this share of its
    terms; `contrast` must then be a contrastive loss that knows the larger batch. `look` is shown
    the rebuilt windows, with predictions turned into intensities.

    Where the batch's patterns are degraded, `clean` (B, 4250) are what is to be rebuilt of them:
    all windows, since what is shown of a degraded pattern is not what is wanted either.
    """
    masked = "mxm" in kind
    terms = {}
    composition = model.encode_composition(batch, cls_only=not masked)
    if "contrastive" in kind:
        xrd = model.encode_xrd(batch.pattern, cls_only=True)  # (B, 1, W)
        terms["contrastive"] = contrast(composition.cls, xrd[:, 0], model.temperature)
    if masked:
        rebuilt = reconstruct(model, batch, composition, mask, output, clean)
        true = output.on_scale(rebuilt.windows.float())
        wanted = rebuilt.mask if clean is None else torch.ones_like(rebuilt.mask)
        terms["mxm"] = share * mxm_loss(rebuilt.prediction, true, wanted)
        if look is not None:
            look(rebuilt._replace(prediction=output.intensity(rebuilt.prediction.float())))
    return {"loss": sum(terms.values()), **terms}


def reconstruct(
    model: XxactNN,
    batch: Batch,
    composition: Tokens,
    mask: Tensor,
    output: Output = PUBLISHED,
    clean: Tensor | None = None,
) -> Reconstruction:
    """The windows that `mask` (B, 17) hides, or all of them as they are in `clean` (B, 4250).

    Predictions are on the scale of `output`. A mask on the CPU spares the last layer the others.
    """
    sparing = clean is None and mask.device.type == "cpu"
    n_chosen = int(mask.sum(dim=1).max()) if sparing else mask.shape[1]
    # Masked windows come first; a sample that has fewer is filled up with others of weight 0.
    places = mask.int().argsort(dim=1, descending=True, stable=True)[:, :n_chosen]  # (B, K)
    prediction = model.reconstruct(batch.pattern, composition, mask, places)  # (B, K, 250)
    wanted = batch.pattern if clean is None else clean  # (B, 4250)
    windows = choose(model.windows(wanted), places)  # (B, K, 250)
    return Reconstruction(output.activate(prediction), windows, places, mask.gather(1, places))
