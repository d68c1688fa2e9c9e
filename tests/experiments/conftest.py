"""The suite with a scale that trains in seconds, in a folder of the test's own."""

import shutil
import subprocess
import sys

import pytest

from xxact.experiments import suite

SCALE = """
description: a few steps
data: nowhere
prepare: xxact data fetch nowhere
unseen_target: band_gap
models:
  xxact_nn:
    kind: xxact_nn
    composition: {width: 16, layers: 1, heads: 2, feedforward: 32, element_width: 8}
    xrd: {width: 16, layers: 1, heads: 2, feedforward: 32}
    fusion: {width: 16, layers: 1, heads: 2, feedforward: 32}
  crabnet:
    kind: crabnet
    composition: {width: 16, layers: 1, heads: 2, feedforward: 32, element_width: 8}
    output_widths: [16]
  xrd_transformer:
    kind: xrd_transformer
    xrd: {width: 16, layers: 1, heads: 2, feedforward: 32}
pretraining: {epochs: 2, evaluations: 2}
training: {epochs: 2, evaluations: 20}
transfer: {epochs: 2, evaluations: 2}
batch_size: 16
precision: float32
"""

# What a test starts in place of experiments/<table>/run.py: the same, on the tiny scale, with a
# checkpoint after every step, so that a kill may come at any moment of writing one.
SCRIPT = """
import sys
from pathlib import Path
from xxact.experiments import launch, suite
from xxact.training import loop

suite.EXPERIMENTS = Path({experiments!r})
loop.CHECKPOINT_EVERY_S = 0.0
if __name__ == "__main__":
    sys.exit(launch.main({table!r}, sys.argv[1:]))
"""


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """Copy of the project's experiments with the scale `tiny`."""
    folder = tmp_path / "experiments"
    shutil.copytree(suite.EXPERIMENTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "scales" / "tiny.yaml").write_text(SCALE)
    monkeypatch.setattr(suite, "EXPERIMENTS", folder)
    return folder


@pytest.fixture
def command(experiments, tmp_path, tiny_data):
    """Function (table, *arguments) -> argument list that runs a table at the scale `tiny`."""

    def make(table, *arguments, runs="runs", data=tiny_data):
        script = tmp_path / f"{table}_run.py"
        script.write_text(
            SCRIPT.format(experiments=str(experiments), table=str(experiments / table / "run.py"))
        )
        given = ["--data", str(data)] if data else []
        own = ["--scale", "tiny", "--runs", str(tmp_path / runs), *given]
        return [sys.executable, str(script), *own, *arguments]

    return make


@pytest.fixture
def run(command):
    """Function (table, *arguments) -> the finished process, its output captured."""

    def call(*arguments, **options):
        return subprocess.run(
            command(*arguments, **options), capture_output=True, text=True, check=False
        )

    return call
