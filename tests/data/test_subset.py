"""Parts and subsets depend on each id alone."""

import hashlib

import numpy as np

from xxact.data.store import SPLITS
from xxact.data.subset import choose, split_of


def test_parts_follow_the_rule():
    names = {code: name for name, code in SPLITS.items()}
    for k in range(500):
        slot = int(hashlib.sha1(f"mp-{k}".encode()).hexdigest(), 16) % 20
        expected = {0: "audit", 1: "test", 2: "test", 3: "validation"}.get(slot, "train")
        assert names[split_of(f"mp-{k}".encode())] == expected


def test_known_ids():
    assert split_of(b"mp-10078") == SPLITS["audit"]
    assert split_of(b"mp-1005719") == SPLITS["train"]


def test_choice_is_nested_and_independent_of_order():
    ids = np.array([f"mp-{k}" for k in range(4000)], "S")
    small, large = choose(ids, 0.25, seed=1), choose(ids, 0.5, seed=1)
    assert not (small & ~large).any()
    assert abs(small.mean() - 0.25) < 0.03
    order = np.random.default_rng(0).permutation(len(ids))
    np.testing.assert_array_equal(choose(ids[order], 0.25, seed=1), small[order])
    np.testing.assert_array_equal(choose(ids[:10], 0.25, seed=1), small[:10])


def test_seeds_differ_and_the_ends_are_exact():
    ids = np.array([f"mp-{k}" for k in range(1000)], "S")
    assert (choose(ids, 0.5, seed=0) != choose(ids, 0.5, seed=1)).any()
    assert choose(ids, 1.0, seed=0).all()
    assert not choose(ids, 0.0, seed=0).any()
