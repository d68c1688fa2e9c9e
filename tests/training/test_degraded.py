"""Training on degraded patterns: new ones at every step, the same ones whenever it is scored."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from xxact.data import DeviceStore
from xxact.models.xrd import XRDTransformer
from xxact.training.loop import Training
from xxact.training.task import EVALUATION_SEED
from xxact.training.trained import Trained
from xxact.xrd.instrument import column, draw


@pytest.fixture
def gathered(monkeypatch):
    """What the patterns of each batch that is gathered are made of."""
    calls, gather = [], DeviceStore.gather

    def spy(self, *arguments, degrade=None, **options):
        calls.append(degrade)
        return gather(self, *arguments, degrade=degrade, **options)

    monkeypatch.setattr(DeviceStore, "gather", spy)
    return calls


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "contrastive"},
        {"objective": "contrastive+mxm"},
        {"transfer": True, "init": "table2/mxm"},
        {"kind": "crabnet"},
    ],
)
def test_what_cannot_be_trained_on_degraded_patterns_is_refused(make_spec, changes):
    with pytest.raises(ValidationError, match="degraded"):
        make_spec(**changes, degraded=True)


@pytest.mark.parametrize("reads_unmeasured", [False, True])
def test_each_step_has_its_own_draws_and_cuts_are_for_those_who_read_them(
    make_spec, tiny_store, tmp_path, gathered, monkeypatch, reads_unmeasured
):
    monkeypatch.setattr(XRDTransformer, "reads_unmeasured", reads_unmeasured)
    training = Training(make_spec("xrd_transformer", degraded=True), tiny_store, tmp_path, 0)
    monkeypatch.setattr(XRDTransformer, "features", lambda self, batch: batch.pattern[:, None, :16])
    slots = [training.sampler.batch(step) for step in (0, 1)]
    for step in (0, 1, 0):
        for share in training.task.losses(
            training.engine, slots[step], training.micro_batches, None, step
        ):
            share()
    first, second, again = gathered
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert (column(first, "last_deg") < 90).any() == reads_unmeasured


@pytest.mark.parametrize("kind", ["xxact_nn", "xxact_conv"])
def test_masked_modelling_has_its_own_draws_at_each_step(
    make_spec, tiny_store, tmp_path, gathered, kind
):
    spec = make_spec(kind, objective="mxm", degraded=True, engine={"micro_batch": 12})
    training = Training(spec, tiny_store, tmp_path, 0)
    generator = torch.Generator().manual_seed(0)
    for step in (0, 1):
        slots = training.sampler.batch(step)
        shares = training.task.losses(
            training.engine, slots, training.micro_batches, generator, step
        )
        assert all(share().isfinite() for share in shares)
    cut = kind == "xxact_conv"
    want = [draw(step, spec.batch_size, cut=cut) for step in (0, 1)]
    assert np.array_equal(np.concatenate(gathered), np.concatenate(want))


def test_scores_are_of_the_same_measurements_each_time_and_of_a_saved_run(
    make_spec, tiny_store, tmp_path, quiet, gathered
):
    spec = make_spec("xrd_transformer", degraded=True, epochs=1, evaluations=1)
    training = Training(spec, tiny_store, tmp_path, 0)
    training.run(quiet(tmp_path))
    rows = tiny_store.indices("test")
    scored = training.state.curve[-1]["test"]
    trained = Trained(tmp_path, tiny_store)
    true = {target.name: trained.true_values(target)[rows] for target in trained.targets}
    gathered.clear()
    outputs = {choice: trained.predict(rows, choice) for choice in (None, True, False)}
    expected = draw(EVALUATION_SEED, len(rows), cut=False)
    assert np.array_equal(gathered[0], expected)
    assert np.array_equal(gathered[1], expected)
    assert gathered[2] is None
    for name, score in trained.score(outputs[None], true).items():
        assert score == pytest.approx(scored[name], rel=1e-5)
    assert not np.array_equal(outputs[True]["crystal_system"], outputs[False]["crystal_system"])


@pytest.mark.parametrize(
    ("kind", "objective"), [("xrd_transformer", "supervised"), ("xxact_conv", "mxm")]
)
def test_micro_batches_are_measured_as_the_whole_batch_is(
    make_spec, tiny_store, tmp_path, kind, objective
):
    sums = []
    for size in (None, 5):
        changes = {"objective": objective, "degraded": True, "engine": {"micro_batch": size}}
        spec = make_spec(kind, dropout=0.0, **changes)
        generator = torch.Generator().manual_seed(0)
        training = Training(spec, tiny_store, tmp_path, 0)
        training.model.train()
        slots = training.sampler.batch(0)
        shares = training.task.losses(training.engine, slots, training.micro_batches, generator, 0)
        with torch.no_grad():
            sums.append(sum(float(share()) for share in shares))
    assert sums[0] == pytest.approx(sums[1], rel=1e-4)
