"""Element vectors that mat2vec learned from the words of abstracts about materials.

Tshitoyan et al., Nature 571, 95 (2019), https://doi.org/10.1038/s41586-019-1335-8. Their numbers
for the 118 elements are in `mat2vec.npy`, as CrabNet's authors use them (see `mat2vec.md`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from xxact.errors import UserError

FILE = Path(__file__).with_suffix(".npy")
#: Of the file: a run that names these vectors is one with these numbers.
SHA256 = "1d4cc629fb805de12a68da8e14e68a875e31ec62e51b027c29042aefef4e9cf0"


class Mat2Vec(nn.Module):
    """Table `weight` (119, 200) of vectors by atomic number, 0 for padding; not to be trained."""

    def __init__(self) -> None:
        super().__init__()
        vectors = np.pad(read_vectors(), ((1, 0), (0, 0)))  # (119, 200)
        self.register_buffer("weight", torch.tensor(vectors))


def read_vectors() -> np.ndarray:
    """Vectors (118, 200) float32 of atomic numbers 1 to 118; `UserError` if the file is damaged."""
    content = FILE.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise UserError(f"{FILE} is damaged: install the package again")
    return np.load(FILE, allow_pickle=False)
