"""The compiled half of `dropout` and `attention` on a CPU.

Random bits are those of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014,
https://doi.org/10.1145/2660193.2660195): a function of a seed and a counter, so that many are
computed at once, in any order, and again instead of being kept.

All of it is in one file: Numba's cache on disk does not notice a change in another.
"""

from __future__ import annotations

import math

import numpy as np

from xxact.compiled import compiled, inlined

_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_27, _SHIFT_30, _SHIFT_31, _SHIFT_48 = (np.uint64(n) for n in (27, 30, 31, 48))
_BFLOAT16_ONE, _BFLOAT16_ZERO = np.int16(0x3F80), np.int16(0)  # their bits

_ZERO, _ONE, _MINUS_INFINITY = np.float32(0), np.float32(1), np.float32(-np.inf)
_LOG2_E = np.float32(math.log2(math.e))
_LEAST_EXPONENT = np.float32(-126)
_EXPONENT_BIAS, _EXPONENT_SHIFT = np.int32(127), np.int32(23)
# ln(2)^n / n!: 2^r = sum of these times r^n
_C1, _C2, _C3, _C4, _C5, _C6 = (
    np.float32(math.log(2) ** n / math.factorial(n)) for n in range(1, 7)
)


@inlined
def _random_word(seed, i):
    """The 64 bits of number `i` in the sequence of a seed."""
    word = np.uint64(seed) + np.uint64(i + 1) * _INCREMENT
    word = (word ^ (word >> _SHIFT_30)) * _FIRST_FACTOR
    word = (word ^ (word >> _SHIFT_27)) * _SECOND_FACTOR
    return word ^ (word >> _SHIFT_31)


@inlined
def _exp2(y):
    """2^y of float32 y <= 0 to within 1e-6 of itself; 0 where that would be a denormal number."""
    n = np.rint(max(y, _LEAST_EXPONENT))
    r = y - n
    p = _ONE + r * (_C1 + r * (_C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * _C6)))))
    power = np.int32((np.int32(n) + _EXPONENT_BIAS) << _EXPONENT_SHIFT).view(np.float32)
    return _ZERO if y <= _LEAST_EXPONENT else p * power  # NaN stays NaN


@compiled
def draw(seed, threshold, words, keep):
    """Fill `words` (uint64) with random bits, then their own memory `keep` (int16) with the bits
    of 1.0 or 0.0 in bfloat16: of the 65536 random values, those below `threshold` give 0."""
    for i in range(words.size):
        words[i] = _random_word(seed, i)
    for i in range(keep.size):
        keep[i] = _BFLOAT16_ONE if keep[i] >= threshold else _BFLOAT16_ZERO


@compiled
def attend(q, kv, mask, first, heads, seed, dropped, weights, out):
    """Scaled dot-product attention with the batch along the last axis, which SIMD runs over.

    Channels of queries are the first W of `q` (at least W, S, B), those of keys and values the 2 W
    of `kv` (..., M, B) from `first` on; `mask` (M, B) is added to scores. `dropped` of 65536
    weights are dropped. Fills `weights` (heads, S, M, B), before dropout, and `out` (W, S, B).
    All arrays are float32.
    """
    width, n_queries, batch = out.shape
    n_keys, size = len(mask), width // heads
    scale = _LOG2_E / np.float32(math.sqrt(size))
    rest = np.float32(65536 / (65536 - dropped))
    top, norm = np.empty(batch, np.float32), np.empty(batch, np.float32)
    used = np.empty((n_keys, batch), np.float32)  # weights after dropout
    for h in range(heads):
        channels = range(h * size, (h + 1) * size)
        for i in range(n_queries):
            top[:], norm[:] = _MINUS_INFINITY, _ZERO
            for j in range(n_keys):
                score, hidden = weights[h, i, j], mask[j]
                score[:] = _ZERO
                for c in channels:
                    query, key = q[c, i], kv[first + c, j]
                    for b in range(batch):
                        score[b] += query[b] * key[b]
                for b in range(batch):
                    score[b] = score[b] * scale + hidden[b]
                    top[b] = max(top[b], score[b])
            for j in range(n_keys):
                weight = weights[h, i, j]
                for b in range(batch):
                    weight[b] = _exp2(weight[b] - top[b])
                    norm[b] += weight[b]
            for j in range(n_keys):
                weight, kept = weights[h, i, j], used[j]
                start = ((h * n_queries + i) * n_keys + j) * batch
                for b in range(batch):
                    keep = _random_word(seed, start + b) >> _SHIFT_48 >= np.uint64(dropped)
                    weight[b] /= norm[b]
                    kept[b] = weight[b] * rest if keep else _ZERO
            for c in channels:
                value_sum = out[c, i]
                value_sum[:] = _ZERO
                for j in range(n_keys):
                    kept, value = used[j], kv[first + width + c, j]
                    for b in range(batch):
                        value_sum[b] += kept[b] * value[b]


@compiled
def attend_backward(gradient, q, kv, first, heads, seed, dropped, weights, dq, dkv):
    """Gradients of `attend` for that of its output (W, S, B): fills the rows of queries in `dq`,
    and adds to those of keys and values in `dkv`; shapes and layout as of `q` and `kv`."""
    width, n_queries, batch = gradient.shape
    n_keys, size = weights.shape[2], width // heads
    scale = _ONE / np.float32(math.sqrt(size))
    rest = np.float32(65536 / (65536 - dropped))
    mean = np.empty(batch, np.float32)
    used = np.empty((n_keys, batch), np.float32)  # weights after dropout
    slopes = np.empty((n_keys, batch), np.float32)  # of the weights, then of the scores
    for h in range(heads):
        channels = range(h * size, (h + 1) * size)
        for i in range(n_queries):
            mean[:] = _ZERO
            for j in range(n_keys):
                slope, weight, kept = slopes[j], weights[h, i, j], used[j]
                slope[:] = _ZERO
                for c in channels:
                    upstream, value = gradient[c, i], kv[first + width + c, j]
                    for b in range(batch):
                        slope[b] += upstream[b] * value[b]
                start = ((h * n_queries + i) * n_keys + j) * batch
                for b in range(batch):
                    keep = _random_word(seed, start + b) >> _SHIFT_48 >= np.uint64(dropped)
                    slope[b] = slope[b] * rest if keep else _ZERO
                    kept[b] = weight[b] * rest if keep else _ZERO
                    mean[b] += slope[b] * weight[b]
            for j in range(n_keys):
                slope, weight = slopes[j], weights[h, i, j]
                for b in range(batch):
                    slope[b] = (slope[b] - mean[b]) * weight[b] * scale
            for c in channels:
                query, query_sum, upstream = q[c, i], dq[c, i], gradient[c, i]
                query_sum[:] = _ZERO
                for j in range(n_keys):
                    slope, kept, key = slopes[j], used[j], kv[first + c, j]
                    key_sum, value_sum = dkv[first + c, j], dkv[first + width + c, j]
                    for b in range(batch):
                        query_sum[b] += slope[b] * key[b]
                        key_sum[b] += slope[b] * query[b]
                        value_sum[b] += kept[b] * upstream[b]
