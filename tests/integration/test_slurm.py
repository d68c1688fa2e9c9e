"""Table 2 as jobs of a real SLURM: submitted, preempted, out of time, killed, out of space."""

from __future__ import annotations

import os
import subprocess

import pytest
import torch

from tests.integration.harness import (
    kill,
    measured,
    result_path,
    run_folder,
    step_of,
    wait_for,
)
from xxact.experiments.result import read_result

pytestmark = pytest.mark.slurm

ROW = "table2/none"


@pytest.fixture(scope="module")
def table2(project, tmp_path_factory):
    """Table 2, submitted in one go and finished: (where its runs are, ids of its jobs)."""
    runs = tmp_path_factory.mktemp("submitted")
    jobs = project.submit(runs=runs)
    for row, id in jobs.items():
        project.finish(row, id, runs)
    return runs, jobs


def at_step(project, runs, step, row=ROW, scale="two"):
    """Wait until a run has come that far and has a checkpoint."""
    checkpoint = run_folder(runs, row, scale) / "checkpoint.pt"
    wait_for(
        lambda: step_of(runs, row, scale) >= step and checkpoint.exists(),
        f"{row} to reach step {step}\n{project.logs(row, runs, scale)}",
    )


def test_every_run_is_one_job_that_follows_what_it_starts_from(project, slurm, table2):
    runs, jobs = table2
    assert len(jobs) == 7
    for name in ("contrastive", "mxm", "contrastive_mxm"):
        before = slurm.job(jobs[f"table2/pretrain_{name}"])
        after = slurm.job(jobs[f"table2/{name}"])
        assert before["EndTime"] <= after["StartTime"]  # ISO 8601 sorts
    for row, id in jobs.items():
        job = slurm.job(id)
        found = (job["JobState"], job["NumTasks"], job["Restarts"])
        assert found == ("COMPLETED", "2", "0"), project.logs(row, runs)
        assert "gpu:h100:2" in job["TresPerNode"]
        assert read_result(result_path(runs, row)).hardware.processes == 2
    states = project.status(runs=runs)
    assert set(states) == set(jobs)
    assert all(words.startswith("done, ") and "hours" in words for words in states.values())


def test_two_ranks_give_the_numbers_of_a_local_run(project, table2, tmp_path):
    runs, jobs = table2
    done = project.run("--local", runs=tmp_path)
    assert done.returncode == 0, done.stderr
    for row in jobs:
        assert_close(read_result(result_path(runs, row)), read_result(result_path(tmp_path, row)))


def assert_close(one, other):
    """Scores at every evaluation agree to 0.1 %, where they count samples to one sample."""
    assert [point.step for point in one.curve] == [point.step for point in other.curve]
    for a, b in zip(one.curve, other.curve, strict=True):
        for split in ("validation", "test"):
            for target, scores in getattr(a, split).items():
                n = scores["n"]
                for name, value in scores.items():
                    slack = 100 / n if name == "accuracy_percent" else 0.001 * abs(value)
                    assert getattr(b, split)[target][name] == pytest.approx(value, abs=slack)


def test_a_result_names_the_commit_that_was_submitted(project, slurm, tmp_path):
    slurm.command("scontrol", "update", "PartitionName=h100", "State=DOWN")
    try:
        jobs = project.submit("--only", "pretrain_mxm", runs=tmp_path)
        (row, id) = next(iter(jobs.items()))
        assert project.status(runs=tmp_path)[row].startswith("queued (")
        assert project.submit("--only", "pretrain_mxm", runs=tmp_path) == {}
        broken = project.folder / "xxact" / "training" / "loop.py"
        code = broken.read_text()
        broken.write_text("raise SystemExit('the code of another day')")
    finally:
        slurm.command("scontrol", "update", "PartitionName=h100", "State=UP")
    try:
        result = project.finish(row, id, tmp_path)
    finally:
        broken.write_text(code)
    assert (result.provenance.git_commit, result.provenance.dirty) == (project.commit, False)


