"""A session trains what fits into its time, in order, and goes on where another stopped."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import gpu_session
import pytest
import torch
from gpu_session import CHAINS, EXIT_STOPPED, Session

from xxact.experiments import cost, suite
from xxact.experiments.suite import REPOSITORY


def test_every_chain_is_there_at_its_scale_and_none_twice():
    assert len(set(CHAINS)) == len(CHAINS)
    runs = suite.plan(CHAINS, "mp", [0], REPOSITORY / "runs")
    assert {"table2/pretrain_mxm", "table1/xxact_multi_transfer"} <= {run.name for run in runs}


@pytest.fixture
def session(tmp_path, tiny_data) -> Session:
    return Session("mini", tmp_path / "runs", tiny_data, tmp_path / "collected")


def result(session: Session, name: str):
    return session.root / "mini" / name / "seed0.json"


def test_chains_are_trained_until_the_time_is_up(session, tmp_path, capsys, monkeypatch):
    chain = "table1/crabnet_energy"
    assert session.train([chain], 600) == 0
    assert result(session, chain).exists()
    collected = tmp_path / "collected" / "mini"
    assert (collected / chain / "seed0.json").read_bytes() == result(session, chain).read_bytes()
    assert not list(collected.rglob("*.pt"))

    # What has been measured tells whether a chain fits.
    (run,) = suite.plan([chain], "mini", [0], tmp_path, session.data)
    again, longer = session.predict([run]), session.predict([run] * 3)
    assert 3 * again == pytest.approx(longer)
    (other,) = suite.plan(["table2/none"], "mini", [0], tmp_path, session.data)
    ratio = cost.estimate(other).gpu_hours / cost.estimate(run).gpu_hours
    assert session.predict([other]) == pytest.approx(ratio * again)
    seconds = time.time() - session.began + gpu_session.RESERVE_S + 0.5 * again  # of the other
    assert session.train([chain, "table2/none"], seconds) == 0
    said = capsys.readouterr().out
    assert f"{chain}: done" in said
    assert "table2/none: would take about" in said
    assert not (session.root / "mini/table2/none").exists()

    # A new session knows nothing of this machine: it begins, and stops in time.
    fresh = Session("mini", session.root, session.data, None)
    monkeypatch.setattr(gpu_session, "RESERVE_S", 0.0)
    assert fresh.predict([other]) is None
    assert fresh.train(["table2/none"], 0.0) == 0
    assert fresh.train(["table2/none"], 1.0 + time.time() - fresh.began) == EXIT_STOPPED
    assert not result(session, "table2/none").exists()


def test_a_chain_that_fails_leaves_the_others_their_turn(session, monkeypatch):
    codes = {"table2/none": 0, "table2/mxm": 1, "table1/xrd_energy": 0, "table1/xxact_energy": 75}
    begun = []
    monkeypatch.setattr(session, "run", lambda name, left: begun.append(name) or codes[name])
    assert session.train(list(codes)[:3], 600) == 1
    assert begun == list(codes)[:3]
    assert session.train([*list(codes)[3:], "table2/none"], 600) == EXIT_STOPPED
    begun.clear()
    assert session.train(["table2/mxm", "table2/none"], 600) == 1  # nothing works here
    assert begun == ["table2/mxm"]


def test_a_short_run_does_not_make_a_long_one_seem_longer(session, monkeypatch):
    rows = ("table2/none", "table1/crabnet_energy", "table2/pretrain_mxm")
    long, short, other = (
        suite.plan([row], "mini", [0], session.root, session.data)[-1] for row in rows
    )
    rate, start = 100.0, 12.0  # seconds an hour estimated, and seconds that every run takes
    runs = {run.name: start + rate * cost.estimate(run).gpu_hours for run in (long, short)}
    for name in runs:
        result(session, name).parent.mkdir(parents=True)
        result(session, name).write_text("{}")
    taken = lambda path: runs["/".join(path.parts[-3:-1])]  # noqa: E731
    monkeypatch.setattr(
        gpu_session, "read_result", lambda p: SimpleNamespace(cost=SimpleNamespace(wall_s=taken(p)))
    )
    needed = start + rate * cost.estimate(other).gpu_hours
    assert session.predict([other]) == pytest.approx(needed, rel=0.25)


def test_the_script_explains_itself():
    script = REPOSITORY / "benchmarks" / "gpu_session.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    done = subprocess.run([script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "gpu_session.sh 25" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_a_gpu_that_torch_does_not_see_is_not_passed_over(tmp_path):
    listed = tmp_path / "nvidia-smi"
    listed.write_text("#!/bin/sh\necho NVIDIA H100\n")
    listed.chmod(0o755)
    script = REPOSITORY / "benchmarks" / "gpu_session.sh"
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
    }
    done = subprocess.run(
        [script, "1", "--scale", "mini", "--runs", tmp_path / "runs"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "torch does not see this GPU" in done.stderr
    assert not (tmp_path / "runs").exists()
