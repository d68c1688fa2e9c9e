"""64-bit keys of rows of columns, equal where the rows are: of compositions, of reflections."""

from __future__ import annotations

import numpy as np


def composition_words(z: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """(n,) uint64 words of atomic numbers (n,) and atomic fractions (n,), to 1e-5."""
    rounded = np.rint(np.asarray(fraction, np.float64) * 1e5).astype(np.uint64)
    return (rounded << np.uint64(8)) | np.asarray(z, np.uint64)


def row_keys(words: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(N,) uint64: the sum of the scrambled uint64 `words` of each row, in whatever order.

    offsets: (N+1,), where the rows begin and end; none is empty. Distinct rows have the same key
    with p = 2^-64.
    """
    if not len(words):
        return np.zeros(len(offsets) - 1, np.uint64)
    return np.add.reduceat(scramble(words), np.asarray(offsets)[:-1])


def scramble(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: uint64 in, well-mixed uint64 out (Steele et al. 2014)."""
    x = words + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
