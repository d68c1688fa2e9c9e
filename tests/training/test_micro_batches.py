"""Batches in pieces."""

import numpy as np
import pytest

from xxact.training.micro_batches import micro_batches_of


@pytest.mark.parametrize(
    ("n", "size", "largest"), [(32, 1, None), (32, 4, 3), (33, 2, 5), (7, 3, 2)]
)
def test_the_micro_batches_of_all_processes_cover_a_batch_once(n, size, largest):
    of_ranks = [micro_batches_of(n, rank, size, largest) for rank in range(size)]
    assert len({len(own) for own in of_ranks}) == 1
    together = [micro_batch for own in of_ranks for micro_batch in own]
    assert [micro_batch.number for micro_batch in together] == list(range(len(together)))
    slots = np.concatenate([np.arange(n)[micro_batch.slots] for micro_batch in together])
    np.testing.assert_array_equal(slots, np.arange(n))
    sizes = [len(micro_batch) for micro_batch in together]
    assert max(sizes) <= (largest or n)
    assert max(sizes) - min(sizes) <= 1


def test_more_micro_batches_than_slots_leave_some_empty():
    assert sorted(len(micro_batches_of(3, rank, 4, None)[0]) for rank in range(4)) == [0, 1, 1, 1]
