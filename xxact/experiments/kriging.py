"""What a network gets wrong of a crystal, foretold from its neighbours in the training split.

A finished run is left as it is; its residuals on the training split are kriged: taken for a
Gaussian process over its embeddings z, the coarse pattern p and the atomic fractions c,

    k = exp(-|z - z'|^2 / (a W) - |p - p'|^2 / g - sum |c - c'| / b) + noise

with each of the W dimensions of z in standard deviations of the training split, and p the square
root of the pattern under a wide Gaussian, of length 1. The mean of the residual, given those of the
training (C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006),
eq. 2.25), is added to what the network says; of the training the nearest neighbours alone are
looked at, as is usual in kriging.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xxact.data.batches import Batch
from xxact.data.store import Store
from xxact.data.targets import Target
from xxact.errors import UserError
from xxact.models.pxrdpiayn import N_FRACTIONS, dense_fractions
from xxact.training.evaluation import forward, in_physical_units
from xxact.training.trained import Trained
from xxact.xrd.grid import two_theta_grid

#: The best of experiments/scales/trials/kriging.csv on the validation split: a, g, b, the noise in
#: parts of the process's own variance, the Gaussian's standard deviation in degrees.
EMBEDDING_SCALE, PATTERN_SCALE, FRACTION_SCALE = 0.4, 0.18, 1.0
NOISE, COARSE_SIGMA_DEG = 0.03, 3.2
#: Neighbours that are looked at, of so many candidates, the nearest by embedding and pattern.
NEIGHBOURS, CANDIDATES = 64, 512
#: Values of a coarse pattern, 1.3 degrees apart: closer than its Gaussian is wide.
N_COARSE = 64
_BLOCK = 256


class Reader:
    """What kriging reads of samples: the network's value, its embedding, coarse pattern, atomic
    fractions."""

    def __init__(self, weights: Path, store: Store, target: Target) -> None:
        """weights: of a finished run that reads clean patterns and knows the target, which is a
        number; raises `UserError` for another."""
        if target.is_class:
            raise UserError(f"{target.name} is a class, and kriging takes residuals of numbers")
        self.trained, self.name = Trained(weights.parent, store), target.name
        if target not in self.trained.targets:
            raise UserError(f"{weights.parent} foretells no {target.name}, which is to be kriged")
        if self.trained.degraded or "xrd" not in self.trained.engine.model.uses:
            read = "degraded patterns" if self.trained.degraded else "no patterns"
            raise UserError(f"{weights.parent} reads {read}, and kriging clean ones")

    def __call__(self, rows: np.ndarray, pattern_of: np.ndarray | None = None) -> np.ndarray:
        """(n, 1 + W + 64 + 100) of `rows` (n,), with the patterns of other samples if given."""
        network, others = self.trained.engine.model, []

        def gather(part: slice) -> Batch:
            patterns = None if pattern_of is None else pattern_of[part]
            batch = self.trained.data.gather(rows[part], pattern_of=patterns)
            fractions = dense_fractions(batch.elements, batch.fractions)
            others.append(torch.hstack([coarse(batch.pattern), fractions]).cpu().numpy())
            return batch

        outputs, embeddings = forward(
            self.trained.engine,
            lambda part: network.features(gather(part)),
            len(rows),
            [self.name],
            np.ones(len(rows), bool),
        )
        value = in_physical_units(outputs, self.trained.standard)[self.name]
        return np.hstack([value[:, None], embeddings, np.concatenate(others)])


def coarse(pattern: Tensor) -> Tensor:
    """Square roots of patterns (B, 4250) under a wide Gaussian, (B, 64) of length 1."""
    angles = torch.from_numpy(two_theta_grid()).to(pattern)
    centres = torch.linspace(angles[0], angles[-1], N_COARSE).to(pattern)
    gaussians = torch.exp(
        -0.5 * ((angles[:, None] - centres) / COARSE_SIGMA_DEG) ** 2
    )  # (4250, 64)
    return torch.nn.functional.normalize(pattern.sqrt() @ gaussians)


class Kriging:
    """An estimator as scikit-learn's: `fit` to what `Reader` reads (n, F) and values (n,)."""

    def fit(self, inputs: np.ndarray, values: np.ndarray) -> Kriging:
        """Keep the training samples, with what the network gets wrong of each."""
        said, embeddings, patterns, _ = _parts(inputs)
        deviation = np.maximum(embeddings.std(0), 1e-12)  # (W,)
        self._lengths = np.append(
            deviation * np.sqrt(EMBEDDING_SCALE * embeddings.shape[1]),
            np.full(patterns.shape[1], np.sqrt(PATTERN_SCALE)),
        )
        self._places, self._fractions = self._scaled(inputs)
        self._residuals = torch.from_numpy(values - said[:, 0]).float()
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Values (n,) of samples: the network's, and the mean of its residual."""
        found = _parts(inputs)[0][:, 0].astype(np.float64)
        for start in range(0, len(inputs), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] += self._residual(*self._scaled(inputs[part]))
        return found

    def _scaled(self, inputs: np.ndarray) -> tuple[Tensor, Tensor]:
        """Embeddings and patterns (n, W + 64), and fractions (n, 100), in units of their lengths in
        the kernel."""
        _, embeddings, patterns, fractions = _parts(inputs)
        scaled = np.hstack([embeddings, patterns]) / self._lengths, fractions / FRACTION_SCALE
        return tuple(torch.from_numpy(part).float() for part in scaled)

    def _residual(self, places: Tensor, fractions: Tensor) -> np.ndarray:
        """Mean of the residual (B,) of samples at some places."""
        n = len(self._places)
        far = torch.cdist(places, self._places)  # (B, N)
        candidates = far.topk(min(CANDIDATES, n), largest=False)[1]  # (B, C)
        others = self._places[candidates], self._fractions[candidates]
        exponent = _exponent(places[:, None], fractions[:, None], *others)[:, 0]  # (B, C)
        nearest, order = exponent.topk(min(NEIGHBOURS, n), largest=False)  # (B, M)
        rows = candidates.gather(1, order)
        known = self._places[rows], self._fractions[rows]
        covariance = torch.exp(-_exponent(*known, *known))  # (B, M, M)
        covariance.diagonal(dim1=1, dim2=2).add_(NOISE)
        weights = torch.linalg.solve(covariance, torch.exp(-nearest))  # (B, M)
        return (weights * self._residuals[rows]).sum(1).numpy()


def _parts(inputs: np.ndarray) -> list[np.ndarray]:
    """What the network says (n, 1), its embedding (n, W), the pattern (n, 64), fractions
    (n, 100)."""
    end = inputs.shape[1] - N_FRACTIONS
    return np.split(inputs, [1, end - N_COARSE, end], axis=1)


def _exponent(places: Tensor, fractions: Tensor, others: Tensor, of_others: Tensor) -> Tensor:
    """-ln k between the samples (..., n) and others (..., m), without the noise."""
    return torch.cdist(places, others).square() + torch.cdist(fractions, of_others, p=1)
