"""Several processes, ZeRO stages and accumulation give the numbers of one pass in one process.

Two groups of processes go through everything one after the other, since starting them is slow.
"""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.training import processes
from xxact.errors import UserError

#: What is trained: changes to the tiny spec, dropout off.
OBJECTIVES = {
    "two targets": {},
    "one target": {"kind": "crabnet", "targets": ("formation_energy_per_atom",)},
    "convolutions": {"kind": "fcn_mlp", "targets": ("formation_energy_per_atom",)},
    "contrastive": {"objective": "contrastive"},
    "mxm": {"objective": "mxm"},
    "contrastive+mxm": {"objective": "contrastive+mxm"},
}
STEPS = 3
CHAIN = "contrastive+mxm"


def train(world, store, spec, init=None) -> dict:
    """Losses of a few steps, and AdamW's moments and the scores after them."""
    from xxact.training import evaluation
    from xxact.training.loop import Training

    evaluation.BATCH_SIZE = 50  # several batches to share out
    training = Training(spec, store, Path("/nonexistent"), 0, init, world)
    losses = [float(world.sum(training._step(step))) for step in range(STEPS)]
    optimizer = training.engine.state()["optimizer"]
    assert optimizer.pop("steps") == STEPS
    scores = training.task.evaluate(training.engine, store.indices("train"))[0]
    return {"losses": losses, "scores": scores, **optimizer}


def interrupt(world, store, spec, folder, rank, step) -> str:
    """Train from where `folder` is until `rank` gets a signal in `step`; why the run ended."""
    from xxact.training.loop import Training
    from xxact.training.progress import Progress
    from xxact.training.signals import Stopped

    training = Training(spec, store, folder, seed=0, world=world)
    original = training._step

    def step_and_signal(k):
        if k == step and world.rank == rank:
            os.kill(os.getpid(), signal.SIGUSR2)
        return original(k)

    training._step = step_and_signal
    try:
        training.run(Progress(folder, show=False))
    except (Stopped, UserError) as error:
        return str(error)
    return "finished"


def in_a_pair(data, specs, transfer, chain, folder) -> dict:
    """All that two processes are asked to do; the same in each."""
    from xxact.data import open_store
    from xxact.training.distributed import joined
    from xxact.training.loop import Training

    store = open_store(data)
    with joined() as world:
        done = {name: train(world, store, spec) for name, spec in specs.items()}
        done["transfer"] = train(world, store, *transfer)
        done["stopped"] = interrupt(world, store, chain, folder, rank=1, step=2)
        training = Training(chain, store, folder / "log.txt", seed=0, world=world)  # no folder
        training._step(0)
        done["unwritable"] = _message(training.save)
        own = folder if world.is_first else folder / "elsewhere"
        done["apart"] = _message(lambda: Training(chain, store, own, seed=0, world=world))
    return done


def in_four(data, specs, chain, folder) -> dict:
    """All that four processes are asked to do; one of them does not live to the end."""
    from xxact.data import open_store
    from xxact.training.distributed import joined
    from xxact.training.loop import Training
    from xxact.training.progress import Progress

    store = open_store(data)
    done = {}
    try:
        with joined() as world:
            done |= {name: train(world, store, spec) for name, spec in specs.items()}
            training = Training(chain, store, folder, seed=0, world=world)
            done["begins"] = training.state.step
            training.run(Progress(folder, show=False))
            done["curve"] = training.state.curve
            training = Training(chain, store, folder / "none", seed=0, world=world)
            training._step(0)
            if world.rank == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            for step in range(1, 100):
                training._step(step)
    except RuntimeError as error:
        done["abandoned"] = str(error)
    return done


