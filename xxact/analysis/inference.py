"""Differences between models with what is known of their uncertainty: seeds and test samples.

A statistic of a model (an error, an accuracy, a scaling exponent) is a mean over test samples, up
to first order: sample i adds values[k, i] to it when trained with seed k. Another seed and another
test set would both give another value, so seeds and samples are two crossed random factors, and

    Var(difference) = seeds + samples - interaction

with seeds = s_k^2 / K of each model over its seeds, samples = the variance of the mean over samples
of the difference between the two models' seed means (paired: both saw the same samples), and the
interaction, which both of these contain, taken off once. This is the closed form of the two-level
bootstrap over seeds and samples (analysis of variance of a crossed design). Samples of one formula
share their errors and are drawn together. Quantiles are those of Student's t with Satterthwaite's
degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A statistic of one model.

    by_seed: (K,), the statistic of each seed; values: (K, n), what each sample adds to it, with
    the mean by_seed; where predictions were not kept None, and `variance` that of sampling.
    groups: (n,), samples with the same number are drawn together.
    """

    by_seed: np.ndarray
    values: np.ndarray | None = None
    groups: np.ndarray | None = None
    variance: float = 0.0

    @property
    def mean(self) -> float:
        """The statistic, mean over seeds."""
        return float(self.by_seed.mean())

    @property
    def seed_variance(self) -> float:
        """Variance of the mean over seeds; 0 where one seed cannot tell."""
        return float(self.by_seed.var(ddof=1)) / len(self.by_seed) if len(self.by_seed) > 1 else 0.0

    @property
    def sample_variance(self) -> float:
        """Variance of the mean over seeds that another test set would give."""
        return self.variance if self.values is None else mean_variance(self.values, self.groups)

    @property
    def interaction(self) -> float:
        """The part of `seed_variance` that is noise of single samples, as is of the other."""
        k = len(self.by_seed)
        if self.values is None or k < 2:
            return 0.0
        own = self.values - self.values.mean(0) - (self.by_seed[:, None] - self.mean)
        return sum(mean_variance(row[None], self.groups) for row in own) / (k - 1) / k


def mean_variance(values: np.ndarray, groups: np.ndarray | None) -> float:
    """Variance of the mean over samples of the mean over seeds. values: (K, n); groups: (n,)."""
    residual = values.mean(0)
    residual = residual - residual.mean()
    n = len(residual)
    if groups is not None:
        residual = np.bincount(np.unique(groups, return_inverse=True)[1], residual)
    c = len(residual)
    return float((residual**2).sum()) / n**2 * c / (c - 1) if c > 1 else math.inf


def of_scores(scores: Sequence[float], n: int, lowest: float, highest: float) -> Estimate:
    """What a mean over n samples of something in [lowest, highest] tells without the samples.

    Its variance is at most (highest - mean)(mean - lowest) / n, of an accuracy exactly that. An
    absolute error has no highest value (infinity): its spread is taken to be its mean.
    """
    by_seed = np.asarray(scores, dtype=float)
    mean = float(by_seed.mean())
    spread = mean if math.isinf(highest) else max(highest - mean, 0.0)
    return Estimate(by_seed, variance=spread * max(mean - lowest, 0.0) / n)


def combined(weights: Sequence[float], estimates: Sequence[Estimate]) -> Estimate:
    """The weighted sum of statistics on the same test samples, seed k with seed k."""
    by_seed = sum(w * e.by_seed for w, e in zip(weights, estimates, strict=True))
    if any(e.values is None for e in estimates):
        variance = sum(w**2 * e.sample_variance for w, e in zip(weights, estimates, strict=True))
        return Estimate(by_seed, variance=variance)
    values = sum(w * e.values for w, e in zip(weights, estimates, strict=True))
    return Estimate(by_seed, values, estimates[0].groups)


def constant(value: float, like: Estimate) -> Estimate:
    """A number that is known, to compare a statistic `like` this one with."""
    by_seed = np.full(len(like.by_seed), value)
    values = None if like.values is None else np.full_like(like.values, value)
    return Estimate(by_seed, values, like.groups)


def log_slope(sizes: Sequence[float], losses: Sequence[Estimate]) -> Estimate:
    """The slope of log loss against log size by least squares: the exponent of a power law."""
    x = np.log(sizes) - np.log(sizes).mean()
    weights = x / (x**2).sum()
    logs = [_logarithm(loss) for loss in losses]
    return combined(list(weights), logs)


def _logarithm(loss: Estimate) -> Estimate:
    """The logarithm of a statistic, to first order in what each sample adds."""
    by_seed = np.log(loss.by_seed)
    variance = loss.variance / loss.mean**2
    if loss.values is None:
        return Estimate(by_seed, variance=variance)
    values = by_seed[:, None] + loss.values / loss.by_seed[:, None] - 1
    return Estimate(by_seed, values, loss.groups)


