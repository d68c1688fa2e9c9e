"""Choosing splits and subsets by hashing identifiers: independent of order and of other rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from xxact.data.store import SPLITS


def split_of(key: bytes) -> int:
    """Code of the split of a sample by its id, or the bytes of its formula: `sha1(key) % 20`.

    0 is audit, 1 and 2 are test, 3 is validation, the rest train.
    """
    slot = int(hashlib.sha1(key).hexdigest(), 16) % 20
    name = "audit" if slot == 0 else "test" if slot <= 2 else "validation" if slot == 3 else "train"
    return SPLITS[name]


def choose(ids: Iterable[bytes], fraction: float, seed: int) -> np.ndarray:
    """Boolean mask that keeps each sample with probability `fraction` in [0, 1].

    Whether a sample is kept depends on its own id, the fraction and the seed alone, and a smaller
    fraction is contained in a larger one.
    """
    prefix = f"{seed}:".encode()
    digests = b"".join(hashlib.sha1(prefix + bytes(i)).digest()[:8] for i in ids)
    uniform = np.frombuffer(digests, ">u8").astype(np.float64) / 2.0**64
    return uniform < fraction
