"""Runs interrupted at random, changed, and started again: refused, or the numbers of a whole run.

XXACT_CHANGED_RUNS=20 python -m pytest -s tests/experiments/test_interruptions.py   (two minutes)

Each run is stopped by a signal, or dies, at a random step; then one thing about it is changed and
the command given again. What alters numbers is refused by name; what does not, goes on. After a
refusal the first command finds its checkpoint as it was, and ends as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import shutil
import signal

import pytest

from xxact.cli import main
from xxact.data.prepare import prepare
from xxact.training import identity, loop

RUNS = int(os.environ.get("XXACT_CHANGED_RUNS", 3))
#: Fewer than a run has.
STEPS = 20

ROW = """
reproduces: nothing
model: crabnet
targets: [formation_energy_per_atom]
epochs: 2
batch_size: 16
evaluations: 4
optimizer: {peak_lr: 0.001}
"""
SAME_ROW = """
# written otherwise
optimizer:
  peak_lr: 1e-3
  weight_decay: 0.01  # the default
targets:
  - formation_energy_per_atom
evaluations: 4
batch_size: 16
epochs: 2.0
model: crabnet
reproduces: something else
transfer: false
"""
#: What the refusal of a changed row names.
ROWS = {
    "epochs": ("epochs: 2", "epochs: 3"),
    "batch_size": ("batch_size: 16", "batch_size: 8"),
    "optimizer.peak_lr": ("peak_lr: 0.001", "peak_lr: 0.002"),
    "optimizer.betas": ("peak_lr: 0.001", "peak_lr: 0.001, betas: [0.9, 0.99]"),
    "targets": ("[formation_energy_per_atom]", "[band_gap]"),
    "train_fraction": ("epochs: 2", "epochs: 2\ntrain_fraction: 0.5"),
    "model.kind": ("model: crabnet", "model: xrd_transformer"),
    "regression_weight": ("epochs: 2", "epochs: 2\nregression_weight: 2"),
}
REFUSED = [*ROWS, "seed", "the data set", "the code", "torch", "the weights it starts from"]
GOES_ON = ["nothing", "row written otherwise", "commit", "data elsewhere", "engine"]


class Crash(Exception):
    """Ends a process as a bug would."""


@pytest.fixture
def stores(tiny_data, tmp_path):
    """The tiny store, its copy elsewhere, and one of other energies."""
    shutil.copytree(tiny_data, tmp_path / "moved")
    with (tiny_data.parent / "tiny.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "tiny.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            energy = 2 * float(row["formation_energy_per_atom"])
            writer.writerow(row | {"formation_energy_per_atom": energy})
    prepare("csv", [tmp_path / "tiny.csv"], tmp_path / "other", name="tiny")
    return {"same": tiny_data, "moved": tmp_path / "moved", "other": tmp_path / "other"}


@pytest.fixture
def train(experiments, stores, tmp_path):
    """Function (folder, row, store, *arguments) -> exit code of `xxact train`."""

    def call(folder, row=ROW, store="same", *arguments):
        spec = tmp_path / "row.yaml"
        spec.write_text(row)
        own = ["--scale", "tiny", "--data", str(stores[store]), "--out", str(folder)]
        return main(["train", str(spec), *own, *arguments])

    return call


def interrupt(monkeypatch, dice):
    """Let the next training end after a random step, with a checkpoint of it or of an earlier."""
    way, at = dice.choice(["signal", "crash"]), dice.randrange(2, STEPS)
    step = loop.Training._step

    def last(training, k):
        if k == at and way == "crash":
            raise Crash
        if k == at:
            os.kill(os.getpid(), signal.SIGUSR2)
        return step(training, k)

    monkeypatch.setattr(loop.Training, "_step", last)
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", dice.choice([0.0, 0.01]))
    return f"{way} at step {at}"


def change(what, train, folder, monkeypatch, experiments, parent):
    """Give the command again with one thing changed; its exit code."""
    if what in ROWS:
        return train(folder, ROW.replace(*ROWS[what]))
    if what == "seed":
        return train(folder, ROW, "same", "--seed", "1")
    if what in ("the data set", "data elsewhere"):
        return train(folder, ROW, "other" if what == "the data set" else "moved")
    if what == "the weights it starts from":
        return train(folder, ROW, "same", "--init", str(parent))
    if what == "row written otherwise":
        return train(folder, SAME_ROW)
    if what == "engine":
        scale = experiments / "scales" / "tiny.yaml"
        scale.write_text(scale.read_text() + "engine: {kind: torch, zero_stage: 2, gpus: 4}\n")
    now = identity._provenance()
    changes = {
        "the code": {"code_sha256": "0" * 64},
        "torch": {"versions": now["versions"] | {"torch": "2.0.0"}},
        "commit": {"git_commit": "1" * 40, "dirty": True},
    }
    with monkeypatch.context() as patch:
        patch.setattr(identity, "_provenance", lambda: now | changes.get(what, {}))
        return train(folder)


def numbers(folder):
    result = json.loads((folder / "result.json").read_text())
    curve = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    assert curve == result["curve"]
    return {key: result[key] for key in ("metrics", "curve", "per_element", "predictions", "data")}


def test_a_changed_run_is_refused_or_gives_the_numbers_of_a_whole_one(
    train, experiments, tmp_path, monkeypatch, capsys
):
    assert train(tmp_path / "whole") == 0
    dice = random.Random(0)
    order = dice.sample(REFUSED, len(REFUSED)) + dice.sample(GOES_ON, len(GOES_ON))
    changes = dice.sample(order, len(order)) * (1 + RUNS // len(order))
    for k, what in enumerate(changes[:RUNS]):
        folder = tmp_path / f"run{k}"
        with monkeypatch.context() as patch:
            way = interrupt(patch, dice)
            with contextlib.suppress(Crash):
                assert train(folder) == 75
        before = (folder / "checkpoint.pt").read_bytes()
        capsys.readouterr()
        code = change(what, train, folder, monkeypatch, experiments, tmp_path / "whole")
        error = capsys.readouterr().err
        with capsys.disabled():
            told = error.strip().splitlines()[-1] if code else "the numbers of a whole run"
            print(f"\nrun {k}: {way}; changed: {what}; exit {code}: {told}", end="")
        if what in GOES_ON:
            assert code == 0
        else:
            assert code == 2
            assert what in error.splitlines()[-1]
            assert "--overwrite" in error.splitlines()[-1]
            assert (folder / "checkpoint.pt").read_bytes() == before
            assert not (folder / "result.json").exists()
            assert train(folder) == 0
        assert numbers(folder) == numbers(tmp_path / "whole")
