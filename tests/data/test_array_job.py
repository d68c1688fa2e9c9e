"""slurm/data_array.sbatch: tasks that compute shares and a last job that merges."""

import bz2
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "slurm" / "data_array.sbatch"
SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")


def submit(*arguments, task: tuple[int, int, int] | None = None):
    """Run the script as SLURM would: `task` is (number, least number, count)."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    environment |= {"PYTHON": sys.executable}
    environment |= dict(zip(SLURM, map(str, task), strict=True)) if task else {}
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture
def release(tmp_path):
    """Three files of two entries: caesium chloride, each cell a little larger."""
    files = [tmp_path / f"alexandria_{k}.json.bz2" for k in range(3)]
    for k, file in enumerate(files):
        entries = [_entry(2 * k), _entry(2 * k + 1)]
        file.write_bytes(bz2.compress(json.dumps({"entries": entries}).encode()))
    return files


def _entry(k: int) -> dict:
    a = 4.0 + 0.1 * k
    sites = [
        {"species": [{"element": element, "occu": 1}], "abc": [x, x, x]}
        for element, x in (("Cs", 0.0), ("Cl", 0.5))
    ]
    return {
        "data": {"mat_id": f"agm{k}", "spg": 221, "e_form": -2.0, "band_gap_ind": 5.0},
        "structure": {"lattice": {"matrix": [[a, 0, 0], [0, a, 0], [0, 0, a]]}, "sites": sites},
    }


def test_tasks_and_a_merge_make_the_store_of_one_run(release, tmp_path):
    whole, shares = tmp_path / "whole" / "store", tmp_path / "shares" / "store"
    assert submit(whole, *release).returncode == 0
    for task in (2, 1):
        done = submit(shares, *release, task=(task, 1, 2))
        assert done.returncode == 0, done.stderr
        assert not (shares / "manifest.json").exists()
    merged = submit(shares, *release)
    assert merged.returncode == 0, merged.stderr
    assert contents(shares) == contents(whole)
    assert b"agm5" in contents(shares)["ids.npy"]


def test_missing_arguments_are_named(tmp_path):
    done = submit(tmp_path / "store")
    assert done.returncode == 2
    assert "name the store and the release's files" in done.stderr
