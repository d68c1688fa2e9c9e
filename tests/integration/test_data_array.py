"""The array job that prepares a release, on a real SLURM."""

import sys

import pytest

from tests.data.test_array_job import SCRIPT, contents, release, submit
from tests.integration.harness import wait_for

pytestmark = pytest.mark.slurm
__all__ = ["release"]  # a fixture of the tests without a SLURM


def test_an_array_and_its_merge_make_the_store_of_one_run(slurm, release, tmp_path):
    whole, shares = tmp_path / "whole" / "store", tmp_path / "shares" / "store"
    assert submit(whole, *release).returncode == 0

    def sbatch(*options: str) -> str:
        environment = f"--export=ALL,PYTHON={sys.executable}"
        words = ("sbatch", "--parsable", f"--chdir={tmp_path}", environment, *options)
        return slurm.command(*words, str(SCRIPT), str(shares), *map(str, release)).strip()

    array = sbatch("--array=0-2")
    merge = sbatch(f"--dependency=afterok:{array}")
    wait_for(lambda: slurm.state(merge) == "COMPLETED", "the merge to complete", seconds=120)
    assert contents(shares) == contents(whole)