@dataclass(frozen=True)
class Effect:
    """`difference` of two statistics; seed_variance and sample_variance add up to its variance.

    of_runs: the difference between these very runs, about which samples alone are uncertain.
    """

    difference: float
    seed_variance: float
    sample_variance: float
    degrees: float
    seeds: tuple[int, int]
    n: int | None
    of_runs: Effect | None = None

    @property
    def error(self) -> float:
        """Standard error."""
        return math.sqrt(self.seed_variance + self.sample_variance)

    @property
    def one_seed(self) -> bool:
        """Whether what it says is about these runs alone."""
        return min(self.seeds) == 1

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval that holds the true difference with probability `level`."""
        half = stats.t.ppf((1 + level) / 2, self.degrees) * self.error
        return self.difference - half, self.difference + half

    def p(self, sign: int = 1) -> float:
        """Probability of a difference as large in the direction `sign` where there is none."""
        if self.error == 0:
            return 0.0 if sign * self.difference > 0 else 1.0
        return float(stats.t.sf(sign * self.difference / self.error, self.degrees))

    def would_decide(self, p: float) -> tuple[float, str]:
        """What would give this p at the difference seen: how many times the work, and in words.

        More test samples alone, more seeds alone, or where neither is enough both. Infinity where
        no difference was seen.
        """
        if not self.difference:
            return math.inf, "no difference was seen"
        allowed = self._allowed_variance(p, self.degrees)
        samples = _times(self.sample_variance, allowed - self.seed_variance)
        seeds = math.inf if self.one_seed else self._seeds_that_decide(p) / max(self.seeds)
        words = []
        if samples < math.inf:
            n = f" ({self.n * samples:,.0f})" if self.n else ""
            words.append(f"{_many(samples)} the test samples{n}")
        if seeds < math.inf:
            words.append(f"{max(self.seeds) * seeds:,.0f} seeds")
        cost = min(samples, seeds)
        if not words:
            cost = self.error**2 / self._allowed_variance(p, math.inf)
            words = [f"{_many(cost)} both the seeds and the test samples"]
        return cost, "would take " + " or ".join(words)

    def _allowed_variance(self, p: float, degrees: float) -> float:
        """The variance with which this difference has this p."""
        return float(self.difference / stats.t.isf(p, degrees)) ** 2

    def _seeds_that_decide(self, p: float) -> float:
        """The number of seeds a side that gives this p; infinity where `MOST_SEEDS` do not."""
        k = max(self.seeds)
        for more in range(k + 1, MOST_SEEDS + 1):
            variance = self.seed_variance * k / more + self.sample_variance
            if variance <= self._allowed_variance(p, self.degrees * (more - 1) / (k - 1)):
                return more
        return math.inf


#: More seeds than this decide nothing in practice.
MOST_SEEDS = 1000


def _many(times: float) -> str:
    return f"{times:.1f} times" if times < 100 else "over 100 times"


def _times(shrinks: float, allowed: float) -> float:
    """How many times as much makes a variance as small as allowed; infinity where nothing does."""
    return max(shrinks / allowed, 1.0) if allowed > 0 else math.inf


def ratio(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    """a over b, and its 95 % interval; both are positive."""
    logarithms = difference(_logarithm(a), _logarithm(b))
    return tuple(math.exp(x) for x in (logarithms.difference, *logarithms.interval()))


def difference(a: Estimate, b: Estimate) -> Effect:
    """a less b."""
    shift, seeds = a.mean - b.mean, a.seed_variance + b.seed_variance
    used = (len(a.by_seed), len(b.by_seed))
    if a.values is None or b.values is None:
        samples = of_runs = a.sample_variance + b.sample_variance
        n, groups = None, math.inf
    else:
        paired = a.values.mean(0) - b.values.mean(0)  # (n,)
        n = len(paired)
        groups = n if a.groups is None else len(np.unique(a.groups))
        if groups < 2:
            unknown = Effect(shift, seeds, math.inf, 1.0, used, n)
            return replace(unknown, of_runs=unknown)
        # the interaction stands in the seeds' part too; what is left is never negative
        of_runs = mean_variance(paired[None], a.groups)
        samples = max(of_runs - a.interaction - b.interaction, 0.0)
    squares = samples**2 / (groups - 1)
    for side in (a, b):
        squares += side.seed_variance**2 / max(len(side.by_seed) - 1, 1)
    degrees = (seeds + samples) ** 2 / squares if squares else math.inf
    alone = Effect(shift, 0.0, of_runs, groups - 1, used, n)
    return Effect(shift, seeds, samples, max(degrees, 1.0), used, n, alone)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p of several tests: below a level with at most that probability of any error.

    The smallest times their number, the next times one less, and so on; never less than the one
    before.
    """
    order = np.argsort(p, kind="stable")
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[k]))
        adjusted[k] = largest
    return adjusted
