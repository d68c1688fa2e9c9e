"""Pairs of commands on one folder at the same time, as processes of their own."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from xxact.data import open_store
from xxact.errors import UserError

#: `xxact` that waits before its first shard until the file GO, if one is named, is there.
_XXACT = """
import pathlib, sys, time
from xxact.data import compute
original, go = compute.make_shard, sys.argv[1]
def make_shard(*arguments):
    while go and not pathlib.Path(go).exists():
        time.sleep(0.02)
    return original(*arguments)
compute.make_shard = make_shard
compute.ROWS = 10
from xxact.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def formulas(tmp_path) -> Path:
    """A CSV of 40 formulas: four shards of ten."""
    path = tmp_path / "formulas.csv"
    lines = (f"Na{k}Cl,{k}\n" for k in range(1, 41))
    path.write_text("formula,y\n" + "".join(lines))
    return path


def prepare(path: Path, out: Path, *more: object) -> list[str]:
    arguments = ("data", "prepare", "--source", "csv", "--input", path, "--target", "y=y")
    return list(map(str, (*arguments, "--out", out, "--workers", 1, *more)))


def run(arguments: list[str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", _XXACT, "", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@contextmanager
def running(arguments: list[str], go: Path, until: Path):
    """The command in the background, in the middle of its work: it goes on when `go` exists.

    It is known to have begun when `until` exists.
    """
    command = [sys.executable, "-c", _XXACT, str(go), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        wait_for(until, process)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def refused(done: subprocess.CompletedProcess, process: subprocess.Popen) -> bool:
    """Whether the command ended with one line that names the other process."""
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in done.stderr
    return f"process {process.pid}" in errors[0]


def test_a_second_prepare_is_refused_and_the_first_is_not_disturbed(formulas, tmp_path):
    out, alone, go = tmp_path / "a" / "st", tmp_path / "b" / "st", tmp_path / "go"
    with running(prepare(formulas, out), go, out / ".preparing") as first:
        for more in ((), ("--overwrite",), ("--share", "0/2")):
            done = run(prepare(formulas, out, *more))
            assert refused(done, first)
            assert f"{out} is being prepared" in done.stderr
        go.touch()
        assert first.wait(60) == 0
    assert run(prepare(formulas, alone)).returncode == 0
    assert contents(out) == contents(alone)


def test_shares_run_beside_each_other_and_keep_a_merge_out(formulas, tmp_path):
    out, alone, go = tmp_path / "a" / "st", tmp_path / "b" / "st", tmp_path / "go"
    claim = out / ".preparing" / "share-0-of-2.lock"
    with running(prepare(formulas, out, "--share", "0/2"), go, claim) as first:
        assert refused(run(prepare(formulas, out)), first)
        same = run(prepare(formulas, out, "--share", "0/2"))
        assert refused(same, first)
        assert "share 0/2" in same.stderr
        assert run(prepare(formulas, out, "--share", "1/2")).returncode == 0
        go.touch()
        assert first.wait(60) == 0
    assert run(prepare(formulas, out)).returncode == 0
    assert run(prepare(formulas, alone)).returncode == 0
    assert contents(out) == contents(alone)


def test_a_killed_prepare_locks_nobody_out(formulas, tmp_path):
    out = tmp_path / "st"
    with running(prepare(formulas, out), tmp_path / "go", out / ".preparing") as first:
        first.kill()
        first.wait()
        began = time.monotonic()
        assert run(prepare(formulas, out)).returncode == 0
        assert time.monotonic() - began < 30
    assert open_store(out).verify() == []


def test_a_store_that_is_trained_on_is_not_replaced(formulas, tmp_path):
    out, other = tmp_path / "st", tmp_path / "other.csv"
    other.write_text(formulas.read_text().replace("Cl", "Br"))
    assert run(prepare(formulas, out)).returncode == 0
    before = contents(out)
    trains = (
        "import sys, time; from xxact.data import open_store\n"
        "with open_store(sys.argv[1]).being_read():\n"
        "    print('reading', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", trains, str(out)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout.readline() == "reading\n"
        assert refused(run(prepare(other, out, "--overwrite")), reader)
        assert contents(out) == before
        assert run(prepare(formulas, out)).returncode == 0  # it is there: nothing to be done
    finally:
        reader.kill()
        reader.communicate()
    assert run(prepare(other, out, "--overwrite")).returncode == 0
    assert open_store(out).ids[0] == b"Na1Br"


def test_a_training_does_not_begin_while_its_store_is_replaced(formulas, tmp_path):
    out, other = tmp_path / "st", tmp_path / "other.csv"
    other.write_text(formulas.read_text().replace("Cl", "Br"))
    assert run(prepare(formulas, out)).returncode == 0
    replacing = prepare(other, out, "--overwrite")
    with running(replacing, tmp_path / "go", out / ".preparing") as process:
        store = open_store(out)  # the old one, whole
        assert store.verify() == []
        with pytest.raises(UserError, match=f"process {process.pid}"), store.being_read():
            pass


def test_who_waits_finds_what_the_other_has_made(formulas, tmp_path):
    """As two `run.py` of different tables on a fresh clone do with the embedded data."""
    out = tmp_path / "st"
    waits = (
        "import sys; from xxact.data.prepare import prepare\n"
        "from xxact.data.sources.arguments import parse_columns\n"
        "columns = parse_columns([], ['y=y'], {})\n"
        "prepare('csv', [sys.argv[1]], sys.argv[2], columns=columns, overwrite=True, wait=True)\n"
    )
    go = tmp_path / "go"
    with running(prepare(formulas, out), go, out / ".preparing") as first:
        command = [sys.executable, "-c", waits, str(formulas), str(out)]
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        told = second.stderr.readline()
        go.touch()
        assert first.wait(60) == 0
        assert second.wait(60) == 0
    with second.stderr:
        assert "waiting" not in second.stderr.read()
    assert told.startswith(f"waiting: {out} is being prepared by ")
    assert f"process {first.pid}" in told
    assert open_store(out).verify() == []


def test_two_downloads_into_one_folder(file_server, tmp_path):
    """The first stalls half way; the second is refused and touches nothing."""
    out = tmp_path / "raw"
    fetch = (
        "import sys; from xxact.data.fetch import data_sets; from xxact.cli import main\n"
        f"data_sets.mp20.__defaults__ = ({file_server.url!r}, None)\n"
        f"sys.exit(main(['data', 'fetch', 'mp20', '--out', {str(out)!r}]))\n"
    )
    file_server.files |= {f"{name}.csv": b"x" * 100_000 for name in ("train", "val", "test")}
    file_server.faults["train.csv"] = ["stall"]
    first = subprocess.Popen(
        [sys.executable, "-c", fetch], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(out / "train.csv.partial", first)
        done = subprocess.run([sys.executable, "-c", fetch], capture_output=True, text=True)
        assert refused(done, first)
        assert not (out / "val.csv").exists()
        file_server.stop_stalling.set()
        assert first.wait(60) == 0
        assert (out / "train.csv").read_bytes() == b"x" * 100_000
    finally:
        first.kill()
        first.communicate()
