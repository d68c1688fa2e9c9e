"""A verdict has the uncertainty of seeds and samples, and it can go against the paper."""

import fabricate
import numpy as np
import pytest
from scipy import stats

from xxact.analysis import claims as c
from xxact.analysis.evidence import Evidence
from xxact.analysis.inference import Estimate, difference
from xxact.analysis.render import Source
from xxact.experiments.result import result_path
from xxact.training.readings import EARLY


def _estimate(*by_seed, sd=1.0, n=400, wave=np.sin):
    """Seeds with these means over n samples that spread by `sd`, alike for the same `wave`."""
    spread = sd * stats.zscore(wave(np.arange(n) ** 2))
    values = np.array(by_seed, float)[:, None] + spread
    return Estimate(np.array(by_seed, float), values)


def _comparison(better, worse, higher=True):
    return c.Comparison("x", better, worse, higher_is_better=higher)


HIGH, LOW = _estimate(90, 90.1, 89.9), _estimate(80, 80.1, 79.9)
NOISY = _estimate(80.1, 80.4, 79.7)  # on the same samples, seeds are all that is uncertain
CLOSE = _estimate(80.1, 80.4, 79.7, sd=5.0, wave=np.cos)


def _decided(*comparisons):
    claim = c.Claim("k", "s", comparisons)
    return c.decided([claim])[0]


def test_direction_and_doubt():
    assert _decided(_comparison(HIGH, LOW)).verdict == c.HOLDS
    assert _decided(_comparison(LOW, HIGH)).verdict == c.FAILS
    assert _decided(_comparison(LOW, HIGH, higher=False)).verdict == c.HOLDS
    assert _decided(_comparison(CLOSE, LOW)).verdict == c.UNDECIDED
    assert _decided(_comparison(None, LOW)).verdict == c.NOT_RUN


def test_a_share_of_an_error_and_a_least_value():
    low, high = _estimate(10.0, 10.1, 9.9), _estimate(20.0, 20.1, 19.9)
    share = c.combined([0.8], [high])
    aim = c.Comparison("x", low, share, higher_is_better=False, against=high)
    assert _decided(aim).verdict == c.HOLDS
    assert aim.ratio[0] == pytest.approx(0.5, rel=1e-3)
    assert aim.ratio[1] < 0.5 < aim.ratio[2]
    missed = c.Comparison("x", high, c.combined([0.8], [high]), higher_is_better=False)
    assert _decided(missed).verdict == c.FAILS
    assert missed.ratio is None
    assert _decided(_comparison(low, c.constant(9.0, low))).verdict == c.HOLDS
    assert _decided(_comparison(low, c.constant(11.0, low))).verdict == c.FAILS


def test_aims_are_judged_apart_from_the_papers_claims(whole):
    source = Source(whole, "mini")
    aims = {claim.key: claim for claim in c.claims(source, "aims")}
    stalls = {f"stalls_{change}" for change in c.EACH["changes"]}
    named = {"energy", "system", "fcn_mlp", "slope", "masked"}
    named |= {"labels", "labels_denoise", "labels_contrastive"}
    assert set(aims) == named | stalls
    assert not set(aims) & {claim.key for claim in c.claims(source)}
    (system,) = aims["system"].comparisons
    assert system.better.mean == pytest.approx(
        100 - source.values["open/system_grouped", "crystal_system/final"]["mean"], abs=0.2
    )
    assert aims["slope"].comparisons[0].worse.mean == 0.55


def test_all_must_hold_and_one_failure_is_enough():
    holds, fails, doubt = (_comparison(a, LOW) for a in (HIGH, _estimate(70, 71, 72), CLOSE))
    absent = _comparison(None, None)
    assert _decided(holds, holds).verdict == c.HOLDS
    assert _decided(holds, doubt).verdict == c.UNDECIDED
    assert _decided(holds, absent).verdict == c.NOT_RUN
    assert _decided(holds, doubt, absent, fails).verdict == c.FAILS


def test_many_comparisons_and_many_statements_cost():
    """p = 0.02 for the failure: enough alone, one of three not; and one of two statements not."""
    base = _estimate(0, sd=0.0)
    n = 400
    values = stats.zscore(np.sin(np.arange(n) ** 2), ddof=1) + stats.t.ppf(0.01, n - 1)
    values[:] = values - values.mean() + stats.t.ppf(0.01, n - 1) / np.sqrt(n)
    weak = _comparison(Estimate(values[None].mean(1), values[None]), base)
    assert weak.effect.p(-1) == pytest.approx(0.01, rel=0.01)
    holds = _comparison(HIGH, LOW)
    assert _decided(weak).verdict == c.FAILS
    assert _decided(weak, holds, holds).verdict == c.UNDECIDED
    alike = c.Claim("k", "s", (_comparison(CLOSE, LOW),))
    two = c.decided([c.Claim("k", "s", (weak,)), c.Claim("k", "s", (weak,)), alike])
    assert [claim.verdict for claim in two] == [c.UNDECIDED] * 3
    # what was not run takes nothing from the others
    absent = c.Claim("k", "s", (_comparison(None, None),))
    found = c.decided([c.Claim("k", "s", (weak,)), absent, absent])
    assert [claim.verdict for claim in found] == [c.FAILS, c.NOT_RUN, c.NOT_RUN]


