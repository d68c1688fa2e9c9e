"""The copy of the code that a job runs."""

import subprocess

import pytest

from xxact.experiments.snapshot import snapshot_folder, take_snapshot
from xxact.training.identity import recorded_state

STATE = {"git_commit": "0" * 40, "dirty": True}


@pytest.fixture
def repository(tmp_path):
    """A checkout with one committed, one new, one deleted and one ignored file."""
    folder = tmp_path / "repository"
    (folder / "xxact").mkdir(parents=True)
    (folder / "experiments").mkdir()
    (folder / "xxact" / "old.py").write_text("committed")
    (folder / "xxact" / "gone.py").write_text("to be deleted")
    (folder / "README.md").write_text("not code")
    (folder / ".gitignore").write_text("*.log\n")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    (folder / "xxact" / "old.py").write_text("changed")
    (folder / "xxact" / "gone.py").unlink()
    (folder / "xxact" / "ignored.log").write_text("log")
    (folder / "experiments" / "new row.yaml").write_text("new")
    return folder


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_holds_the_code_as_it_is_on_disk(repository, tmp_path):
    snapshot = take_snapshot(repository, tmp_path / "runs", STATE)
    content = files(snapshot)
    assert recorded_state(snapshot) == STATE
    del content["submitted.json"]
    assert content == {"xxact/old.py": "changed", "experiments/new row.yaml": "new"}
    assert snapshot.parent == tmp_path / "runs" / "snapshots"
    assert list(snapshot.parent.iterdir()) == [snapshot]


def test_it_is_taken_anew_when_code_or_commit_change(repository, tmp_path):
    first = take_snapshot(repository, tmp_path, STATE)
    assert take_snapshot(repository, tmp_path, STATE) == first
    other = take_snapshot(repository, tmp_path, STATE | {"dirty": False})
    (repository / "xxact" / "old.py").write_text("changed again")
    third = snapshot_folder(repository, tmp_path, STATE)
    assert not third.exists()
    assert take_snapshot(repository, tmp_path, STATE) == third
    assert len({first, other, third}) == 3
    assert files(first)["xxact/old.py"] == "changed"


def test_a_folder_that_is_no_checkout_is_taken_whole(tmp_path):
    folder = tmp_path / "downloaded"
    (folder / "xxact" / "__pycache__").mkdir(parents=True)
    (folder / "xxact" / "a.py").write_text("a")
    (folder / "xxact" / "__pycache__" / "a.pyc").write_text("compiled")
    assert recorded_state(folder) is None
    snapshot = take_snapshot(folder, tmp_path, {"git_commit": None, "dirty": None})
    assert set(files(snapshot)) == {"submitted.json", "xxact/a.py"}