def _message(action) -> str | None:
    try:
        action()
    except UserError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def groups(make_spec, tiny_data, tiny_store, tmp_path_factory):
    """What one process, two and four found; a run passes from two over one to four."""
    import torch

    from xxact.training.distributed import World
    from xxact.training.loop import Training
    from xxact.training.progress import Progress

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("groups")

    def spec(name, **engine):
        return make_spec(**OBJECTIVES[name], dropout=0.0, engine=engine)

    pair = {name: spec(name) for name in OBJECTIVES}
    for stage in (0, 2):
        for name in ("two targets", CHAIN):
            pair[f"{name}, ZeRO {stage}"] = spec(name, zero_stage=stage, micro_batch=5)
    low = make_spec(precision="bfloat16", dropout=0.0)
    pair["bfloat16"] = low
    four = {name: spec(name, micro_batch=3) for name in OBJECTIVES}
    alone = {name: train(World(), tiny_store, spec(name)) for name in OBJECTIVES}
    alone |= {
        f"{name}, parts": train(World(), tiny_store, spec(name, micro_batch=5))
        for name in OBJECTIVES
    }
    chain = spec(CHAIN)
    whole = Training(chain, tiny_store, folder / "whole", seed=0)
    (folder / "whole").mkdir()
    whole.run(Progress(folder / "whole", show=False))
    heads = make_spec(targets=("band_gap",), transfer=True, init="table1/any", dropout=0.0)
    transfer = heads, whole.model_path
    alone["transfer"] = train(World(), tiny_store, *transfer)
    alone["bfloat16"] = train(World(), tiny_store, low)
    (folder / "chain").mkdir()
    two = processes.run(
        2, folder / "two", in_a_pair, tiny_data, pair, transfer, chain, folder / "chain"
    )
    halfway = interrupt(World(), tiny_store, chain, folder / "chain", rank=0, step=5)
    last = processes.run(4, folder / "four", in_four, tiny_data, four, chain, folder / "chain")
    return SimpleNamespace(alone=alone, two=two, four=last, halfway=halfway, whole=whole)


def assert_equal(found, expected):
    """Losses, both moments of every parameter and scores agree within rounding."""
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-5)
    for target, score in expected["scores"].items():
        assert found["scores"][target] == pytest.approx(score, rel=1e-3)
    for key in ("exp_avg", "exp_avg_sq"):
        assert found[key].keys() == expected[key].keys()
        for name, value in expected[key].items():
            largest = float(value.abs().max())
            np.testing.assert_allclose(
                found[key][name], value, rtol=1e-3, atol=1e-5 * largest + 1e-12, err_msg=name
            )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_micro_batches_give_the_gradients_of_the_whole(groups, name):
    assert_equal(groups.alone[f"{name}, parts"], groups.alone[name])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_give_the_losses_and_gradients_of_one(groups, name):
    assert_equal(groups.two[0][name], groups.alone[name])
    assert groups.two[1][name]["losses"] == groups.two[0][name]["losses"]


def test_two_processes_train_heads_alone_too(groups):
    assert_equal(groups.two[0]["transfer"], groups.alone["transfer"])


@pytest.mark.parametrize("stage", [0, 2])
@pytest.mark.parametrize("name", ["two targets", CHAIN])
def test_so_do_other_stages_with_accumulation(groups, name, stage):
    assert_equal(groups.two[0][f"{name}, ZeRO {stage}"], groups.alone[name])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_four_processes_with_micro_batches_of_unequal_size_do_too(groups, name):
    assert_equal(groups.four[0][name], groups.alone[name])


def test_autocast_rounds_in_several_processes_as_in_one(groups):
    losses = groups.alone["bfloat16"]["losses"]
    assert losses != groups.alone["two targets"]["losses"]
    np.testing.assert_allclose(groups.two[0]["bfloat16"]["losses"], losses, rtol=1e-2)


def test_a_signal_to_one_process_stops_both_at_the_same_step(groups):
    total = groups.whole.total
    expected = f"stopped at step 3 of {total}; the same command goes on from there"
    assert [rank["stopped"] for rank in groups.two] == [expected, expected]


def test_a_run_goes_on_in_another_number_of_processes_and_the_other_engine(groups):
    assert groups.halfway.startswith("stopped at step 6 of")
    assert [rank["begins"] for rank in groups.four[:3]] == [6, 6, 6]
    curve, expected = groups.four[0]["curve"], groups.whole.state.curve
    assert [entry["step"] for entry in curve] == [entry["step"] for entry in expected]
    for entry, other in zip(curve, expected, strict=True):
        assert entry["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
        for split in ("validation", "test"):
            assert entry[split]["objective"] == pytest.approx(other[split]["objective"], rel=1e-3)
    assert groups.four[1]["curve"] == curve


def test_a_checkpoint_that_cannot_be_written_is_an_error_in_all_processes(groups):
    first, second = (rank["unwritable"] for rank in groups.two)
    assert first == second
    assert "log.txt" in first


def test_processes_that_see_other_checkpoints_refuse_to_start(groups):
    assert all("different checkpoints" in rank["apart"] for rank in groups.two)


def test_processes_do_not_wait_for_a_dead_one(groups):
    assert groups.four[3] is None
    assert all(rank["abandoned"] for rank in groups.four[:3])
