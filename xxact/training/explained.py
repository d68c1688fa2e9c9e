"""What masked modelling has learned beyond the mean pattern of the training split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from xxact.data.batches import DeviceStore
from xxact.objectives import Reconstruction
from xxact.training.distributed import World

#: Patterns that the mean is taken of at a time.
BLOCK = 512
#: Intensities as they are, and on a scale on which weak reflections count too.
SCALES = {"mxm_explained_variance": Tensor.float, "mxm_explained_variance_sqrt": Tensor.sqrt}


def mean_windows(
    data: DeviceStore, rows: np.ndarray, windows_of: Callable[[Tensor], Tensor]
) -> Tensor:
    """Mean (2, 17, 250) float64 of the patterns of `rows` on each of `SCALES`, value by value.

    `windows_of` cuts patterns (B, 4250) into windows (B, 17, 250), as a model sees them.
    """
    total = torch.zeros((), dtype=torch.float64, device=data.device)
    for start in range(0, len(rows), BLOCK):
        windows = windows_of(data.gather(rows[start : start + BLOCK]).pattern)  # in [0, 100]
        sums = [scale(windows).sum(dim=0, dtype=torch.float64) for scale in SCALES.values()]
        total = total + torch.stack(sums)  # (2, 17, 250)
    return total / len(rows)


class ExplainedVariance:
    """1 - SSE(model) / SSE(mean pattern) over the masked windows, or the others (`masked=False`).

    `means` (2, 17, 250) are the training split's `mean_windows`. A model that predicts them has 0,
    a perfect one 1. Beside it stands the share of the values of masked windows at which a model
    predicts no intensity in any sample: a head that ends in a ReLU is dead there.
    """

    def __init__(self, means: Tensor, masked: bool = True) -> None:
        self.means, self.masked = means.float(), masked  # (2, 17, 250)
        self.errors = means.new_zeros(2, 2)  # scale; of whom
        self.samples = means.new_zeros(means.shape[1], 1)  # of each window
        self.lit = torch.zeros_like(means[0])  # (17, 250), samples with a predicted intensity

    def add(self, rebuilt: Reconstruction) -> None:
        """Count the windows of a micro-batch; predictions are intensities."""
        counts = (rebuilt.mask if self.masked else ~rebuilt.mask).double()  # (B, K)
        prediction, windows = rebuilt.prediction.float(), rebuilt.windows.float()
        for errors, means, scale in zip(self.errors, self.means, SCALES.values(), strict=True):
            true = scale(windows)  # (B, K, 250)
            for k, guess in enumerate((scale(prediction), means[rebuilt.places])):
                squared = (guess - true).square().sum(dim=2, dtype=torch.float64)  # (B, K)
                errors[k] += (squared * counts).sum()
        places, counts = rebuilt.places.flatten(), counts.reshape(-1, 1)  # (B K,), (B K, 1)
        self.samples.index_add_(0, places, counts)
        self.lit.index_add_(0, places, (prediction > 0).flatten(0, 1) * counts)

    def scores(self, world: World) -> dict[str, float | None]:
        """Of all windows that the processes have seen; None where they do not vary."""
        errors = world.sum(self.errors.clone()).tolist()
        of = "" if self.masked else "_shown"
        scores: dict[str, float | None] = {
            name + of: 1 - of_model / of_mean if of_mean else None
            for name, (of_model, of_mean) in zip(SCALES, errors, strict=True)
        }
        if self.masked:
            seen = world.sum(self.samples.clone())[:, 0] > 0  # (17,)
            dark = world.sum(self.lit.clone())[seen] == 0  # (<= 17, 250)
            scores["mxm_dead_share"] = float(dark.double().mean()) if len(dark) else None
        return scores
