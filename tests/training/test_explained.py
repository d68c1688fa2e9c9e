"""The part of the variance that masked modelling explains, against a loop over masked windows."""

import numpy as np
import pytest
import torch

from xxact import objectives
from xxact.objectives import Reconstruction
from xxact.training.distributed import World
from xxact.training.explained import SCALES, ExplainedVariance, mean_patterns
from xxact.training.loop import Training
from xxact.training.task import EVALUATION_SEED

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
        rebuilt = model.reconstruct(fused[:, 1:]).double().numpy()
    want = naive(rebuilt, patterns(rows), mask.numpy(), means)
    assert [scores[name] for name in SCALES] == pytest.approx(want, rel=1e-4, abs=1e-5)
    assert scores["n"] == len(rows)


def test_contrastive_pretraining_explains_nothing(make_spec, tiny_store, tmp_path):
    training = Training(make_spec(objective="contrastive"), tiny_store, tmp_path, seed=0)
    scores = training.task.evaluate(training.engine, tiny_store.indices("test"))[0]["objective"]
    assert scores.keys() == {"loss", "contrastive", "n"}


def test_means_are_those_of_all_rows_whatever_the_blocks(tiny_store, monkeypatch):
    from xxact.data.batches import DeviceStore
    from xxact.training import explained

    data, rows = DeviceStore(tiny_store), np.arange(50)
    whole = mean_patterns(data, rows)
    monkeypatch.setattr(explained, "BLOCK", 7)
    torch.testing.assert_close(mean_patterns(data, rows), whole, rtol=1e-12, atol=0)
    pattern = data.gather(rows).pattern.double()
    torch.testing.assert_close(whole, torch.stack((pattern.mean(0), pattern.sqrt().mean(0))))


@pytest.mark.parametrize(("quality", "want"), [("perfect", [1, 1]), ("mean", [0, None])])
def test_a_perfect_model_has_one_and_the_mean_pattern_none(quality, want):
    """The root of a mean is not the mean of roots: that scale is left out there."""
    pattern = 100 * torch.rand(4, 4250, generator=torch.Generator().manual_seed(0))
    means = torch.stack((pattern.double().mean(0), pattern.double().sqrt().mean(0)))
    windows = pattern.view(4, 17, 250)
    prediction = windows if quality == "perfect" else means[0].view(17, 250).expand(4, -1, -1)
    explained = ExplainedVariance(means, 17)
    places = torch.arange(17).expand(4, -1)
    mask = torch.ones(4, 17, dtype=torch.bool)
    explained.add(Reconstruction(prediction, windows, places, mask))
    for got, expected in zip(explained.scores(World()).values(), want, strict=True):
        assert expected is None or got == pytest.approx(expected, abs=1e-6)


def test_windows_that_do_not_vary_have_no_score():
    explained = ExplainedVariance(torch.zeros(2, 4250, dtype=torch.float64), 17)
    assert set(explained.scores(World()).values()) == {None}
