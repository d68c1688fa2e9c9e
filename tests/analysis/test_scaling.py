"""Power laws against scipy and against laws that are known; points as they were measured."""

import fabricate
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xxact.analysis import scaling
from xxact.experiments.result import result_path

SHARES = np.array([1 / 32, 1 / 16, 1 / 8, 2 / 9, 4 / 9, 6 / 9, 8 / 9, 1.0])


def test_one_seed_equals_scipy_with_its_standard_errors():
    random = np.random.default_rng(3)
    sizes = np.array([1.0, 2.0, 3.0, 4.0, 4.5])
    losses = 0.07 * sizes**-0.335 * np.exp(random.normal(0, 0.05, sizes.size))
    law = scaling.fit_power_law(sizes, losses)
    reference = stats.linregress(np.log(sizes), np.log(losses))
    assert law.exponent == pytest.approx(reference.slope, rel=1e-12)
    assert law.prefactor == pytest.approx(np.exp(reference.intercept), rel=1e-12)
    half = stats.t.ppf(0.975, 3) * reference.stderr
    assert law.interval() == pytest.approx((reference.slope - half, reference.slope + half))
    # at D = 1 the band is the interval of the intercept, whose error scipy states too
    low, high = law.band(np.array([1.0]))
    half = stats.t.ppf(0.975, 3) * reference.intercept_stderr
    assert np.log(high / low)[0] == pytest.approx(2 * half)


def test_several_seeds_are_a_line_each():
    random = np.random.default_rng(4)
    sizes, seeds = np.tile(SHARES, 3), np.repeat([0, 1, 2], 8)
    losses = sizes**-0.2 * np.exp(random.normal(0, 0.05, 24))
    law = scaling.fit_power_law(sizes, losses, seeds)
    lines = [stats.linregress(np.log(SHARES), np.log(losses[seeds == k])) for k in range(3)]
    wanted = np.array([line.slope for line in lines])
    half = stats.t.ppf(0.975, 2) * wanted.std(ddof=1) / 3**0.5
    assert law.exponent == pytest.approx(wanted.mean())
    assert law.interval() == pytest.approx((wanted.mean() - half, wanted.mean() + half))
    at = np.log(0.3)
    values = np.array([line.intercept + line.slope * at for line in lines])
    half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / 3**0.5
    low, high = law.band(np.array([0.3]))
    assert np.log([low[0], high[0]]) == pytest.approx([values.mean() - half, values.mean() + half])


def test_an_exact_law_in_any_unit():
    sizes = np.array([1, 2, 3, 4, 4.5])
    for factor in (1, 1e6):
        law = scaling.fit_power_law(sizes * factor, 0.14 * sizes**-0.046)
        assert law.exponent == pytest.approx(-0.046)
        assert law.interval() == pytest.approx((-0.046, -0.046), abs=1e-8)
        assert law.at(3 * factor) == pytest.approx(0.14 * 3**-0.046)


def test_too_few_points():
    assert scaling.fit_power_law([], []) is None
    assert scaling.fit_power_law([2, 2], [1, 3]) is None
    two = scaling.fit_power_law([1, 2], [1, 0.5])
    assert two.exponent == pytest.approx(-1)
    assert two.interval() is None
    assert two.band(np.array([1.5])) is None
    assert scaling.fit_with_floor([1, 2, 3, 4], [4, 3, 2, 1], [0, 0, 0, 0]) is None


def made_up(random: np.random.Generator, seeds: int, luck: float, noise: float) -> pd.DataFrame:
    """Losses of an exponent of -0.2: noise of single runs, and the luck of nested subsets.

    The luck of a subset is the mean of what its samples bring, less that of the whole, as if
    drawn from a walk along 1 / size: the same for what two sizes of a seed share.
    """
    steps = np.sqrt(-np.diff(1 / SHARES, append=1.0))
    walks = (random.normal(size=(seeds, 8)) * steps)[:, ::-1].cumsum(axis=1)[:, ::-1] / 31**0.5
    logs = -0.2 * np.log(SHARES) + luck * walks + random.normal(0, noise, (seeds, 8))
    return pd.DataFrame(
        {
            "size": np.tile(SHARES, seeds),
            "loss": np.exp(logs).ravel(),
            "seed": np.repeat(np.arange(seeds), 8),
        }
    )


def coverage(seeds: int, luck: float, pooled: bool = False, trials: int = 250) -> float:
    """How often the 95 % interval holds the true exponent."""
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(trials):
        made = made_up(random, seeds, luck, noise=0.015)
        own = None if pooled else made["seed"]
        low, high = scaling.fit_power_law(made["size"], made["loss"], own).interval()
        hits += low <= -0.2 <= high
    return hits / trials


