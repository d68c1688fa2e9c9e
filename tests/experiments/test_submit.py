"""Batch scripts: what is asked of SLURM for a run. Real submissions: tests/integration."""

import shlex
import subprocess
import sys
from dataclasses import replace

import pytest

from xxact.errors import UserError
from xxact.experiments import suite
from xxact.experiments.cluster import Cluster
from xxact.experiments.job import HOLD_SIGNAL
from xxact.experiments.submit import Job, batch_script, recorded_job


@pytest.fixture
def plan(experiments, tmp_path):
    """Function (gpus) -> the runs pretrain_mxm and mxm, each on that many GPUs."""

    def make(gpus=1):
        runs = suite.plan(["table2/mxm"], "tiny", [0], tmp_path / "my runs")
        engine = runs[0].spec.engine.model_copy(update={"gpus": gpus})
        return [replace(run, spec=run.spec.model_copy(update={"engine": engine})) for run in runs]

    return make


def cluster(**changes):
    return Cluster(**{"gpus_per_node": 8, "time_minutes": 60, "signal_delay_s": 90} | changes)


def options(script):
    """Options of the batch script, without dashes."""
    flags = [line.split(" ", 1)[1] for line in script.splitlines() if line.startswith("#SBATCH")]
    pairs = [shlex.split(flag)[0].removeprefix("--").partition("=") for flag in flags]
    return {key: value for key, _, value in pairs}


def test_a_run_on_several_nodes(plan):
    run = plan(gpus=16)[0]
    profile = cluster(
        nodes=2,
        partition="gpu",
        account="me",
        qos="long",
        constraint="nvlink",
        cpus_per_task=12,
        memory_gb_per_gpu=1.5,
        gres="gpu:a100",
        sbatch={"exclusive": True, "reservation": "mine"},
        srun=("--cpu-bind=cores",),
    )
    script = batch_script(run, {}, profile)
    asked = options(script)
    expected = {
        "nodes": "2",
        "ntasks-per-node": "8",
        "gres": "gpu:a100:8",
        "cpus-per-task": "12",
        "mem": "12288M",
        "time": "60",
        "signal": "USR2@90",
        "partition": "gpu",
        "account": "me",
        "qos": "long",
        "constraint": "nvlink",
        "exclusive": "",
        "reservation": "mine",
        "kill-on-invalid-dep": "yes",
        "requeue": "",
        "open-mode": "append",
    }
    assert {key: asked.get(key) for key in expected} == expected
    assert "dependency" not in asked
    (srun,) = (line for line in script.splitlines() if line.startswith("srun "))
    words = shlex.split(srun)
    assert {"--cpus-per-task=12", "--kill-on-bad-exit=1", "--cpu-bind=cores"} < set(words)


def test_names_that_a_profile_leaves_out_are_not_asked_for(plan):
    asked = options(batch_script(plan()[0], {}, cluster()))
    assert asked["gpus-per-node"] == "1"
    for key in ("gres", "partition", "account", "qos", "constraint", "mem", "wckey"):
        assert key not in asked


def test_set_up_lines_come_before_the_training_in_order(plan):
    profile = cluster(set_up=("module load one", "module load two"), caches="$SCRATCH/caches")
    lines = batch_script(plan()[0], {}, profile).splitlines()
    order = [
        'export TRITON_CACHE_DIR="$SCRATCH/caches/triton"',
        "module load one",
        "module load two",
        next(line for line in lines if line.startswith("export PYTHONPATH=")),
        next(line for line in lines if line.startswith("srun ")),
    ]
    assert [line for line in lines if line in order] == order


def test_python_starts_in_the_container_and_behind_srun(plan):
    profile = cluster(container="apptainer exec --nv my.sif", python="/opt/py")
    (line,) = (
        line
        for line in batch_script(plan()[0], {}, profile).splitlines()
        if line.startswith("srun ")
    )
    words = shlex.split(line)
    first = words.index("apptainer")
    assert words[first : first + 7] == [
        *("apptainer", "exec", "--nv", "my.sif"),
        *("/opt/py", "-S", "-c"),
    ]
    assert words[first + 8 : first + 12] == ["/opt/py", "-u", "-m", "submitit.core._submit"]


def test_the_stop_signal_waits_until_the_job_listens():
    listen = (
        "import os, signal\n"
        "os.kill(os.getpid(), signal.SIGUSR2)\n"  # would end the process
        "from xxact.training.signals import StopFlag\n"
        "with StopFlag() as stop:\n"
        "    assert not stop.requested\n"
        "    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])\n"
        "    print(stop.requested)\n"
    )
    command = [sys.executable, "-S", "-c", HOLD_SIGNAL, sys.executable, "-c", listen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_a_run_waits_for_the_one_it_starts_from(plan):
    pretraining, run = plan()
    script = batch_script(run, {}, cluster())
    assert options(script)["dependency"] == "afterok:<job of table2/pretrain_mxm>"
    queued = {pretraining.model_path: Job("17", "name")}
    assert options(batch_script(run, queued, cluster()))["dependency"] == "afterok:17"
    pretraining.model_path.parent.mkdir(parents=True)
    pretraining.model_path.touch()
    assert "dependency" not in options(batch_script(run, {}, cluster()))


def test_nothing_is_written_for_a_script_that_is_only_shown(plan, tmp_path):
    run = plan()[0]
    batch_script(run, {}, cluster())
    assert recorded_job(run) is None
    assert not (tmp_path / "my runs").exists()


def test_a_run_that_fits_no_node_is_refused(plan):
    with pytest.raises(UserError, match="asks for 16 GPUs"):
        batch_script(plan(gpus=16)[0], {}, cluster())


def test_a_dry_run_prints_plan_and_scripts_and_touches_nothing(run, tmp_path):
    done = run("table2", "--submit", "--dry-run", "--only", "mxm")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 to train" in done.stdout
    assert done.stdout.count("#!/bin/bash") == 2
    assert "afterok:<job of table2/pretrain_mxm>" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("action", ["--status", "--cancel"])
def test_nothing_submitted_needs_no_slurm(run, action):
    done = run("table2", action, "--only", "none")
    assert done.returncode == 0, done.stderr
    assert ("not started" if action == "--status" else "0 jobs cancelled") in done.stdout


def test_a_profile_that_is_not_there(run):
    done = run("table2", "--submit", "--cluster", "nowhere.yaml", "--only", "none")
    assert done.returncode == 2
    assert "nowhere.yaml: there is no such file" in done.stderr
