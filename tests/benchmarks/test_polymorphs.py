"""Pairs of polymorphs against variances and cosines by hand."""

import numpy as np
import polymorphs
import pytest

from xxact.data.batches import DeviceStore


def test_pairs_make_up_the_variance_within_formulas(tiny_store):
    keys, energy = tiny_store.formula_keys(), tiny_store.values(polymorphs.TARGET).astype(float)
    shared = [np.flatnonzero(keys == key) for key in np.unique(keys)]
    expected = [energy[rows].var() * len(rows) for rows in shared if len(rows) > 1]
    crystals = DeviceStore(tiny_store)
    found = [polymorphs.pairs(crystals, groups) for groups in polymorphs.polymorphs(tiny_store)]
    cosine, difference, weight = map(np.concatenate, zip(*found, strict=True))
    assert expected
    assert np.sum(weight * difference**2) == pytest.approx(np.sum(expected))
    rows = next(rows for rows in shared if len(rows) > 1)[:2]
    one, other = np.sqrt(crystals.gather(rows).pattern.numpy())
    naive = one @ other / np.sqrt((one @ one) * (other @ other))
    assert np.abs(cosine - naive).min() < 1e-5


def test_rows_share_out_all_pairs(tiny_store):
    rows = polymorphs.by_likeness(tiny_store)
    sizes = np.unique(tiny_store.formula_keys(), return_counts=True)[1]
    assert sum(row["pairs"] for row in rows) == (sizes * (sizes - 1) // 2).sum()
    assert {row["data"] for row in rows} == {tiny_store.name}
