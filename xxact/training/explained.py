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
    """1 - SSE(model) / SSE(mean pattern) over the masked windows that it is shown.

    `means` (2, 17, 250) are the training split's `mean_windows`. A model that predicts them has 0,
    a perfect one 1.
    """

    def __init__(self, means: Tensor) -> None:
        self.means = means.float()  # (2, 17, 250)
        self.errors = torch.zeros(2, 2, dtype=torch.float64, device=means.device)  # scale; of whom

    def add(self, shown: Reconstruction) -> None:
        """Count the masked windows of a micro-batch; predictions are intensities."""
        prediction, windows = shown.prediction.float(), shown.windows.float()
        for errors, means, scale in zip(self.errors, self.means, SCALES.values(), strict=True):
            true = scale(windows)  # (B, K, 250)
            for k, guess in enumerate((scale(prediction), means[shown.places])):
                squared = (guess - true).square().sum(dim=2, dtype=torch.float64)  # (B, K)
                errors[k] += (squared * shown.mask).sum()

    def scores(self, world: World) -> dict[str, float | None]:
        """Of all windows that the processes have seen; None where they do not vary."""
        errors = world.sum(self.errors.clone()).tolist()
        return {
            name: 1 - of_model / of_mean if of_mean else None
            for name, (of_model, of_mean) in zip(SCALES, errors, strict=True)
        }
