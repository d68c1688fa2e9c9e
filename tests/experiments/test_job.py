"""What a task of a SLURM job does, in a process that has the environment of one."""

import os
import pickle
import subprocess
import sys

import pytest

from tests.training.conftest import make_spec  # noqa: F401 (a fixture)
from xxact.experiments.result import read_result
from xxact.experiments.suite import Run

#: The environment of the only task of a job.
TASK = {
    "SUBMITIT_EXECUTOR": "slurm",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "localhost",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}
#: A task in which Python does not survive its own end, as it may not with process groups about.
SCRIPT = """
import atexit, os, pickle, sys
from xxact.experiments.job import train_in_job

if __name__ == "__main__":
    atexit.register(os.abort)
    with open(sys.argv[1], "rb") as file:
        train_in_job(pickle.load(file))
"""


@pytest.fixture
def run_task(tmp_path):
    """Function (run) -> the finished process of a task that trains it."""

    def call(run: Run) -> subprocess.CompletedProcess:
        script, pickled = tmp_path / "task.py", tmp_path / "run.pickle"
        script.write_text(SCRIPT)
        pickled.write_bytes(pickle.dumps(run))
        environment = os.environ | TASK | {"SUBMITIT_FOLDER": str(tmp_path)}
        return subprocess.run(
            [sys.executable, str(script), str(pickled)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def test_a_task_that_did_its_work_does_not_fail_at_its_end(
    run_task,
    make_spec,  # noqa: F811
    tiny_data,
    tmp_path,
):
    spec = make_spec(kind="crabnet", targets=("formation_energy_per_atom",), epochs=1)
    run = Run("table1/crabnet", "tiny", 0, spec, tmp_path / "runs", tiny_data)
    done = run_task(run)
    assert done.returncode == 0, done.stderr
    assert read_result(run.result_path).run == run.name
    assert "step" in done.stderr  # what it said is not lost
    missing = run_task(Run("table1/crabnet", "tiny", 1, spec, run.root, tmp_path / "nowhere"))
    assert missing.returncode == 2
    assert missing.stderr.startswith("\nerror: ")
