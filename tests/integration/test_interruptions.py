"""Runs interrupted at random moments end with the numbers of the uninterrupted run.

XXACT_INTERRUPTED_RUNS=20 python -m pytest tests/integration/test_interruptions.py   (half an hour)

Each run is a job of one or two processes that is interrupted up to three times: by SIGKILL of
its processes, by SIGUSR2 as at a preemption, or by its time limit. Three moments in ten fall into
the time before its first step, the others on any step to the last and a fraction of a second on.
"""

from __future__ import annotations

import os
import random
import time

import pytest
import torch

from tests.integration.harness import (
    ENDED,
    kill,
    measured,
    result_path,
    run_folder,
    step_of,
    wait_for,
)
from xxact.experiments.result import read_result
from xxact.experiments.suite import CHECKPOINT, OWN_FILES

pytestmark = pytest.mark.slurm

RUNS = int(os.environ.get("XXACT_INTERRUPTED_RUNS", 4))
ROW = "table2/none"
WAYS = ("kill", "preempt", "time limit")


@pytest.fixture(scope="module")
def whole(project, tmp_path_factory):
    """By scale: the result of an uninterrupted run, and the seconds before its first step."""
    runs = tmp_path_factory.mktemp("whole")
    found = {}
    for scale in ("one", "two"):
        id = project.submit("--only", "none", scale=scale, runs=runs)[ROW]
        wait_for(lambda id=id: started(project.slurm, id), f"job {id} to start")
        began = time.monotonic()
        wait_for(lambda scale=scale: step_of(runs, ROW, scale), "the first step")
        seconds = time.monotonic() - began
        found[scale] = project.finish(ROW, id, runs, scale), seconds
    return found


@pytest.mark.parametrize("k", range(RUNS))
def test_interrupted_at_random_it_ends_in_the_same_numbers(k, project, slurm, whole, tmp_path):
    dice = random.Random(k)
    scale = ("one", "two")[k % 2]
    expected, start_s = whole[scale]
    # each way comes first in turn, the others as the dice fall
    ways = [WAYS[k // 2 % 3], *dice.choices(WAYS, k=dice.randrange(3))]
    id = project.submit("--only", "none", scale=scale, runs=tmp_path)[ROW]
    told = []
    for way in ways:
        wait_for(lambda id=id: started(slurm, id), f"job {id} to start")
        if dice.random() < 0.3:
            time.sleep(start_s * dice.random())
        else:
            step = dice.randrange(expected.cost.steps + 1)
            wait_for(lambda id=id, step=step: reached(step, slurm, id, tmp_path, scale), "a step")
            time.sleep(0.5 * dice.random())
        told.append(f"{way} at step {step_of(tmp_path, ROW, scale)}")
        id = interrupt(way, id, project, tmp_path, scale)
        check_nothing_is_half_written(tmp_path, scale)
    print(f"\nrun {k}, scale {scale}: {', '.join(told)}")
    result = project.finish(ROW, id, tmp_path, scale)
    assert measured(result) == measured(expected)
    folder = run_folder(tmp_path, ROW, scale)
    left = {path.name for path in folder.iterdir()} | {CHECKPOINT}  # killed after its result
    assert left == {"lock", "slurm", *OWN_FILES}


def started(slurm, id):
    """Whether a job's processes are there, if only just; before, a signal would reach nobody."""
    return slurm.tasks(id) or slurm.state(id) in ENDED


def reached(step, slurm, id, runs, scale):
    """Whether a run has come to a step, or its job is over."""
    return step_of(runs, ROW, scale) >= step or slurm.state(id) in ENDED


def interrupt(way, id, project, runs, scale):
    """Interrupt job `id`, and start what follows it; the id of that job."""
    slurm = project.slurm
    if slurm.ended(id):
        return id
    if way == "kill":
        for pid in slurm.tasks(id).values():
            kill(pid)
    elif way == "preempt":
        slurm.command("scancel", "--signal=USR2", id)
    else:
        slurm.reach_time_limit(id)
    wait_for(lambda: slurm.waits(id) or slurm.ended(id), f"{way} of job {id} to work")
    if slurm.waits(id):
        slurm.command("scontrol", "update", f"JobId={id}", "TimeLimit=60")
        slurm.release(id)
        return id
    # killed, or done before the signal came
    return project.submit("--only", "none", scale=scale, runs=runs).get(ROW, id)


def check_nothing_is_half_written(runs, scale):
    """A checkpoint can be read, and so can a result; both may be absent."""
    checkpoint = run_folder(runs, ROW, scale) / "checkpoint.pt"
    if checkpoint.exists():
        assert torch.load(checkpoint, weights_only=True)["state"]["step"] > 0
    if result_path(runs, ROW, scale).exists():
        read_result(result_path(runs, ROW, scale))
