"""What is told of a job that ended. Of those in a queue: tests/integration."""

import pytest

from xxact.experiments import suite
from xxact.experiments.status import JobState, _describe, last_error
from xxact.experiments.submit import Job, log_folder

JOB = Job("12", "a-name")

CLEAN = """\
step     49/976     4:45 left  validation: 449.6
error: cannot write the checkpoint; free some space
srun: error: localhost: task 0: Exited with exit code 2
"""
TRACEBACK = """\
Traceback (most recent call last):
  File "loop.py", line 1, in run
torch.OutOfMemoryError: CUDA out of memory
srun: error: localhost: task 0: Exited with exit code 1
"""
OF_A_GROUP = """\
[rank3]: Traceback (most recent call last):
[rank3]:   File "loop.py", line 1, in run
[rank3]: torch.OutOfMemoryError: CUDA out of memory
srun: error: localhost: task 3: Exited with exit code 1
"""
# srun does not always tell of the task that was killed: it may know of the other one first
LOST = """\
[rank0]:     work.wait()
[rank0]: RuntimeError: [gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer.
srun: error: localhost: task 0: Exited with exit code 1
"""
KILLED = """\
step     49/976     4:45 left
[rank0]: RuntimeError: [gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:12461
srun: error: localhost: task 1: Killed
srun: error: localhost: task 0: Terminated
slurmstepd-localhost: error: *** STEP 8.0 ON localhost CANCELLED AT 2026-11-22T18:33:51 ***
srun: launch/slurm: _step_signal: Terminating StepId=1.0
"""
TIMEOUT = """\
slurmstepd: error: *** STEP 8.0 CANCELLED DUE TO TIME LIMIT ***
srun: error: localhost: tasks 0-1: Terminated
"""


@pytest.fixture
def run(experiments, tmp_path):
    """table2/mxm, which starts from table2/pretrain_mxm; its folder is empty."""
    return suite.plan(["table2/mxm"], "tiny", [0], tmp_path)[1]


def write_log(run, text, task=0):
    log_folder(run).mkdir(parents=True, exist_ok=True)
    (log_folder(run) / f"{JOB.id}_{task}_log.err").write_text(text)


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (CLEAN, "error: cannot write the checkpoint; free some space"),
        (TRACEBACK, "torch.OutOfMemoryError: CUDA out of memory"),
        (OF_A_GROUP, "torch.OutOfMemoryError: CUDA out of memory"),
        (
            LOST,
            "RuntimeError: [gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer.",
        ),
        (
            "[rank0]: RuntimeError: Timed out waiting 1800000ms for recv operation to complete\n"
            "srun: error: localhost: task 1: Killed",
            "srun: error: localhost: task 1: Killed",
        ),
        (
            "srun: error: localhost: task 1: Killed\n" + LOST,
            "srun: error: localhost: task 1: Killed",
        ),
        (KILLED, "srun: error: localhost: task 1: Killed"),
        (TIMEOUT, "slurmstepd: error: *** STEP 8.0 CANCELLED DUE TO TIME LIMIT ***"),
        ("one\ntwo\n", "two"),
    ],
)
def test_the_last_error_is_the_line_that_says_most(run, log, line):
    write_log(run, log)
    assert last_error(run, JOB) == line


def test_an_error_of_another_task_is_found_and_another_jobs_is_not(run):
    write_log(run, KILLED)
    write_log(run, TRACEBACK, task=3)
    (log_folder(run) / "11_0_log.err").write_text(CLEAN)
    assert last_error(run, JOB) == "torch.OutOfMemoryError: CUDA out of memory"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (JobState("PENDING", "Dependency"), "queued (waits for table2/pretrain_mxm)"),
        (JobState("PENDING", "Priority"), "queued (Priority)"),
        (JobState("PENDING", "BeginTime", 2), "requeued (BeginTime)"),
        (JobState("RUNNING"), "running"),
        (JobState("TIMEOUT"), "failed (TIMEOUT): two"),
        (JobState("FAILED"), "failed: two"),
        (JobState("COMPLETED"), "failed: two"),  # without a result
        (JobState("CANCELLED"), "cancelled"),
        (
            JobState("CANCELLED", "DependencyNeverSatisfied"),
            "cancelled: table2/pretrain_mxm failed",
        ),
        (None, "failed: two"),  # SLURM has forgotten it
    ],
)
def test_states_in_words(run, state, words):
    write_log(run, "one\ntwo\n")
    assert _describe(run, JOB, {JOB: state} if state else {}) == words


def test_the_step_is_told_where_there_is_one(run):
    (run.folder).mkdir(parents=True)
    (run.folder / "progress.json").write_text('{"step": 3, "total": 8, "left_s": 75.0}')
    told = _describe(run, JOB, {JOB: JobState("RUNNING")})
    assert told == "running at step 3 of 8, about 1:15 left"
    assert _describe(run, None, {}) == "step 3 of 8"
