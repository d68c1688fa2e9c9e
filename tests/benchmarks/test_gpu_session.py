"""A session trains what fits into its time, in order, and goes on where another stopped."""

import subprocess
import time

import gpu_session
import pytest
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
    seconds = time.time() - session.began + gpu_session.RESERVE_S + 0.5 * again
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


def test_the_script_explains_itself():
    script = REPOSITORY / "benchmarks" / "gpu_session.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    done = subprocess.run([script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "gpu_session.sh 25" in done.stderr
