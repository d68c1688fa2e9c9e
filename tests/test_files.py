"""Files that are whole or absent, and folders that one process holds at a time."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from xxact import files
from xxact.errors import UserError, explained


def _hold(lock, ready):
    with files.held(lock, "the folder is being used"):
        ready.set()
        time.sleep(60)


@pytest.fixture
def other(tmp_path):
    """Another process that holds `tmp_path/lock`."""
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=_hold, args=(tmp_path / "lock", ready))
    process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "file"
    files.write_atomically(path, b"old")
    file = files.written_whole(path)
    file.__enter__().write(b"half")
    assert not file.__exit__(RuntimeError, RuntimeError(), None)
    assert path.read_bytes() == b"old"
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_full_disk_and_a_temporary_file_are_told_by_the_name_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    with pytest.raises(OSError) as caught, files.written_whole(path):  # noqa: PT011
        raise OSError(28, "No space left on device")
    assert explained(caught.value) == f"{path}: No space left on device"
    monkeypatch.setattr(files.os, "replace", lambda *_: os.rename(tmp_path / "a.partial", path))
    with pytest.raises(FileNotFoundError) as caught, files.written_whole(path):
        pass
    assert explained(caught.value) == f"{path}: No such file or directory"
    with pytest.raises(FileNotFoundError) as caught, files.written_whole(path):
        (tmp_path / "another").read_bytes()
    assert "another" in explained(caught.value)


def test_what_a_killed_process_half_wrote_is_found_by_its_name(tmp_path):
    (tmp_path / f".file.abc{files.PARTIAL}").write_bytes(b"half")
    (tmp_path / "file.partial.txt").write_bytes(b"somebody's own")
    files.remove_partials(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file.partial.txt"]


def test_a_second_process_is_told_who_holds_the_folder(tmp_path, other):
    with (
        pytest.raises(UserError, match=rf"is being used by .*process {other.pid} on "),
        files.held(tmp_path / "lock", "the folder is being used"),
    ):
        pass
    with (
        pytest.raises(UserError, match=rf"process {other.pid}"),
        files.being_read(tmp_path / "lock", "the folder is being used"),
    ):
        pass


def test_a_killed_process_holds_nothing(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    began = time.monotonic()
    with files.held(tmp_path / "lock", "the folder is being used"):
        assert json.loads((tmp_path / "lock").read_text())["process"] == os.getpid()
    assert time.monotonic() - began < 2
    assert (tmp_path / "lock").read_text() == ""


def test_readers_share_and_keep_a_writer_out(tmp_path):
    lock = tmp_path / "lock"
    lock.touch()
    with (
        files.being_read(lock, "it is being read"),
        files.being_read(lock, "it is being read"),
        pytest.raises(UserError, match=rf"{tmp_path.name} is in use by process {os.getpid()}"),
    ):
        files.held(lock, "it is being changed").__enter__()
    with files.held(lock, "it is being changed"):
        pass


@pytest.mark.parametrize("alive", [True, False])
def test_signs_of_life_tell_of_a_holder_on_another_machine(tmp_path, monkeypatch, alive):
    monkeypatch.setattr(files, "BEAT_S", 0.2)
    lock = tmp_path / "lock"
    record = {"host": "elsewhere", "process": 1, "since": "today", "command": "xxact train"}
    lock.write_text(json.dumps(record))
    stopped = files.threading.Event()
    beat = files.threading.Thread(target=files._beat, args=(lock, stopped))
    if alive:
        beat.start()
    try:
        if alive:
            with pytest.raises(UserError, match="process 1 on elsewhere"):
                files.held(lock, "it is being changed").__enter__()
        else:
            with files.held(lock, "it is being changed"):
                pass
    finally:
        stopped.set()
