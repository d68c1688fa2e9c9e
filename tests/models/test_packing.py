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
    n_first = int(packing.starts[1])
    got = packing.unpack(packing.pack(x)[:n_first])
    assert int(got.any(dim=2).sum()) == n_first
    for sample, hidden in enumerate(padding):
        for first in (~hidden).nonzero()[:1]:
            assert torch.equal(got[sample, first], x[sample, first])
    assert packing.starts_of(n_first).tolist() == [0, n_first]
    assert packing.starts_of(len(packing.places)).tolist() == packing.starts.tolist()
