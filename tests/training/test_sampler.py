"""The order of the data."""

import numpy as np
import pytest

from xxact.errors import UserError
from xxact.training.sampler import Sampler


def test_an_epoch_of_one_task_shows_every_row_once_in_another_order_each_time():
    rows = np.arange(100, 160)
    sampler = Sampler([rows], batch_size=20, seed=0)
    epochs = [
        np.concatenate([sampler.batch(3 * epoch + k).rows for k in range(3)]) for epoch in (0, 1)
    ]
    assert all(sorted(epoch) == list(rows) for epoch in epochs)
    assert not np.array_equal(*epochs)


def test_a_batch_follows_from_seed_and_step_alone():
    rows = [np.arange(50), np.arange(25, 75)]
    forward, backward = Sampler(rows, 16, seed=3), Sampler(rows, 16, seed=3)
    ahead = [forward.batch(step) for step in range(20)]
    back = [backward.batch(step) for step in reversed(range(20))][::-1]
    for a, b in zip(ahead, back, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_array_equal(a.tasks, b.tasks)
    other = Sampler(rows, 16, seed=4)
    assert not np.array_equal(ahead[0].rows, other.batch(0).rows)


def test_tasks_are_drawn_uniformly_and_slots_hold_rows_of_their_task():
    few, many = np.arange(100), np.arange(1000, 3000)
    sampler = Sampler([few, many], batch_size=300, seed=1)
    assert sampler.slots_per_epoch == 2100
    slots = [sampler.batch(step) for step in range(sampler.steps_per_epoch)]
    rows = np.concatenate([s.rows for s in slots])
    tasks = np.concatenate([s.tasks for s in slots])
    assert set(rows[tasks == 0]) <= set(few)
    assert set(rows[tasks == 1]) <= set(many)
    assert abs(np.mean(tasks) - 0.5) < 4 * 0.5 / np.sqrt(len(tasks))  # 4 standard errors


def test_rows_of_a_task_repeat_only_after_all_were_shown():
    sampler = Sampler([np.arange(40), np.arange(1000, 1040)], batch_size=80, seed=0)
    slots = sampler.batch(0)
    for task in (0, 1):
        _, times = np.unique(slots.rows[slots.tasks == task], return_counts=True)
        assert times.max() - times.min() <= 1


def test_fewer_examples_than_a_batch_are_one_batch():
    sampler = Sampler([np.arange(7)], batch_size=64, seed=0)
    assert sampler.steps_per_epoch == 1
    assert sorted(sampler.batch(5).rows) == list(range(7))


def test_a_target_without_examples_is_named():
    with pytest.raises(UserError, match="no example"):
        Sampler([np.arange(7), np.arange(0)], batch_size=4, seed=0)
