"""What of the test split is in the training split already."""

from __future__ import annotations

import numpy as np

from xxact.data.keys import row_keys, scramble
from xxact.data.store import Store

#: Samples whose reflections are in memory together.
_BLOCK = 100_000


def leak(store: Store) -> list[str]:
    """How many test samples have a formula, a structure of it, or a twin among those for training.

    A line, or none if there are no samples to test or to train on. A formula and a space group in
    common may be two structures; the same reflections, to the last bit, are one crystal under two
    ids.
    """
    train, test = store.indices("train"), store.indices("test")
    if not len(train) or not len(test):
        return []
    formula = store.formula_keys()
    known = np.isin(formula[test], formula[train])
    line = f"of {len(test):,} test samples, {known.sum():,} have a formula that train has"
    if store.has_xrd and known.any():
        group = formula + scramble(store.column("space_group").astype(np.uint64))
        twin = group + _reflection_keys(store)
        line += f", {np.isin(group[test], group[train]).sum():,} formula and space group"
        line += (
            f", {np.isin(twin[test], twin[train]).sum():,} the same reflections under another id"
        )
    return [line]


def _reflection_keys(store: Store) -> np.ndarray:
    """(N,) uint64 keys, equal for samples with the same reflections."""
    keys = []
    for start in range(0, store.n, _BLOCK):
        offsets = np.asarray(store.reflection_offsets[start : start + _BLOCK + 1])
        inside = slice(offsets[0], offsets[-1])
        angle, intensity = (
            np.ascontiguousarray(column[inside], np.float32).view(np.uint32).astype(np.uint64)
            for column in (store.two_theta, store.intensity)
        )
        keys.append(row_keys((angle << np.uint64(32)) | intensity, offsets - offsets[0]))
    return np.concatenate(keys)
