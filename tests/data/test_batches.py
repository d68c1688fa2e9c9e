"""Gathered batches against the store's own columns and against pymatgen's patterns."""

import csv
import lzma
import warnings

import numpy as np
import pytest
import torch

from xxact.data import DeviceStore
from xxact.data.batches import COMPOSITION_SIZES, _Ragged
from xxact.data.prepare import prepare
from xxact.errors import UserError
from xxact.xrd.instrument import draw


@pytest.fixture
def store(crystals_csv, tmp_path):
    return prepare("csv", [crystals_csv], tmp_path / "store").store


def test_ragged_columns_equal_a_loop():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, 50)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.normal(size=offsets[-1]).astype("f4")
    ragged = _Ragged(offsets, (values,), torch.device("cpu"))
    rows = rng.integers(0, 50, 30)
    flat, place = ragged.flat(rows)
    expected = [values[offsets[r] : offsets[r + 1]] for r in rows]
    np.testing.assert_array_equal(flat, np.concatenate(expected))
    np.testing.assert_array_equal(place, np.repeat(np.arange(30), lengths[rows]))
    (padded,) = ragged.padded(rows, (4, 6, 8, 12))
    assert padded.shape == (30, 8)
    for got, want in zip(padded.numpy(), expected, strict=True):
        np.testing.assert_array_equal(got, np.pad(want, (0, 8 - len(want))))


def test_compositions_are_padded_to_few_sizes(store):
    batch = DeviceStore(store).gather(np.array([3, 0, 3]))
    assert batch.elements.shape == (3, COMPOSITION_SIZES[0])
    assert batch.elements.dtype == torch.int64
    assert batch.elements[1].tolist() == [17, 55, 0, 0]
    assert batch.fractions[1].tolist() == [0.5, 0.5, 0, 0]
    assert batch.pattern.shape == (3, 4250)
    assert len(batch) == 3
    torch.testing.assert_close(batch.pattern[0], batch.pattern[2], rtol=0, atol=0)


def test_patterns_do_not_depend_on_the_rest_of_the_batch(store):
    device_store = DeviceStore(store, cache_bytes=0)
    together = device_store.gather(torch.arange(20)).pattern
    for k in (0, 7, 19):
        alone = device_store.gather(torch.tensor([k])).pattern[0]
        torch.testing.assert_close(together[k], alone, rtol=0, atol=1e-3)


def test_kept_patterns_equal_fresh_ones(store, monkeypatch):
    monkeypatch.setattr("xxact.data.batches._CACHE_BLOCK", 7)
    indices = np.array([8, 59, 0, 8])
    kept, fresh = DeviceStore(store), DeviceStore(store, cache_bytes=0)
    torch.testing.assert_close(
        kept.gather(indices).pattern, fresh.gather(indices).pattern, rtol=0, atol=1e-3
    )
    assert kept._cache.shape == (60, 4250)
    assert fresh._cache is None
    assert torch.equal(
        kept.gather(indices, sigma=0.3).pattern, fresh.gather(indices, sigma=0.3).pattern
    )


def test_changing_a_batch_leaves_the_store_alone(store):
    device_store = DeviceStore(store)
    device_store.gather(np.array([1])).pattern.zero_()
    assert device_store.gather(np.array([1])).pattern.max() == 100


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_gathering_is_deterministic_bit_for_bit(store, cache_bytes):
    indices = torch.randint(0, store.n, (64,), generator=torch.Generator().manual_seed(0))
    a, b = (DeviceStore(store, cache_bytes=cache_bytes).gather(indices) for _ in range(2))
    assert torch.equal(a.pattern, b.pattern)
    assert torch.equal(a.fractions, b.fractions)


def test_without_patterns(store):
    assert DeviceStore(store, xrd=False).gather(np.arange(3)).pattern is None
    assert DeviceStore(store).gather(np.arange(3), pattern=False).pattern is None
    with pytest.raises(UserError, match="must be a list of integers"):
        DeviceStore(store).gather(np.arange(3) > 0)