def test_cancel_takes_back_what_was_submitted_and_nothing_else(project, slurm, tmp_path):
    other = slurm.command("sbatch", "--parsable", "--wrap=sleep 600", "--output=/dev/null").strip()
    jobs = project.submit("--only", "mxm", runs=tmp_path)
    assert project.status(runs=tmp_path)["table2/mxm"] == "queued (waits for table2/pretrain_mxm)"
    done = project.run("--cancel", runs=tmp_path)
    assert "2 jobs cancelled" in done.stdout, done.stderr
    for id in jobs.values():
        wait_for(lambda id=id: slurm.state(id) == "CANCELLED", f"job {id} to be cancelled")
    assert slurm.state(other) in ("RUNNING", "PENDING")
    slurm.command("scancel", other)
    assert project.status(runs=tmp_path)["table2/mxm"].startswith("cancelled")
    assert "0 jobs cancelled" in project.run("--cancel", runs=tmp_path).stdout


@pytest.mark.parametrize("how", ["preempted", "out of time"])
def test_a_job_that_has_to_go_saves_and_goes_on(how, project, slurm, table2, tmp_path):
    id = project.submit("--only", "none", runs=tmp_path)[ROW]
    at_step(project, tmp_path, 10)
    if how == "preempted":
        slurm.command("scancel", "--signal=USR2", id)
    else:
        slurm.reach_time_limit(id)
    wait_for(lambda: slurm.waits(id), f"{ROW} to be requeued\n{project.logs(ROW, tmp_path)}")
    assert project.status(runs=tmp_path)[ROW].startswith("requeued at step ")
    saved = torch.load(run_folder(tmp_path, ROW) / "checkpoint.pt", weights_only=True)
    assert saved["state"]["step"] >= 10
    slurm.command("scontrol", "update", f"JobId={id}", "TimeLimit=60")
    slurm.release(id)
    result = project.finish(ROW, id, tmp_path)
    assert slurm.job(id)["Restarts"] == "1"
    assert result.cost.restarts == 1
    assert measured(result) == measured(read_result(result_path(table2[0], ROW)))


def test_a_killed_rank_ends_the_job_and_the_next_one_goes_on(project, slurm, table2, tmp_path):
    jobs = project.submit("--only", "pretrain_contrastive", "contrastive", runs=tmp_path)
    row = "table2/pretrain_contrastive"
    at_step(project, tmp_path, 10, row)
    kill(slurm.tasks(jobs[row])[1])
    wait_for(lambda: slurm.state(jobs[row]) == "FAILED", "the job to fail", 300)
    wait_for(lambda: slurm.state(jobs["table2/contrastive"]) == "CANCELLED", "its heir to go")
    states = project.status(runs=tmp_path)
    assert states[row].startswith("failed at step ")
    # srun tells of the killed task unless it hears first how the other one ended
    assert "task 1: Killed" in states[row] or "by peer" in states[row]
    assert states["table2/contrastive"] == f"cancelled: {row} failed"
    again = project.submit("--only", "contrastive", runs=tmp_path)
    assert set(again) == set(jobs)
    for name, id in again.items():
        result = project.finish(name, id, tmp_path)
        assert measured(result) == measured(read_result(result_path(table2[0], name)))


def test_a_full_disk_is_named_and_spares_the_last_checkpoint(project, slurm, table2, tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", tmp_path], check=True)
    try:
        id = project.submit("--only", "none", runs=tmp_path)[ROW]
        at_step(project, tmp_path, 10)
        assert (run_folder(tmp_path, ROW) / "checkpoint.pt").stat().st_size > 100_000
        ballast = fill(tmp_path, leave=60_000)
        wait_for(lambda: slurm.state(id) == "FAILED", f"it to fail\n{project.logs(ROW, tmp_path)}")
        words = project.status(runs=tmp_path)[ROW]
        assert "error: cannot write the checkpoint" in words
        assert "free some space" in words
        folder = run_folder(tmp_path, ROW)
        assert torch.load(folder / "checkpoint.pt", weights_only=True)["state"]["step"] > 0
        assert not list(folder.glob(".*partial"))
        ballast.unlink()
        result = project.finish(ROW, project.submit("--only", "none", runs=tmp_path)[ROW], tmp_path)
        assert measured(result) == measured(read_result(result_path(table2[0], ROW)))
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def fill(folder, leave):
    """A file that takes all the space of the file system of `folder` but `leave` bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while (free := os.statvfs(folder)).f_bavail * free.f_frsize > leave:
            file.write(bytes(min(2**20, free.f_bavail * free.f_frsize - leave)))
    return ballast
