"""Packed tokens against loops over samples."""

from itertools import pairwise

import pytest
import torch

from xxact.models.packing import pack

PADDINGS = {
    "lengths 1 to 4": [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1]],
    "no padding": [[0, 0]] * 5,
    "padding anywhere": [[1, 0, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1, 0], [0, 1, 0, 1, 1, 1, 1]] * 9,
    "columns that are empty": [[0, 1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1]] * 4,
    "a sample without tokens": [[1, 1, 1], [0, 1, 1], [0, 0, 0]],
}


@pytest.fixture(params=PADDINGS.values(), ids=PADDINGS)
def padding(request):
    """Where a batch (B, S) has no token."""
    return torch.tensor(request.param, dtype=torch.bool)


def test_turns_hold_the_tokens_of_the_longest_samples_in_one_order(padding):
    packing = pack(padding)
    name = torch.arange(padding.numel()).view(padding.shape)  # of each token
    tokens = [row[~hidden].tolist() for row, hidden in zip(name, padding, strict=True)]
    tokens.sort(key=len, reverse=True)
    want = [
        [row[turn] for row in tokens if len(row) > turn]
        for turn in range(max(len(row) for row in tokens))
    ]
    packed, starts = packing.pack(name).tolist(), packing.starts.tolist()
    assert len(starts) == len(want) + 1
    assert [packed[a:b] for a, b in pairwise(starts)] == want


def test_rows_beyond_the_tokens_are_padding_and_few_numbers_of_rows_occur(padding):
    packing = pack(padding)
    n, n_tokens = len(packing.places), int((~padding).sum())
    assert len(set(packing.places.tolist())) == n
    assert padding.flatten()[packing.places[n_tokens:]].all()
    assert n == min(-(-n_tokens // 16) * 16, padding.numel())


def test_unpacking_undoes_packing(padding):
    torch.manual_seed(0)
    packing = pack(padding)
    x = torch.randn(*padding.shape, 3)
    got = packing.unpack(packing.pack(x))
    assert torch.equal(got[~padding], x[~padding])


def test_first_tokens_are_in_the_samples_own_order():
    padding = torch.tensor(PADDINGS["lengths 1 to 4"], dtype=torch.bool)
    x = torch.randn(*padding.shape, 3)
    packing = pack(padding)
    assert torch.equal(packing.first(packing.pack(x)), x[:, 0])


def test_rows_that_break_up_a_turn_are_refused(padding):
    packing = pack(padding)
    starts = packing.starts.tolist()
    assert packing.starts_of(starts[1]).tolist() == starts[:2]
    assert packing.starts_of(len(packing.places)).tolist() == starts
    with pytest.raises(ValueError, match=f"{starts[1] - 1} rows are not whole turns"):
        packing.starts_of(starts[1] - 1)
