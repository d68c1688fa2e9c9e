"""Intervals hold what they promise, and agree with the bootstrap that they stand for."""

import math

import numpy as np
import pytest
from scipy import stats

from xxact.analysis.inference import (
    Effect,
    Estimate,
    combined,
    difference,
    holm,
    log_slope,
    mean_variance,
    of_scores,
)


def _model(random, seeds, n, sd_seed, groups=None, common=0.0, shift=0.0):
    """Values of a model whose seeds, samples and noise of both are random."""
    own = random.normal(0, 1, n) if groups is None else random.normal(0, 1, n)[groups]
    noise = random.normal(0, 1, (seeds, n))
    values = shift + common + own + random.normal(0, sd_seed, (seeds, 1)) + noise
    return Estimate(values.mean(1), values, groups)


@pytest.mark.parametrize(
    ("seeds", "sd_seed", "grouped"),
    [(3, 0.1, False), (3, 0.5, False), (2, 0.1, False), (3, 0.1, True)],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds, sd_seed, grouped):
    random = np.random.default_rng(0)
    n, repeats, truth = 120, 600, 0.3
    groups = np.arange(n) // 4 if grouped else None
    held = 0
    for _ in range(repeats):
        common = random.normal(0, 2, n)  # what is hard for one model is hard for the other
        a = _model(random, seeds, n, sd_seed, groups, common, truth)
        b = _model(random, seeds, n, sd_seed, groups, common)
        low, high = difference(a, b).interval()
        held += low <= truth <= high
    # 95 % within three standard errors of 600 draws, and not far above
    assert 0.92 < held / repeats < 0.985


def test_the_closed_form_is_the_two_level_bootstrap():
    random = np.random.default_rng(1)
    a, b = (_model(random, 20, 300, 0.2) for _ in "ab")
    draws = []
    for _ in range(2000):
        samples = random.integers(0, 300, 300)
        sides = [e.values[random.integers(0, 20, 20)][:, samples].mean() for e in (a, b)]
        draws.append(sides[0] - sides[1])
    # a bootstrap draws seeds and samples, and so the interaction of both twice: up to 1/K + 1/n
    assert difference(a, b).error == pytest.approx(np.std(draws), rel=0.08)


def test_one_seed_has_the_samples_alone_and_says_so():
    values = np.array([[1.0, 2.0, 3.0, 6.0]])
    effect = difference(Estimate(values.mean(1), values), Estimate(np.zeros(1), 0 * values))
    assert effect.one_seed
    test = stats.ttest_1samp(values[0], 0)
    assert effect.error == pytest.approx(stats.sem(values[0]))
    assert 2 * effect.p() == pytest.approx(test.pvalue)
    assert effect.p(-1) == pytest.approx(1 - effect.p())
    np.testing.assert_allclose(effect.interval(), test.confidence_interval())


def test_samples_of_one_group_count_once():
    random = np.random.default_rng(2)
    one = random.normal(0, 1, (1, 50))
    groups = np.arange(200) // 4
    assert mean_variance(np.repeat(one, 4, axis=1), groups) == pytest.approx(
        mean_variance(one, None)
    )


def test_without_samples_the_bounds_of_a_mean():
    assert of_scores([80.0, 80.0], 100, 0, 100).variance == pytest.approx(80 * 20 / 100)
    assert of_scores([0.5], 10, -1, 1).variance == pytest.approx(1.5 * 0.5 / 10)
    assert of_scores([50.0], 25, 0, math.inf).variance == pytest.approx(50**2 / 25)
    effect = difference(of_scores([90.0, 92.0], 100, 0, 100), of_scores([80.0, 84.0], 100, 0, 100))
    variance = (91 * 9 + 82 * 18) / 100 + 2 / 2 + 8 / 2
    assert effect.difference == 9
    assert effect.error == pytest.approx(math.sqrt(variance))


def test_the_slope_of_a_law_is_that_of_regression_and_its_influence_that_of_a_jackknife():
    random = np.random.default_rng(3)
    sizes = [1, 2, 4, 8]
    hard = random.exponential(1, 400)
    losses = [(hard * np.exp(random.normal(0, 0.2, 400)) * s**-0.3)[None] for s in sizes]
    slope = log_slope(sizes, [Estimate(values.mean(1), values) for values in losses])

    def regression(keep) -> float:
        means = [np.log(values[0, keep].mean()) for values in losses]
        return stats.linregress(np.log(sizes), means).slope

    assert slope.mean == pytest.approx(regression(slice(None)))
    left_out = [regression(np.arange(400) != k) for k in range(400)]
    jackknife = 399 / 400 * np.sum((left_out - np.mean(left_out)) ** 2)
    assert slope.sample_variance == pytest.approx(jackknife, rel=0.02)


def test_a_sum_of_statistics_shares_their_samples():
    random = np.random.default_rng(4)
    a, b = (_model(random, 2, 30, 0.1) for _ in "ab")
    both = combined([1, -1], [a, b])
    np.testing.assert_allclose(both.by_seed, a.by_seed - b.by_seed)
    assert both.sample_variance == pytest.approx(mean_variance(a.values - b.values, None))
    without = combined([1, -1], [a, Estimate(b.by_seed, variance=2.0)])
    assert without.variance == pytest.approx(a.sample_variance + 2)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_would_decide_does():
    """With as many samples, or seeds, as it says, the same difference has that p."""
    effect = Effect(1.0, 0.04, 0.36, math.inf, (4, 4), 100)
    level = stats.norm.sf(2)  # the error may be half the difference
    cost, words = effect.would_decide(level)
    times = 0.36 / (0.25 - 0.04)
    assert cost == pytest.approx(times)
    assert f"{times:.1f} times the test samples ({100 * times:,.0f})" in words
    decided = Effect(1.0, 0.04, 0.36 / times, math.inf, (4, 4), 100)
    assert decided.p() == pytest.approx(level)
    seeds = Effect(1.0, 0.36, 0.04, math.inf, (4, 4), 100).would_decide(level)[1]
    assert seeds == f"would take {math.ceil(4 * 0.36 / 0.21)} seeds"
    both = Effect(1.0, 0.3, 0.3, math.inf, (4, 4), 100).would_decide(level)
    assert both == (pytest.approx(2.4), "would take 2.4 times both the seeds and the test samples")
    assert Effect(0.0, 1, 1, 3, (2, 2), 9).would_decide(level)[0] == math.inf