def gaussian_sum(structure) -> np.ndarray:
    """pymatgen's sticks in [5, 90] degrees, broadened one by one, scaled to 100 afterwards."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    sticks = XRDCalculator("CuKa").get_pattern(structure, two_theta_range=(5, 90))
    grid = 5 + 0.02 * np.arange(4250)
    pattern = sum(
        y * np.exp(-((grid - x) ** 2) / (2 * 0.1**2))
        for x, y in zip(sticks.x, sticks.y, strict=True)
    )
    return 100 * pattern / pattern.max()


def test_patterns_equal_pymatgen_on_real_crystals(test_data, tmp_path):
    from pymatgen.core import Structure

    with lzma.open(test_data / "mp_structures.csv.xz", "rt", newline="") as stream:
        lines = csv.DictReader(stream)
        rows = [r for k, r in enumerate(lines) if k % 500 == 3 and int(r["nsites"]) <= 60]
    assert len(rows) >= 50
    with open(tmp_path / "mp.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    store = prepare("csv", [tmp_path / "mp.csv"], tmp_path / "store").store
    patterns = DeviceStore(store).gather(np.arange(store.n)).pattern.numpy()
    warnings.simplefilter("ignore")
    for row, pattern in zip(rows, patterns, strict=True):
        reference = gaussian_sum(Structure.from_str(row["cif"], fmt="cif"))
        assert np.abs(pattern - reference).max() < 0.1, row["material_id"]


def test_degraded_patterns_follow_from_their_draws_however_a_batch_is_cut(store):
    device_store, rows = DeviceStore(store), np.array([3, 0, 3, 59, 17] * 8)
    measurements = draw(0, len(rows))
    whole = device_store.gather(rows, degrade=measurements).pattern
    assert whole.shape == (40, 4250)
    assert torch.isnan(whole).any()
    assert torch.equal(whole.isnan(), (whole != whole))
    pieces = [
        device_store.gather(rows[a:b], degrade=measurements[a:b]).pattern
        for a, b in ((0, 7), (7, 39), (39, 40))
    ]
    torch.testing.assert_close(whole, torch.cat(pieces), rtol=0, atol=2e-3, equal_nan=True)
    assert device_store._cache is None  # of which clean patterns alone are
    uncut = device_store.gather(rows, degrade=draw(0, len(rows), cut=False)).pattern
    assert torch.isfinite(uncut).all()
    assert not torch.equal(uncut[0], uncut[2])  # the same sample, measured twice


def test_an_impurity_is_a_training_sample_of_the_height_it_is_drawn_with(store):
    from xxact.xrd.instrument import RANGES

    names, train = list(RANGES), store.indices("train")
    still = {name: range_.otherwise for name, range_ in RANGES.items()} | {
        "caglioti_w": 0.01,
        "size_nm": 1e6,
        "counts": 1e12,
        "hump_width_deg": 10.0,
        "impurity_at": 0.5,
    }
    values = [[(still | {"impurity": part})[name] for name in names] for part in (0.0, 0.1)]
    measurements = np.array(values, dtype="f4")
    own, other = 3, train[int(0.5 * len(train))]
    data = DeviceStore(store)
    pure, impure = data.gather(np.array([own, own]), degrade=measurements).pattern
    alone = data.gather(np.array([other]), degrade=measurements[:1]).pattern[0]
    # Both patterns are scaled to 100: the share of the impurity's lines in the sum is fitted.
    shares = np.linalg.lstsq(np.stack([pure, alone], axis=1), impure.numpy(), rcond=None)[0]
    areas = [
        store.intensity[slice(*store.reflection_offsets[row : row + 2])].sum()
        / pattern.numpy().sum()
        for row, pattern in ((own, pure), (other, alone))
    ]
    assert shares[1] / shares[0] == pytest.approx(0.1 * areas[1] / areas[0], rel=0.02)
