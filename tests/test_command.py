"""Errors that a user can cause are one line; numbers are checked where they are typed."""

import argparse
import subprocess
import sys

import pytest

from xxact import command
from xxact.cli import main
from xxact.errors import UserError
from xxact.experiments import launch


def fail(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("it is broken"), "error: it is broken"),
        (FileExistsError(17, "File exists", "a/b"), "error: a/b: File exists"),
        (OSError(28, "No space left on device"), "error: No space left on device"),
        (OSError(18, "Cross-device link", "a", None, "b"), "error: a -> b: Cross-device link"),
        (MemoryError(), "error: there is not enough memory"),
    ],
)
def test_each_is_one_line(error, line, capsys):
    assert command.run(fail(error)) == 2
    assert capsys.readouterr().err == line + "\n"


def test_text_in_another_encoding_is_one_line(capsys):
    assert command.run(lambda: b"\xff".decode()) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        command.run(lambda: 1 / 0)


@pytest.mark.parametrize("text", ["-1", "1.5", "", "x", "1e3", str(2**32)])
def test_what_is_no_seed(text):
    with pytest.raises(argparse.ArgumentTypeError):
        command.seed(text)


@pytest.mark.parametrize(
    "option",
    [("--seed", "-1"), ("--seeds", "0"), ("--seeds", "10000000"), ("--jobs", "0"), ("--seed", "x")],
)
def test_numbers_of_a_table_are_checked_before_anything_is_made(option, tmp_path, capsys):
    runs = tmp_path / "runs"
    with pytest.raises(SystemExit) as ended:
        launch.main("experiments/table1/run.py", ["--local", "--runs", str(runs), *option])
    assert ended.value.code == 2
    assert f"argument {option[0]}" in capsys.readouterr().err
    assert not runs.exists()


def test_the_seed_of_a_training_is_checked_before_anything_is_made(tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["train", "row.yaml", "--data", "a", "--out", str(out), "--seed", "-1"])
    assert ended.value.code == 2
    assert "argument --seed" in capsys.readouterr().err
    assert not out.exists()


def test_the_version_is_told_without_torch():
    script = (
        "import sys, xxact.cli as c\n"
        "try: c.main(['--version'])\n"
        "finally: print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith("xxact 0.")
    assert done.stdout.endswith("False\n")
