"""Power laws against an independent fit, gaps by hand."""

import math
import statistics

import fabricate
import numpy as np
import pytest
from scipy import stats

from xxact.analysis import render, scaling
from xxact.analysis.cells import view
from xxact.analysis.provenance import Tree
from xxact.experiments.result import result_path


def test_fit_equals_scipy_with_its_standard_errors():
    random = np.random.default_rng(3)
    sizes = np.repeat([1.0, 2.0, 3.0, 4.0, 4.5], 3)
    losses = 0.07 * sizes**-0.335 * np.exp(random.normal(0, 0.05, sizes.size))
    fit = scaling.fit_power_law(sizes.tolist(), losses.tolist())
    reference = stats.linregress(np.log(sizes), np.log(losses))
    assert fit.exponent == pytest.approx(reference.slope, rel=1e-12)
    assert fit.exponent_error == pytest.approx(reference.stderr, rel=1e-9)
    assert fit.prefactor == pytest.approx(math.exp(reference.intercept), rel=1e-12)
    assert fit.log_prefactor_error == pytest.approx(reference.intercept_stderr, rel=1e-9)


def test_fit_recovers_an_exact_law_in_any_unit():
    sizes = [1, 2, 3, 4, 4.5]
    for factor in (1, 1e6):
        fit = scaling.fit_power_law([s * factor for s in sizes], [0.14 * s**-0.046 for s in sizes])
        assert fit.exponent == pytest.approx(-0.046)
        assert fit.exponent_error == pytest.approx(0, abs=1e-8)
        assert fit.at(3 * factor) == pytest.approx(0.14 * 3**-0.046)


def test_too_few_points():
    assert scaling.fit_power_law([], []) is None
    assert scaling.fit_power_law([2, 2], [1, 3]) is None
    assert scaling.fit_power_law([1, 2], [1, 0.5]).exponent_error is None


def test_points_are_in_the_published_units(whole):
    points = scaling.points(Tree(whole, "mini"), "xxact")
    assert len(points) == 15
    largest = points[-1]
    best = fabricate.make("table2/none", seed=2)["metrics"]["best_on_test"]
    assert largest.samples == pytest.approx(4000 / 1e6)
    assert largest.mae == pytest.approx(best[fabricate.ENERGY]["mae_mev_per_atom"] / 1000)


def test_a_seed_that_a_size_lacks_does_not_count(results):
    result_path(results, "mini", "scaling/xxact_2000k", 1).unlink()
    tree = Tree(results, "mini")
    points = scaling.points(tree, "xxact")
    assert {(p.size, p.seed) for p in points} == {(s, k) for s in scaling.SIZES for k in (0, 2)}
    filled = view(scaling.table(), tree)
    fits = next(s for s in filled.table.sections if s.key == "fit")
    shown = filled.filled(fits, "xxact", "exponent").committed
    assert scaling.fit(points).exponent == pytest.approx(shown.mean)  # in the figure and the table


def test_gap_and_exponents_in_the_table(whole):
    tree = Tree(whole, "mini")
    filled = view(scaling.table(), tree)
    section = next(s for s in filled.table.sections if s.key == "gap")
    gap = filled.filled(section, "2000k", "gap").committed

    def best(model, seed):
        scores = fabricate.make(f"scaling/{model}_2000k", seed=seed)["metrics"]["best_on_test"]
        return scores[fabricate.ENERGY]["mae_mev_per_atom"]

    wanted = [best("crabnet", k) - best("xxact", k) for k in (0, 1, 2)]
    assert gap.mean == pytest.approx(statistics.fmean(wanted))
    fits = next(s for s in filled.table.sections if s.key == "fit")
    exponent = filled.filled(fits, "xxact", "exponent").committed
    by_seed = scaling.exponents_by_seed(scaling.points(tree, "xxact"))
    assert exponent.mean == pytest.approx(statistics.fmean(by_seed.values()))
    assert exponent.n is None
    assert "66.2" in render.markdown(filled)


def test_the_whole_training_part_is_trained_by_other_tables(whole):
    for control in scaling.CONTROLS:
        assert scaling.run_name("crabnet", "4500k", control) == "table1/crabnet_energy"
        assert scaling.run_name("xxact", "4500k", control) == "table2/none"
    points = scaling.points(Tree(whole, "mini"), "xxact", "_steps")
    assert sorted({p.size for p in points}) == sorted(scaling.SIZES)
    assert len(scaling.RUNS) == 16 + 2


def test_equal_steps_are_other_runs(whole):
    tree = Tree(whole, "mini")
    one, other = (scaling.points(tree, "crabnet", c) for c in scaling.CONTROLS)
    assert [p.mae for p in one] != [p.mae for p in other]
