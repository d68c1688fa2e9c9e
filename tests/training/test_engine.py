"""Engines: what they are asked for decides how a run is computed, not what comes out."""

from functools import partial

import pytest
import torch
import torch.distributed as dist

from xxact import objectives
from xxact.errors import UserError
from xxact.training.distributed import World
from xxact.training.loop import Training

KINDS = ("xxact_nn", "crabnet", "xrd_transformer")


def steps(spec, store, folder, n=3):
    """Losses of the first `n` steps, and the training."""
    training = Training(spec, store, folder, seed=0)
    return [float(training._step(step)) for step in range(n)], training


@pytest.mark.parametrize("objective", ["supervised", "contrastive+mxm"])
def test_checkpointed_activations_change_nothing(objective, make_spec, tiny_store, tmp_path):
    """Not even the dropout, which is drawn again in the backward pass."""
    plain, _ = steps(make_spec(objective=objective), tiny_store, tmp_path)
    engine = {"activation_checkpointing": True}
    again, _ = steps(make_spec(objective=objective, engine=engine), tiny_store, tmp_path)
    assert again == plain


@pytest.mark.parametrize("kind", ["xxact_nn", "crabnet"])
def test_compiled_blocks_change_nothing(kind, make_spec, tiny_store, tmp_path, monkeypatch):
    """Traced by the compiler, and run as traced: what it makes of that is not ours."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    plain, _ = steps(make_spec(kind=kind, dropout=0.0), tiny_store, tmp_path)
    spec = make_spec(kind=kind, dropout=0.0, engine={"compile": True})
    compiled, _ = steps(spec, tiny_store, tmp_path)
    assert compiled == pytest.approx(plain, rel=1e-5)


def test_dropout_is_the_same_when_embeddings_are_computed_twice(make_spec, tiny_store, tmp_path):
    """Accumulated gradients against those of one graph that holds all micro-batches."""
    spec = make_spec(objective="contrastive", dropout=0.3, engine={"micro_batch": 12})
    _, training = steps(spec, tiny_store, tmp_path, n=1)
    moments = training.engine.state()["optimizer"]["exp_avg"]

    naive = Training(spec, tiny_store, tmp_path, seed=0)
    slots, model = naive.sampler.batch(0), naive.model.train()
    pairs = []
    for micro_batch in naive.micro_batches:
        torch.manual_seed(1_000_000_007 * micro_batch.number)
        batch = naive.task.data.gather(slots.rows[micro_batch.slots])
        pairs.append(objectives.paired_embeddings(model, batch, "contrastive"))
    c, x = (torch.cat(embeddings) for embeddings in zip(*pairs, strict=True))
    objectives.contrastive_loss(c, x, model.temperature).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected = 0.1 * parameter.grad  # after one step, with the first beta of 0.9
            largest = float(expected.abs().max())
            torch.testing.assert_close(moments[name], expected, rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.parametrize("objective", ["supervised", "contrastive", "mxm", "contrastive+mxm"])
def test_every_trained_parameter_gets_a_gradient(objective, make_spec, tiny_store, tmp_path):
    """ZeRO would let the weights of one without decay, where AdamW leaves it alone."""
    training = Training(make_spec(objective=objective), tiny_store, tmp_path, seed=0)
    assert_all_have_gradients(training)


@pytest.mark.parametrize("kind", KINDS)
def test_so_does_that_of_every_model(kind, make_spec, tiny_store, tmp_path):
    training = Training(make_spec(kind), tiny_store, tmp_path, seed=0)
    assert_all_have_gradients(training)


def assert_all_have_gradients(training):
    training.engine._update = lambda: None
    training._step(0)
    for name, parameter in training.model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_deepspeed_in_one_process_gives_the_same(make_spec, tiny_store, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    plain, one = steps(make_spec(), tiny_store, tmp_path)
    try:
        zero, other = steps(make_spec(engine={"kind": "deepspeed"}), tiny_store, tmp_path)
        moments = other.engine.state()["optimizer"]["exp_avg"]
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    assert zero == pytest.approx(plain, rel=1e-6)
    for name, moment in one.engine.state()["optimizer"]["exp_avg"].items():
        torch.testing.assert_close(moments[name], moment)


def test_convolutions_in_float32_are_not_rounded_to_tf32(
    make_spec, tiny_store, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    Training(make_spec("fcn", precision="float32"), tiny_store, tmp_path, seed=0)
    assert not torch.backends.cudnn.allow_tf32


def test_plain_pytorch_refuses_several_processes(make_spec, tiny_store, tmp_path):
    spec = make_spec(engine={"kind": "torch"})
    with pytest.raises(UserError, match="'auto' or 'deepspeed'"):
        Training(spec, tiny_store, tmp_path, seed=0, world=World(0, 2))


def test_a_batch_that_is_too_small_for_the_processes_is_refused(make_spec, tiny_store, tmp_path):
    spec = make_spec(batch_size=5)
    with pytest.raises(UserError, match=r"batch of 5 cannot be cut .* 8 processes"):
        Training(spec, tiny_store, tmp_path, seed=0, world=World(0, 8))
