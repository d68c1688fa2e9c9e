"""The runs of a table as a user starts them: plan, train, interrupt, ask again."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from xxact.experiments import local, suite
from xxact.experiments.result import read_result


def measured(result):
    """What has to be equal however a run came to its end."""
    return (result.metrics, result.curve, result.per_class, result.per_element, result.embedding)


def test_the_plan_names_rows_dependencies_and_states(run):
    done = run("table2")
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("table2/")]
    order = [line[0] for line in lines]
    assert len(order) == 7
    for name in ("contrastive", "mxm", "contrastive_mxm"):
        assert order.index(f"table2/pretrain_{name}") < order.index(f"table2/{name}")
    assert "7 of 7 to train" in done.stdout


def test_a_table_is_trained_once_and_not_again(run, tmp_path):
    done = run("table2", "--local", "--only", "mxm", "none")
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs" / "tiny" / "table2"
    results = sorted(path.parent.name for path in runs.glob("*/seed0.json"))
    assert results == ["mxm", "none", "pretrain_mxm"]
    result = read_result(runs / "mxm" / "seed0.json")
    assert result.spec.init == "table2/pretrain_mxm"
    assert result.metrics.final.test["crystal_system"]["n"] == result.data.n["test"]
    assert [point.progress for point in result.curve][:2] == pytest.approx([0.05, 0.1], abs=0.02)
    assert not (runs / "mxm" / "seed0" / "checkpoint.pt").exists()

    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    again = run("table2", "--local", "--only", "mxm", "none")
    assert again.returncode == 0
    assert "3 of 3 runs are done" in again.stderr
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}

    # a dependency counts as met when its weights are there; its result is left as it is
    (runs / "pretrain_mxm" / "seed0" / "model.safetensors").unlink()
    (runs / "mxm" / "seed0.json").unlink()
    old = (runs / "pretrain_mxm" / "seed0.json").read_text()
    assert "weights missing" in run("table2").stdout
    third = run("table2", "--local", "--only", "mxm")
    assert third.returncode == 0, third.stderr
    assert (runs / "pretrain_mxm" / "seed0.json").read_text() == old
    assert measured(read_result(runs / "mxm" / "seed0.json")) == measured(result)


def test_killed_at_random_moments_a_run_ends_in_the_same_numbers(run, command, tmp_path):
    assert run("table1", "--local", "--only", "xrd_system", runs="whole").returncode == 0
    arguments = command("table1", "--local", "--only", "xrd_system", runs="killed")
    folder = tmp_path / "killed" / "tiny" / "table1" / "xrd_system"
    moments = random.Random(0)
    kills = 0
    while kills < 3:
        process = subprocess.Popen(
            arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        began, seen = time.monotonic(), step_of(folder)
        while process.poll() is None and step_of(folder) == seen:
            assert time.monotonic() - began < 300
            time.sleep(0.005)
        time.sleep(0.1 * moments.random())
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills, "the run ended before it could be killed"
    done = run("table1", "--local", "--only", "xrd_system", runs="killed")
    assert done.returncode == 0, done.stderr
    killed = read_result(folder / "seed0.json")
    whole = read_result(tmp_path / "whole" / "tiny" / "table1" / "xrd_system" / "seed0.json")
    assert measured(killed) == measured(whole)
    assert killed.cost.restarts >= 1
    assert not list(folder.rglob(".*partial"))


def step_of(folder):
    """Last step that the run in `folder` reported, or None."""
    try:
        return json.loads((folder / "seed0" / "progress.json").read_text())["step"]
    except FileNotFoundError:
        return None


def test_ctrl_c_saves_and_the_same_command_goes_on(command, run, experiments, tmp_path):
    arguments = command("table1", "--local", "--only", "xrd_energy")
    folder = tmp_path / "runs" / "tiny" / "table1" / "xrd_energy"
    process = subprocess.Popen(
        arguments, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    while step_of(folder) is None and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert b"Traceback" not in errors
    assert process.returncode in (0, 75)
    if process.returncode == 75:
        assert b"(seed 0) stopped (step" in errors
        assert b"failed" not in errors
        before = (folder / "seed0" / "checkpoint.pt").read_bytes()
        # an unfinished run is protected from an edited row as a finished one is
        row = experiments / "table1" / "xrd_energy.yaml"
        text = row.read_text()
        row.write_text(text + "train_fraction: 0.5\n")
        refused = run("table1", "--local", "--only", "xrd_energy")
        assert refused.returncode == 2
        assert "train_fraction 0.5 against 1.0" in refused.stderr
        assert (folder / "seed0" / "checkpoint.pt").read_bytes() == before
        row.write_text(text)
    assert run("table1", "--local", "--only", "xrd_energy").returncode == 0
    assert (folder / "seed0.json").exists()


@pytest.mark.parametrize(
    ("exit_code", "told"),
    [(75, "stopped (not started)"), (-9, "killed by SIGKILL"), (-15, "SIGTERM"), (2, "failed")],
)
def test_how_a_run_ended_is_called_what_it_was(exit_code, told, experiments, tmp_path):
    (run,) = suite.plan(["table1/constant_energy"], "tiny", [0], tmp_path)
    assert told in local._how_it_ended(run, exit_code)


def test_results_of_another_spec_are_not_taken_for_this_one(run, experiments):
    assert run("table1", "--local", "--only", "crabnet_system").returncode == 0
    scale = experiments / "scales" / "tiny.yaml"
    scale.write_text(scale.read_text().replace("batch_size: 16", "batch_size: 32"))
    refused = run("table1", "--local", "--only", "crabnet_system")
    assert refused.returncode == 2
    assert "batch_size 32 against 16" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run("table1", "--local", "--only", "crabnet_system", "--overwrite").returncode == 0


def test_what_started_from_an_overwritten_run_goes_with_it(run, tmp_path):
    runs = tmp_path / "runs" / "tiny"
    assert run("table2", "--local", "--only", "none").returncode == 0
    transfer = ("table1", "--local", "--only", "xxact_multi_transfer", "crabnet_system")
    assert run(*transfer).returncode == 0
    done = run("table2", "--local", "--only", "none", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert "table1/xxact_multi_transfer (seed 0) is deleted too" in done.stderr
    assert (runs / "table2" / "none" / "seed0.json").exists()
    assert not (runs / "table1" / "xxact_multi_transfer" / "seed0.json").exists()
    assert (runs / "table1" / "crabnet_system" / "seed0.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "nome"), "no row 'nome'"),
        (("--scale", "minni"), "no scale 'minni' (did you mean 'mini'?)"),
        (("--local", "--data", "nowhere/at/all"), "nowhere/at/all"),
    ],
)
def test_mistakes_get_one_message_and_no_traceback(run, arguments, message):
    done = run("table2", *arguments, data=None)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_data_set_says_how_to_make_it(run):
    done = run("table2", "--local", data=None)
    assert done.returncode == 2
    assert "xxact data fetch nowhere" in done.stderr
