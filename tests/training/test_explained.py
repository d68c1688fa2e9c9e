"""The part of the variance that masked modelling explains, against a loop over masked windows."""

import numpy as np
import pytest
import torch

from xxact import objectives
from xxact.objectives import Reconstruction
from xxact.training.distributed import World
from xxact.training.explained import SCALES, ExplainedVariance, mean_windows
from xxact.training.loop import Training
from xxact.training.task import EVALUATION_SEED
from xxact.xrd.instrument import draw

IDENTITY_AND_ROOT = (lambda x: x, np.sqrt)


def naive(rebuilt, pattern, mask, means):
    """Scores of windows (B, 17, 250), with masks (B, 17) and means (2, 17, 250)."""
    scores = []
    for scale, mean in zip(IDENTITY_AND_ROOT, means, strict=True):
        of_model = of_mean = 0.0
        for sample, window in zip(*np.nonzero(mask), strict=True):
            true = scale(pattern[sample, window])
            of_model += ((scale(rebuilt[sample, window]) - true) ** 2).sum()
            of_mean += ((mean[window] - true) ** 2).sum()
        scores.append(1 - of_model / of_mean)
    return scores


@pytest.mark.parametrize("objective", ["mxm", "contrastive+mxm"])
@pytest.mark.parametrize("micro_batch", [None, 5])
def test_scores_of_a_pretraining(objective, micro_batch, make_spec, tiny_store, tmp_path):
    spec = make_spec(objective=objective, engine={"micro_batch": micro_batch})
    training = Training(spec, tiny_store, tmp_path, seed=0)
    task, rows = training.task, tiny_store.indices("validation")
    scores = task.evaluate(training.engine, rows)[0]["objective"]

    def patterns(rows):
        return task.data.gather(rows).pattern.double().numpy().reshape(-1, 17, 250)

    means = [scale(patterns(training.train_rows)).mean(axis=0) for scale in IDENTITY_AND_ROOT]
    assert len(rows) <= spec.batch_size
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    mask = objectives.draw_mask(generator, len(rows), 17, spec.mask_fraction)
    model, batch = training.model.eval(), task.data.gather(rows)
    with torch.no_grad():
        fused = model.fuse(model.encode_xrd(batch.pattern, mask), model.encode_composition(batch))
        rebuilt = model.mxm_head(fused[:, 1:]).relu().double().numpy()
    want = naive(rebuilt, patterns(rows), mask.numpy(), means)
    assert [scores[name] for name in SCALES] == pytest.approx(want, rel=1e-4, abs=1e-5)
    assert scores["n"] == len(rows)


def test_scores_of_clean_patterns_from_degraded_ones(make_spec, tiny_store, tmp_path):
    """At the masked windows and at the others, of what the same measurements are of."""
    spec = make_spec("xxact_conv", objective="mxm", degraded=True, mask_fraction=0.5)
    training = Training(spec, tiny_store, tmp_path, seed=0)
    task, rows = training.task, tiny_store.indices("validation")
    scores = task.evaluate(training.engine, rows)[0]["objective"]
    assert len(rows) <= spec.batch_size
    drawn = draw(EVALUATION_SEED, len(rows))
    clean = task.data.calculated(rows, drawn).double().numpy().reshape(-1, 85, 50)
    trained_on = task.data.gather(training.train_rows).pattern.double().numpy()
    means = [scale(trained_on.reshape(-1, 85, 50)).mean(axis=0) for scale in IDENTITY_AND_ROOT]
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    mask = objectives.draw_mask(generator, len(rows), 85, spec.mask_fraction)
    model, batch = training.model.eval(), task.data.gather(rows, degrade=drawn)
    assert batch.pattern.isnan().any()
    with torch.no_grad():
        fused = model.fuse(model.encode_xrd(batch.pattern, mask), model.encode_composition(batch))
        rebuilt = model.mxm_head(fused[:, 1:]).relu().flatten(1)[:, :4250]  # the rest is padding
        rebuilt = rebuilt.double().numpy().reshape(-1, 85, 50)
    for of, windows in (("", mask), ("_shown", ~mask)):
        want = naive(rebuilt, clean, windows.numpy(), means)
        got = [scores[name + of] for name in SCALES]
        assert got == pytest.approx(want, rel=1e-4, abs=1e-5)
    assert scores["mxm"] == pytest.approx(((rebuilt - clean) ** 2).mean(), rel=1e-4)


def test_contrastive_pretraining_explains_nothing(make_spec, tiny_store, tmp_path):
    training = Training(make_spec(objective="contrastive"), tiny_store, tmp_path, seed=0)
    scores = training.task.evaluate(training.engine, tiny_store.indices("test"))[0]["objective"]
    assert scores.keys() == {"loss", "contrastive", "n"}


def in_windows(pattern):
    return pattern.unflatten(-1, (17, 250))


def test_means_are_those_of_all_rows_whatever_the_blocks(tiny_store, monkeypatch):
    from xxact.data.batches import DeviceStore
    from xxact.training import explained

    data, rows = DeviceStore(tiny_store), np.arange(50)
    whole = mean_windows(data, rows, in_windows)
    monkeypatch.setattr(explained, "BLOCK", 7)
    torch.testing.assert_close(mean_windows(data, rows, in_windows), whole, rtol=1e-12, atol=0)
    pattern = in_windows(data.gather(rows).pattern.double())
    torch.testing.assert_close(whole, torch.stack((pattern.mean(0), pattern.sqrt().mean(0))))


@pytest.mark.parametrize(("quality", "want"), [("perfect", [1, 1]), ("mean", [0, None])])
def test_a_perfect_model_has_one_and_the_mean_pattern_none(quality, want):
    """The root of a mean is not the mean of roots: that scale is left out there."""
    pattern = 100 * torch.rand(4, 4250, generator=torch.Generator().manual_seed(0))
    windows = in_windows(pattern)
    means = torch.stack((windows.double().mean(0), windows.double().sqrt().mean(0)))
    prediction = windows if quality == "perfect" else means[0].expand(4, -1, -1)
    explained = ExplainedVariance(means)
    places = torch.arange(17).expand(4, -1)
    mask = torch.ones(4, 17, dtype=torch.bool)
    explained.add(Reconstruction(prediction, windows, places, mask))
    scores = explained.scores(World())
    for name, expected in zip(SCALES, want, strict=True):
        assert expected is None or scores[name] == pytest.approx(expected, abs=1e-6)


def test_windows_that_do_not_vary_have_no_score():
    explained = ExplainedVariance(torch.zeros(2, 17, 250, dtype=torch.float64))
    assert set(explained.scores(World()).values()) == {None}


def test_dead_are_the_values_that_no_sample_has_where_it_was_masked():
    prediction = torch.zeros(3, 2, 250)
    prediction[0, 0, :50] = 1.0  # window 3
    prediction[1, 0, 50:60] = 1.0  # window 3 again
    prediction[2, 1, :] = 1.0  # window 4, which is not masked there
    places = torch.tensor([[3, 4], [3, 4], [3, 4]])
    mask = torch.tensor([[True, True], [True, False], [True, False]])
    explained = ExplainedVariance(torch.zeros(2, 17, 250, dtype=torch.float64))
    explained.add(Reconstruction(prediction, torch.ones(3, 2, 250), places, mask))
    assert explained.scores(World())["mxm_dead_share"] == pytest.approx((190 + 250) / 500)
