"""What a network gets wrong of a crystal, foretold from its neighbours in the training split.

A finished run is left as it is; its residuals on the training split are kriged: taken for a
Gaussian process over its embeddings z and the atomic fractions c,

    k = exp(-|z - z'|^2 / (a W) - sum |c - c'| / b) + noise

with each of the W dimensions of z in standard deviations of the training split. The mean of the
residual, given those of the training (C. E. Rasmussen and C. K. I. Williams, Gaussian Processes
for Machine Learning (2006), eq. 2.25), is added to what the network says; of the training the
nearest neighbours alone are looked at, as is usual in kriging.
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

#: The best of experiments/scales/trials/kriging.csv on the validation split: a, b, the noise in
#: parts of the process's own variance; and how many neighbours.
EMBEDDING_SCALE, FRACTION_SCALE, NOISE, NEIGHBOURS = 0.4, 0.4, 0.3, 64
#: Neighbours are looked for among so many samples, the nearest by embedding.
CANDIDATES = 512
_BLOCK = 256


class Reader:
    """What kriging reads of samples: the network's value, its embedding, the atomic fractions."""

    def __init__(self, weights: Path, store: Store, target: Target) -> None:
        """weights: of a finished run on clean patterns that knows the target, which is a number;
        raises `UserError` for another."""
        if target.is_class:
            raise UserError(f"{target.name} is a class, and kriging takes residuals of numbers")
        self.trained, self.name = Trained(weights.parent, store), target.name
        if target not in self.trained.targets:
            raise UserError(f"{weights.parent} foretells no {target.name}, which is to be kriged")
        if self.trained.degraded:
            raise UserError(f"{weights.parent} reads degraded patterns, and kriging clean ones")

    def __call__(self, rows: np.ndarray, pattern_of: np.ndarray | None = None) -> np.ndarray:
        """(n, 1 + W + 100) of `rows` (n,), with the patterns of other samples if given."""
        network, fractions = self.trained.engine.model, []

        def gather(part: slice) -> Batch:
            others = None if pattern_of is None else pattern_of[part]
            batch = self.trained.data.gather(rows[part], pattern_of=others)
            fractions.append(dense_fractions(batch.elements, batch.fractions).cpu().numpy())
            return batch

        outputs, embeddings = forward(
            self.trained.engine,
            lambda part: network.features(gather(part)),
            len(rows),
            [self.name],
            np.ones(len(rows), bool),
        )
        value = in_physical_units(outputs, self.trained.standard)[self.name]
        return np.hstack([value[:, None], embeddings, np.concatenate(fractions)])


class Kriging:
    """An estimator as scikit-learn's: `fit` to what `Reader` reads (n, F) and values (n,)."""

    def fit(self, inputs: np.ndarray, values: np.ndarray) -> Kriging:
        """Keep the training samples, with what the network gets wrong of each."""
        said, embeddings, _ = _parts(inputs)
        deviation = np.maximum(embeddings.std(0), 1e-12)  # (W,)
        self._lengths = deviation * np.sqrt(EMBEDDING_SCALE * embeddings.shape[1])
        self._embeddings, self._fractions = self._places(inputs)
        self._residuals = torch.from_numpy(values - said[:, 0]).float()
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Values (n,) of samples: the network's, and the mean of its residual."""
        found = _parts(inputs)[0][:, 0].astype(np.float64)
        for start in range(0, len(inputs), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] += self._residual(*self._places(inputs[part]))
        return found

    def _places(self, inputs: np.ndarray) -> tuple[Tensor, Tensor]:
        """Embeddings (n, W) and fractions (n, 100), in units of their lengths in the kernel."""
        _, embeddings, fractions = _parts(inputs)
        places = embeddings / self._lengths, fractions / FRACTION_SCALE
        return tuple(torch.from_numpy(place).float() for place in places)

    def _residual(self, embeddings: Tensor, fractions: Tensor) -> np.ndarray:
        """Mean of the residual (B,) of samples at some places."""
        n = len(self._embeddings)
        far = torch.cdist(embeddings, self._embeddings)  # (B, N)
        candidates = far.topk(min(CANDIDATES, n), largest=False)[1]  # (B, C)
        others = self._embeddings[candidates], self._fractions[candidates]
        exponent = _exponent(embeddings[:, None], fractions[:, None], *others)[:, 0]  # (B, C)
        nearest, places = exponent.topk(min(NEIGHBOURS, n), largest=False)  # (B, M)
        rows = candidates.gather(1, places)
        known = self._embeddings[rows], self._fractions[rows]
        covariance = torch.exp(-_exponent(*known, *known))  # (B, M, M)
        covariance.diagonal(dim1=1, dim2=2).add_(NOISE)
        weights = torch.linalg.solve(covariance, torch.exp(-nearest))  # (B, M)
        return (weights * self._residuals[rows]).sum(1).numpy()


def _parts(inputs: np.ndarray) -> list[np.ndarray]:
    """What the network says (n, 1), its embedding (n, W), and the fractions (n, 100)."""
    return np.split(inputs, [1, inputs.shape[1] - N_FRACTIONS], axis=1)


def _exponent(embeddings: Tensor, fractions: Tensor, others: Tensor, of_others: Tensor) -> Tensor:
    """-ln k between the samples (..., n) and others (..., m), without the noise."""
    return torch.cdist(embeddings, others).square() + torch.cdist(fractions, of_others, p=1)
