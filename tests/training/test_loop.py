"""The training loop on a tiny store: reproducible, resumable, honest about what it cannot do."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from xxact.errors import UserError
from xxact.objectives import slot_losses
from xxact.training import loop
from xxact.training.loop import Training, evaluation_steps, training_rows
from xxact.training.signals import Stopped
from xxact.training.task import Supervised

GOLDEN = Path(__file__).parent / "golden_losses.json"
OBJECTIVES = ("supervised", "contrastive", "mxm", "contrastive+mxm")
#: Another way of drawing random numbers alters the losses of the second alone.
DROPOUTS = (0.0, 0.1)


def weights(training):
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def stop_after(training, step):
    """Make the run signal itself, as a cluster would, in the middle of step `step`."""
    original = training._step

    def step_and_signal(k):
        if k == step:
            os.kill(os.getpid(), signal.SIGUSR2)
        return original(k)

    training._step = step_and_signal


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_resumed_run_gives_the_weights_and_curve_of_an_uninterrupted_one(
    objective, make_spec, tiny_store, tmp_path, quiet
):
    spec = make_spec(objective=objective)
    whole = Training(spec, tiny_store, tmp_path / "whole", seed=1)
    whole.run(quiet(tmp_path / "whole"))
    folder = tmp_path / "stopped"
    for at in (1, 5):
        part = Training(spec, tiny_store, folder, seed=1)
        stop_after(part, at)
        with pytest.raises(Stopped, match=f"step {at + 1} of {whole.total}"):
            part.run(quiet(folder))
    rest = Training(spec, tiny_store, folder, seed=1)
    assert rest.state.step == 6
    rest.run(quiet(folder))
    assert_same(weights(whole), weights(rest))
    assert rest.state.curve == whole.state.curve
    assert rest.state.kept.keys() == whole.state.kept.keys()
    for reading, kept in whole.state.kept.items():
        assert_same(rest.state.kept[reading], kept)
    assert rest.state.restarts == 2


def test_bfloat16_is_reproducible_too(make_spec, tiny_store, tmp_path, quiet):
    spec = make_spec(precision="bfloat16", epochs=0.5)
    runs = []
    for name in ("a", "b"):
        runs.append(Training(spec, tiny_store, tmp_path / name, seed=0))
        runs[-1].run(quiet(tmp_path / name))
    assert_same(*(weights(run) for run in runs))


def test_another_seed_gives_another_run(make_spec, tiny_store, tmp_path):
    a, b = (Training(make_spec(), tiny_store, tmp_path, seed) for seed in (0, 1))
    assert float(a._step(0)) != float(b._step(0))


@pytest.mark.parametrize("dropout", DROPOUTS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_equal_the_committed_ones(objective, dropout, make_spec, tiny_store, tmp_path):
    """Golden losses: a change that should not alter results must not alter these."""
    spec = make_spec(objective=objective, dropout=dropout)
    training = Training(spec, tiny_store, tmp_path, seed=0)
    losses = [float(training._step(step)) for step in range(6)]
    golden = json.loads(GOLDEN.read_text())[objective][f"dropout {dropout}"]
    np.testing.assert_allclose(losses, golden, rtol=2e-4)


@pytest.mark.parametrize("objective", ["supervised", "contrastive"])
def test_training_lowers_the_loss(objective, make_spec, tiny_store, tmp_path, quiet):
    training = Training(make_spec(objective=objective, epochs=10), tiny_store, tmp_path, seed=0)
    training.run(quiet(tmp_path))
    assert training.state.curve[-1]["train_loss"] < 0.8 * training.state.curve[0]["train_loss"]


@pytest.mark.parametrize("loss", ["squared", "robust_l1"])
def test_crabnets_authors_train_the_deviation_too(loss, make_spec, tiny_store, tmp_path):
    spec = make_spec("crabnet", targets=("band_gap", "crystal_system"), regression_loss=loss)
    training = Training(spec, tiny_store, tmp_path, seed=0)
    slots = training.sampler.batch(0)
    (share,) = training.task.losses(training.engine, slots, training.micro_batches, None, 0)
    share().backward()
    gradient = training.model.heads["band_gap"].output.weight.grad  # (3, width)
    assert gradient.any(dim=1).tolist() == [True, loss == "robust_l1", True]


def test_masked_modelling_gets_better_than_the_untrained_model(
    make_spec, tiny_store, tmp_path, quiet
):
    """With masks that are the same before and after: those of a step weigh as much as training."""
    spec = make_spec(objective="mxm", epochs=20, optimizer={"peak_lr": 2e-2})
    training = Training(spec, tiny_store, tmp_path, seed=0)
    rows = tiny_store.indices("train")
    before = training.task.evaluate(training.engine, rows)[0]["objective"]["mxm"]
    training.run(quiet(tmp_path))
    assert training.task.evaluate(training.engine, rows)[0]["objective"]["mxm"] < 0.99 * before


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_pretraining_sees_every_training_sample_with_or_without_labels(
    objective, make_spec, tiny_store, tmp_path, monkeypatch
):
    values = type(tiny_store).values

    def half_of_them(store, target):
        return np.where(np.arange(store.n) % 2, values(store, target), np.nan)

    monkeypatch.setattr(type(tiny_store), "values", half_of_them)
    rows = tiny_store.indices("train")
    targets = ("band_gap",) if objective == "supervised" else ()
    spec = make_spec(objective=objective, targets=targets, batch_size=len(rows))
    seen = Training(spec, tiny_store, tmp_path, seed=0).sampler.batch(0).rows
    want = rows[rows % 2 == 1] if objective == "supervised" else rows
    assert np.array_equal(np.sort(seen), want)


def test_what_an_objective_does_not_use_stays_as_it_was(make_spec, tiny_store, tmp_path):
    training = Training(make_spec(objective="contrastive"), tiny_store, tmp_path, seed=0)
    before = weights(training)
    for step in range(3):
        training._step(step)
    after = weights(training)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert {"composition", "xrd"} <= changed
    assert not changed & {"fusion", "composition_bridge", "xrd_bridge", "mxm_head", "mask_token"}


def test_a_run_takes_over_all_weights_but_the_heads(make_spec, tiny_store, tmp_path, quiet):
    first = Training(make_spec(objective="mxm", epochs=0.5), tiny_store, tmp_path / "a", seed=0)
    first.run(quiet(tmp_path / "a"))
    second = Training(make_spec(), tiny_store, tmp_path / "b", seed=0, init=first.model_path)
    own = weights(second)
    for name, value in weights(first).items():
        if not name.startswith("heads."):
            assert torch.equal(value, own[name]), name


@pytest.mark.parametrize("kind", ["xxact_nn", "crabnet", "xrd_transformer"])
def test_transfer_trains_new_heads_alone(kind, make_spec, tiny_store, tmp_path, quiet, monkeypatch):
    energy = ("formation_energy_per_atom",)
    first = Training(make_spec(kind, targets=energy, epochs=0.5), tiny_store, tmp_path / "a", 0)
    first.run(quiet(tmp_path / "a"))
    spec = make_spec(kind, targets=("band_gap",), transfer=True, init="table1/a", epochs=3)
    second = Training(spec, tiny_store, tmp_path / "b", seed=0, init=first.model_path)
    before = weights(second)
    second.run(quiet(tmp_path / "b"))
    after = weights(second)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"heads.band_gap.weight", "heads.band_gap.bias"}

    # the trunk's features, computed once, are those of every step
    monkeypatch.setattr(Supervised, "fix_features", lambda task, engine: None)
    again = Training(spec, tiny_store, tmp_path / "c", seed=0, init=first.model_path)
    again.run(quiet(tmp_path / "c"))
    for name, value in weights(again).items():
        torch.testing.assert_close(value, after[name], rtol=1e-4, atol=1e-6)
    assert again.state.curve[-1]["test"]["band_gap"]["mae_ev"] == pytest.approx(
        second.state.curve[-1]["test"]["band_gap"]["mae_ev"], rel=1e-4
    )


def test_equal_steps_are_those_of_the_whole_training_part(make_spec, tiny_store, tmp_path):
    def steps(**changes):
        return Training(make_spec(batch_size=16, **changes), tiny_store, tmp_path, seed=0)

    whole, fraction = steps(), steps(train_fraction=0.4)
    equal = steps(train_fraction=0.4, equal_steps=True)
    assert fraction.total < 0.6 * whole.total
    assert equal.total == whole.total
    assert len(equal.train_rows) == len(fraction.train_rows) < 0.6 * len(whole.train_rows)
    rows = {row for step in range(equal.total) for row in equal.sampler.batch(step).rows}
    assert rows == set(equal.train_rows)


def test_samples_trained_on_all_targets_together_are_drawn_once(make_spec, tiny_store, tmp_path):
    apart = Training(make_spec(dropout=0), tiny_store, tmp_path / "apart", seed=0)
    spec = make_spec(dropout=0, together=True)
    training = Training(spec, tiny_store, tmp_path / "together", seed=0)
    one, other = (task.rows_by_task for task in (apart.task, training.task))
    np.testing.assert_array_equal(other[0], np.union1d(*one))
    assert training.sampler.slots_per_epoch == len(other[0]) < apart.sampler.slots_per_epoch
    # Some of the samples have no energy: theirs is the loss of the crystal system alone.
    slots, model = training.sampler.batch(0), training.model
    outputs = model(training.task.data.gather(slots.rows))
    want = 0.0
    for name in spec.targets:
        values = training.task.values[name][torch.from_numpy(slots.rows)]
        known = torch.from_numpy(np.isin(slots.rows, one[spec.targets.index(name)]))
        losses = slot_losses(outputs[name][known], values[known], spec.regression_weight)
        want += losses.sum().item() / len(slots.rows)
    assert training._step(0).item() == pytest.approx(want, rel=1e-5)


def test_each_seed_trains_on_a_nested_subset_of_its_own(tiny_store):
    small, large = (
        [set(training_rows(tiny_store, fraction, seed)) for seed in (0, 1)]
        for fraction in (0.3, 0.6)
    )
    assert small[0] != small[1]
    assert all(a < b for a, b in zip(small, large, strict=True))
    whole = [training_rows(tiny_store, 1.0, seed).tolist() for seed in (0, 1)]
    assert whole[0] == whole[1] == tiny_store.indices("train").tolist()


def test_weights_of_another_size_are_refused(make_spec, tiny_store, tmp_path, quiet):
    small = Training(make_spec(epochs=0.5), tiny_store, tmp_path / "a", seed=0)
    small.run(quiet(tmp_path / "a"))
    spec = make_spec()
    wider = dataclasses.replace(spec.model.fusion, feedforward=64)
    spec = spec.model_copy(update={"model": dataclasses.replace(spec.model, fusion=wider)})
    with pytest.raises(UserError, match="does not fit this model: fusion"):
        Training(spec, tiny_store, tmp_path / "b", seed=0, init=small.model_path)


def test_a_loss_that_is_not_finite_stops_the_run(
    make_spec, tiny_store, tmp_path, quiet, monkeypatch
):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    training = Training(make_spec(), tiny_store, tmp_path, seed=0)
    original = training._step
    training._step = lambda k: original(k) * (float("nan") if k == 3 else 1)
    first = tiny_store.ids[training.sampler.batch(3).rows[0]].decode()
    with pytest.raises(UserError, match=rf"nan at step 3 .*{first}.*checkpoint\.pt, step 3"):
        training.run(quiet(tmp_path))
    assert not training.model_path.exists()


def test_a_missing_target_and_a_missing_pattern_are_named(make_spec, tiny_store, tmp_path):
    with pytest.raises(UserError, match=r"no target 'bulk_modulus'.*band_gap"):
        Training(make_spec(targets=("bulk_modulus",)), tiny_store, tmp_path, seed=0)


def test_evaluations_fall_on_the_papers_percentages():
    steps = evaluation_steps(1000, 40)
    assert {50, 150, 250, 1000} <= steps
    assert len(steps) == 40
    assert max(evaluation_steps(7, 40)) == 7