def test_one_seed_is_labelled_and_doubt_says_what_would_decide_it():
    # the models share the samples, which differ in nothing: one seed decides about these runs
    one = _decided(_comparison(_estimate(90), _estimate(80)))
    assert (one.verdict, one.remark) == (c.HOLDS, "these runs: one seed")
    doubt = _decided(_comparison(CLOSE, LOW))
    assert "would take" in doubt.remark


def test_seeds_too_few_for_training_again_decide_about_these_runs():
    claim = _decided(_comparison(NOISY, LOW))
    assert claim.verdict == c.HOLDS
    assert claim.again.adjusted_p > c.LEVEL > claim.of_runs.adjusted_p
    said, seeds = claim.remark.removesuffix(" seeds").split("of training again it would take ")
    assert said == "these runs: 3 seeds; "
    # with as many seeds that spread as much it would be decided
    k = int(seeds)
    spread = stats.zscore(np.arange(k), ddof=1) * NOISY.by_seed.std(ddof=1)
    more = _decided(_comparison(_estimate(*(NOISY.mean + spread)), _estimate(*[80.0] * k)))
    assert (more.verdict, more.remark) == (c.HOLDS, "")


def _claims(root):
    return {claim.key: claim for claim in c.claims(Source(root, "mini"))}


@pytest.fixture(scope="module")
def found(whole):
    return _claims(whole)


def test_the_conclusions_of_the_paper_are_all_there(found):
    assert set(found) == {
        "fusion",
        *(f"{when}_{p}" for when in ("early", "final") for p in fabricate.PRETRAININGS),
        *(f"{what}{control}" for what in ("exponent", "gap") for control in ("", "_steps")),
        "silhouette_embedding",
        "silhouette_projection",
        "cubic",
    }
    runs = set(found["fusion"].runs)
    wanted = {f"table1/{m}_{t}" for m in ("crabnet", "xrd") for t in ("energy", "system")}
    assert runs == wanted | {"table2/none"}
    assert len(found["exponent"].runs) == 16


def test_verdicts_on_the_fabricated_tree(found):
    # as fabricated: fusion, exponents and gaps are as in the paper, the final values all alike
    for key in ("fusion", "early_contrastive_mxm", "exponent", "gap"):
        assert found[key].verdict == c.HOLDS, key
    assert found["final_mxm"].verdict != c.HOLDS
    assert found["fusion"].remark == ""
    assert found["early_contrastive_mxm"].remark == ""


def test_without_predictions_scores_are_compared(whole, found, tmp_path):
    fabricate.write_tree(tmp_path, "mini", fabricate.FIRST, keep=False)
    without = _claims(tmp_path)["fusion"]
    assert without.verdict == c.HOLDS
    assert without.remark == "no predictions kept"
    for own, paired in zip(without.comparisons, found["fusion"].comparisons, strict=True):
        assert own.effect.difference == pytest.approx(paired.effect.difference, rel=0.01)
        assert own.effect.sample_variance > paired.effect.sample_variance


@pytest.mark.parametrize("quantity", ["formation_energy_per_atom/p15", "crystal_system/p05"])
def test_early_scores_are_means_over_kept_samples(whole, quantity):
    estimate = Evidence(Source(whole, "mini")).score("table2/mxm", quantity)
    target, reading = quantity.split("/")
    for seed, found in enumerate(estimate.by_seed):
        curve = fabricate.make("table2/mxm", seed=seed)["curve"]
        (point,) = (p for p in curve if p["progress"] == EARLY[reading])
        (metric,) = set(point["test"][target]) - {"n"}
        assert found == pytest.approx(point["test"][target][metric], abs=0.2)
    assert estimate.values.shape == (3, 500)


def test_silhouettes_are_paired_by_sample(whole):
    evidence = Evidence(Source(whole, "mini"))
    sides = [evidence.score(run, "embedding/mean") for run in ("table2/mxm", "table2/none")]
    for k, side in enumerate(sides):
        result = fabricate.make(("table2/mxm", "table2/none")[k], seed=0)
        mean = result["embedding"]["silhouette"]["embedding"]["mean"]
        assert side.by_seed[0] == pytest.approx(mean, abs=1e-3)
    # as fabricated, samples lie about their mean alike in every run: pairing takes it all away
    assert sides[0].sample_variance > 0
    assert difference(*sides).sample_variance == pytest.approx(0, abs=1e-12)


def test_without_a_run_only_its_claims_are_not_run(results, found):
    for seed in (0, 1, 2):
        result_path(results, "mini", "table1/crabnet_energy", seed).unlink()
    after = _claims(results)
    # CrabNet on the whole training split is also the last point of the scaling experiment
    derived = {"fusion", "gap", "gap_steps", "exponent", "exponent_steps"}
    assert {after[key].verdict for key in derived} == {c.NOT_RUN}
    for key in set(found) - derived:
        assert after[key].again.p == found[key].again.p


def test_accuracy_of_a_class_is_a_mean_over_samples(whole):
    evidence = Evidence(Source(whole, "mini"))
    estimate = evidence.accuracy("table2/none", "cubic")
    kept = fabricate.make_predictions(fabricate.make("table2/none", seed=0))
    true, predicted = kept["crystal_system.true"], kept["crystal_system.predicted"]
    assert estimate.by_seed[0] == pytest.approx(100 * (predicted[true == 6] == 6).mean())
    np.testing.assert_allclose(estimate.values.mean(1), estimate.by_seed)
