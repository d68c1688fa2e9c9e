"""Checkpoints survive crashes, and errors are named."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xxact.errors import UserError
from xxact.files import remove_partials
from xxact.training import checkpoint


def test_round_trip(tmp_path):
    content = {"weights": torch.arange(5.0), "step": 3}
    checkpoint.save(tmp_path / "a" / "checkpoint.pt", content)
    loaded = checkpoint.load(tmp_path / "a" / "checkpoint.pt")
    assert loaded["step"] == 3
    torch.testing.assert_close(loaded["weights"], content["weights"])


def test_killed_while_writing_leaves_the_old_one(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"step": 1})
    script = (
        "import os, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from xxact.training import checkpoint\n"
        "def half(content, file):\n"
        "    file.write(b'half of a checkpoint'); file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.save = half\n"
        "checkpoint.save(Path(sys.argv[1]), {'step': 2})\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert checkpoint.load(path)["step"] == 1
    checkpoint.save(path, {"step": 3})  # what was left over is not in the way
    assert checkpoint.load(path)["step"] == 3
    remove_partials(tmp_path)  # as the next start of the run does
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_disk_that_fills_up_while_torch_writes_is_named(tmp_path, monkeypatch):
    full = Path("/dev/full")
    monkeypatch.setattr(checkpoint, "written_whole", lambda _: full.open("wb", buffering=0))
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device; free"):
        checkpoint.save(tmp_path / "checkpoint.pt", {"weights": torch.zeros(1000)})


def test_a_full_disk_is_named_and_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        checkpoint.save(path, {"step": 2})
    monkeypatch.undo()
    assert checkpoint.load(path)["step"] == 1
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.pt: No such file"):
        checkpoint.load(tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    torch.save({"step": 1}, tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:-50])
    torch.save([1], tmp_path / "list.pt")
    for name in ("bad.pt", "cut.pt", "list.pt"):
        with pytest.raises(UserError, match=rf"{name} is damaged") as caught:
            checkpoint.load(tmp_path / name)
        assert "weights_only" not in str(caught.value)
