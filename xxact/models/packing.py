"""Tokens of sequences of different lengths without the padding between them.

Compositions have 1 to 20 elements and mostly 2 to 4: padded to the longest of a batch, two rows in
five are empty. Where shapes may change from batch to batch, which is on a CPU, everything that
works token by token is spared them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

#: Numbers of packed tokens are multiples of this, or B S: oneDNN compiles each product for its
#: sizes, which takes longer than the product, and keeps a thousand.
_MULTIPLE = 16


class Packing(NamedTuple):
    """Where the tokens of a padded batch (B, S) lie in its packed form of T rows.

    Turn t holds token t of every sample that has one. Samples are in one order, longest first, so
    that those of a turn are the first ones of the turn before. A few rows of padding come last, so
    that there are few values of T.
    """

    places: Tensor  # (T,) int64, of the packed tokens among the B S padded ones
    starts: np.ndarray  # (N + 1,) uint64, where each turn begins, and the last one ends
    shape: torch.Size  # (B, S)

    def pack(self, x: Tensor) -> Tensor:
        """The tokens (T, ...) of padded ones (B, S, ...)."""
        return x.flatten(0, 1).index_select(0, self.places)

    def unpack(self, x: Tensor) -> Tensor:
        """Tokens (T, W) in their places (B, S, W); padding holds zeros or what `x` has for it."""
        padded = x.new_zeros(self.shape.numel(), x.shape[-1])  # (B S, W)
        return padded.index_copy(0, self.places, x).view(*self.shape, -1)

    def first(self, x: Tensor) -> Tensor:
        """The first token (B, W) of each sample, in the samples' own order, of tokens (T, W)."""
        return x.index_select(0, self.places[: self.shape[0]].argsort())

    def starts_of(self, n: int) -> np.ndarray:
        """`starts` for the first `n` rows alone. Raises `ValueError` where they break up a turn."""
        starts = self.starts[: np.searchsorted(self.starts, n) + 1]
        if starts[-1] > n:
            raise ValueError(f"{n} rows are not whole turns, which end at {self.starts[1:]}")
        return starts


def pack(padding: Tensor) -> Packing:
    """The packing of a batch on the CPU whose `padding` (B, S) is True where there is no token."""
    held = ~padding.numpy()  # (B, S)
    lengths = held.sum(axis=1)
    longest_first = np.argsort(-lengths, kind="stable")
    columns = np.argsort(~held, axis=1, kind="stable")[longest_first]  # (B, S), tokens come first
    places = (longest_first[:, None] * held.shape[1] + columns).T  # (S, B)
    counts = (lengths > np.arange(len(places))[:, None]).sum(axis=1)  # (S,), falling
    taken = np.arange(len(held)) < counts[:, None]  # (S, B)
    n_spare = -counts.sum() % _MULTIPLE
    places = np.concatenate((places[taken], places[~taken][:n_spare]))  # (T,)
    starts = np.concatenate(([0], counts[counts > 0].cumsum()))
    return Packing(torch.from_numpy(places), starts.astype(np.uint64), padding.shape)
