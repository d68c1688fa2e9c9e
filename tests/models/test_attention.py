"""The compiled attention of CPUs against the formula written out: dropout, masks, gradients."""

import numpy as np
import pytest
import torch

from xxact.models import kernel
from xxact.models.attention import Attention, _Attend
from xxact.models.dropout import N_VALUES

HEADS, SIZE, QUERIES, KEYS, BATCH = 2, 5, 3, 5, 7
WIDTH = HEADS * SIZE
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def inputs():
    """Queries (W, S, B), keys and values (2 W, M, B), a mask (B, 1, 1, M), upstream (W, S, B)."""
    torch.manual_seed(0)
    mask = torch.zeros(BATCH, 1, 1, KEYS)
    mask[::2, ..., 3:] = -torch.inf
    q, kv = torch.randn(WIDTH, QUERIES, BATCH), torch.randn(2 * WIDTH, KEYS, BATCH)
    return q.requires_grad_(), kv.requires_grad_(), mask, torch.randn(WIDTH, QUERIES, BATCH)


def heads_first(x):
    """(W, S, B) as (B, H, S, D)."""
    return x.unflatten(0, (HEADS, SIZE)).permute(3, 0, 2, 1)


def weights_of(q, kv, mask):
    """Softmax of the scaled and masked scores, (B, H, S, M)."""
    keys = heads_first(kv[:WIDTH])
    return (heads_first(q) @ keys.transpose(2, 3) / SIZE**0.5 + mask).softmax(-1)


def formula(q, kv, mask, keep):
    """Attention (W, S, B) with weights multiplied by `keep` (B, H, S, M)."""
    values = heads_first(kv[WIDTH:])
    out = (weights_of(q, kv, mask) * keep) @ values  # (B, H, S, D)
    return out.permute(1, 3, 2, 0).flatten(0, 1)


def used_weights(q, kv, mask, p):
    """The weights (B, H, S, M) that `_Attend` multiplies values by, read off by unit vectors."""
    assert KEYS == SIZE
    unit = torch.eye(KEYS)[None, :, :, None].expand(HEADS, -1, -1, BATCH).reshape(WIDTH, KEYS, -1)
    out = _Attend.apply(q.detach(), torch.cat((kv[:WIDTH].detach(), unit)), mask, HEADS, p)
    return heads_first(out)


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_output_and_gradients_are_those_of_the_formula(inputs, p):
    q, kv, mask, upstream = inputs
    torch.manual_seed(5)
    keep = (used_weights(q, kv, mask, p) > 0) / (1 - round(p * N_VALUES) / N_VALUES)
    assert ((keep == 0) & (mask == 0)).any() == (p > 0)
    torch.manual_seed(5)
    got = _Attend.apply(q, kv, mask, HEADS, p)
    want = formula(q, kv, mask, keep)
    torch.testing.assert_close(got, want, **TOLERANCE)
    got = torch.autograd.grad(got, (q, kv), upstream)
    torch.testing.assert_close(got, torch.autograd.grad(want, (q, kv), upstream), **TOLERANCE)


def test_packed_projections_get_the_gradients_of_separate_ones():
    torch.manual_seed(0)
    packed = torch.randn(3 * WIDTH, QUERIES, BATCH, requires_grad=True)
    upstream = torch.randn(WIDTH, QUERIES, BATCH)
    got = _Attend.apply(packed, None, None, HEADS, 0.0)
    want = _Attend.apply(packed[:WIDTH], packed[WIDTH:], None, HEADS, 0.0)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    got = torch.autograd.grad(got, packed, upstream)
    torch.testing.assert_close(got, torch.autograd.grad(want, packed, upstream), rtol=0, atol=0)


def test_hidden_keys_have_no_weight_however_large_the_others_scores(inputs):
    q, kv, mask, _ = inputs
    for scale in (1e-3, 1.0, 30.0):
        got = used_weights(q * scale, kv * scale, mask, 0.0)
        assert (got[(mask == -torch.inf).expand_as(got)] == 0).all()
        want = weights_of(q.double() * scale, kv.double() * scale, mask).float()
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_shows(inputs):
    q, kv, mask, _ = inputs
    with torch.no_grad():
        kv[0, 1, 2] = torch.nan  # one key of one head
        out = _Attend.apply(q, kv, mask, HEADS, 0.0)
    assert out[:SIZE, :, 2].isnan().all()
    assert out.isnan().sum() == SIZE * QUERIES


def test_rate_of_dropped_weights():
    shape = 64, 4, 40
    torch.manual_seed(0)
    p, n = 0.1, 4 * shape[1] ** 2 * shape[2]
    values = torch.ones(16, *shape[1:])
    packed = torch.cat((torch.zeros(32, *shape[1:]), values))
    # equal scores: each output is the number of kept weights over that of keys
    out = _Attend.apply(packed, None, None, 4, p)[::4]  # (4, S, B), a channel of each head
    kept = (out * (1 - p)).mean().item()
    assert kept == pytest.approx(1 - p, abs=5 * (p * (1 - p) / n) ** 0.5)
    again = _Attend.apply(packed, None, None, 4, p)[::4]
    assert not torch.equal(out, again)


def test_evaluation_draws_no_random_numbers():
    attention = Attention(WIDTH, HEADS, dropout=0.5).eval()
    x = torch.randn(BATCH, QUERIES, WIDTH)
    state = torch.get_rng_state()
    torch.testing.assert_close(attention(x), attention(x), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_random_words_are_those_of_splitmix64():
    """Against the recurrence in Python's integers, whose first value for 1234567 is known."""
    state, want = 1234567, []
    for _ in range(9):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
        want.append(word ^ (word >> 31))
    assert want[0] == 6457827717110365317
    words = np.empty(9, dtype=np.uint64)
    keep = np.empty(36, dtype=np.int16)
    kernel.draw(1234567, 0, words, keep)
    assert words.tolist() == want
    lanes = np.array(want, dtype=np.uint64).view(np.int16)
    kernel.draw(1234567, 100, words, words.view(np.int16))
    assert (words.view(np.int16) != 0).tolist() == (lanes >= 100).tolist()
