"""The learning rate against the numbers of the paper."""

import math

import pytest

from xxact.training.schedule import learning_rate
from xxact.training.spec import OptimizerSpec

SPEC = OptimizerSpec()


def test_starts_peaks_and_ends_at_the_papers_rates():
    rates = [learning_rate(step, 1000, SPEC) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[100] == pytest.approx(5e-4)
    assert max(rates) == rates[100]
    assert rates[-1] == pytest.approx(1e-7)


def test_warm_up_is_linear_and_decay_is_a_cosine():
    assert learning_rate(50, 1000, SPEC) == pytest.approx((1e-6 + 5e-4) / 2)
    quarter = learning_rate(100 + 225, 1001, SPEC)  # a quarter of the 900 steps of decay
    assert quarter == pytest.approx(1e-7 + (5e-4 - 1e-7) * (1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_short_runs_have_rates(total):
    assert all(0 < learning_rate(step, total, SPEC) <= 5e-4 for step in range(total))