def test_the_interval_holds_the_exponent_as_often_as_it_says():
    assert coverage(3, luck=0.05) == pytest.approx(0.95, abs=0.04)
    assert coverage(3, luck=0.0) == pytest.approx(0.95, abs=0.04)
    # the runs of one seed share their subsets: taken as independent they promise too much
    assert coverage(3, luck=0.05, pooled=True) < 0.85
    # one seed can be trusted as far as single runs are what varies
    assert coverage(1, luck=0.0) == pytest.approx(0.95, abs=0.04)
    assert coverage(1, luck=0.05) < 0.85


def test_the_ratio_of_two_models_has_the_difference_of_their_exponents():
    random = np.random.default_rng(6)
    one, other = (made_up(random, 3, 0.02, 0.01) for _ in range(2))
    laws = [
        scaling.fit_power_law(one["size"], losses, one["seed"])
        for losses in (one["loss"], other["loss"], one["loss"] / other["loss"])
    ]
    assert laws[2].exponent == pytest.approx(laws[0].exponent - laws[1].exponent)


def test_a_floor_is_found_where_there_is_one():
    sizes, seeds = np.tile(SHARES, 3), np.repeat([0, 1, 2], 8)
    exact = 0.05 * sizes**-0.4 + 0.08
    law = scaling.fit_with_floor(sizes, exact, seeds)
    assert law.floor == pytest.approx(0.08, rel=1e-4)
    assert law.exponent == pytest.approx(-0.4, rel=1e-3)
    assert law.at(0.5) == pytest.approx(0.05 * 0.5**-0.4 + 0.08, rel=1e-5)
    assert law.floor_error == pytest.approx(0, abs=1e-5)
    random = np.random.default_rng(7)
    for own in (seeds == 0, seeds >= 0):
        found = [
            scaling.fit_with_floor(
                sizes[own], exact[own] * np.exp(random.normal(0, 0.01, own.sum())), seeds[own]
            )
            for _ in range(80)
        ]
        floors, errors = np.array([(law.floor, law.floor_error) for law in found]).T
        assert floors.mean() == pytest.approx(0.08, abs=0.003)
        assert np.sqrt((errors**2).mean()) == pytest.approx(floors.std(), rel=0.25)


def test_a_pure_law_has_no_floor():
    law = scaling.fit_with_floor(SHARES, 0.1 * SHARES**-0.2, np.zeros(8))
    assert law.floor == pytest.approx(0, abs=1e-4)


def test_points_are_in_the_published_units(whole):
    points = scaling.points(whole, "mini")
    assert set(points["control"]) == set(scaling.CONTROLS)
    xxact = points[(points["model"] == "xxact") & (points["control"] == "")]
    assert len(xxact) == 3 * len(scaling.SIZES)
    largest = xxact[(xxact["size"] == "4500k") & (xxact["seed"] == 2)].iloc[0]
    best = fabricate.make("table2/none", seed=2)["metrics"]["best_on_test"]
    assert largest["samples"] == pytest.approx(4000 / 1e6)
    assert largest["share"] == pytest.approx(100)
    assert largest["mae"] == pytest.approx(best[fabricate.ENERGY]["mae_mev_per_atom"] / 1000)
    smallest = xxact[xxact["size"] == "141k"].iloc[0]
    assert smallest["share"] == pytest.approx(100 / 32)
    assert smallest["samples"] == pytest.approx(4000 / 32 / 1e6, rel=0.02)


def test_a_seed_that_a_size_lacks_does_not_count(results):
    result_path(results, "mini", "scaling/xxact_2000k", 1).unlink()
    points = scaling.points(results, "mini")
    seeds = points.groupby(["model", "control"])["seed"].unique().map(sorted)
    assert seeds["xxact", ""] == [0, 2]
    assert seeds["xxact", "_steps"] == seeds["crabnet", ""] == [0, 1, 2]


def test_the_whole_training_split_is_trained_by_other_tables(whole):
    for control in scaling.CONTROLS:
        assert scaling.run_name("crabnet", "4500k", control) == "table1/crabnet_energy"
        assert scaling.run_name("xxact", "4500k", control) == "table2/none"
    points = scaling.points(whole, "mini")
    steps = points[points["control"] == "_steps"]
    assert set(steps["size"]) == set(scaling.sizes("_steps")) == {"141k", "1000k", "4500k"}
    assert len(scaling.RUNS) == 2 * (7 + 2) + 2
