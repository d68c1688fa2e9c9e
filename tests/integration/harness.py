"""A SLURM of the tests' own, and a copy of the project that submits to it."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from xxact.experiments.result import Result, read_result
from xxact.experiments.suite import REPOSITORY
from xxact.training.progress import read_progress

#: States of a job that is over.
ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY")

#: A scale of `gpus` processes a run: some tens of seconds, of which most go to starting.
SCALE = """
description: a few steps
data: nowhere
prepare: xxact data fetch nowhere
unseen_target: band_gap
models:
  xxact_nn:
    kind: xxact_nn
    composition: {width: 16, layers: 1, heads: 2, feedforward: 32, element_width: 8, dropout: 0.0}
    xrd: {width: 16, layers: 1, heads: 2, feedforward: 32, dropout: 0.0}
    fusion: {width: 16, layers: 1, heads: 2, feedforward: 32, dropout: 0.0}
  crabnet:
    kind: crabnet
    composition: {width: 16, layers: 1, heads: 2, feedforward: 32, element_width: 8}
    output_widths: [16]
  xrd_transformer:
    kind: xrd_transformer
    xrd: {width: 16, layers: 1, heads: 2, feedforward: 32}
pretraining: {epochs: 10, evaluations: 2}
training: {epochs: 10, evaluations: 20}
transfer: {epochs: 2, evaluations: 2}
batch_size: 16
precision: float32
engine: {gpus: GPUS}
"""


def wait_for(condition: Callable[[], object], what: str, seconds: float = 900.0) -> None:
    """Return when `condition()` holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.2)


class Slurm:
    """The throwaway cluster in `folder`, and questions to it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.configuration = folder, folder / "slurm.conf"

    def start(self) -> None:
        """Bring it up."""
        self._script("up")

    def stop(self) -> None:
        """Take it down; nothing of it may be left."""
        self._script("down")
        assert not self.folder.exists()

    def command(self, *words: str) -> str:
        """Output of one of SLURM's commands."""
        environment = os.environ | {"SLURM_CONF": str(self.configuration)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def job(self, id: str) -> dict[str, str]:
        """What the controller knows of a job, by its own names (JobState, StartTime...)."""
        line = self.command("scontrol", "show", "job", "--oneliner", id)
        return dict(re.findall(r"(\w+)=(\S*)", line))

    def state(self, id: str) -> str:
        """State of a job, as RUNNING."""
        return self.job(id)["JobState"]

    def ended(self, id: str) -> bool:
        """Whether a job is over, and stays so: one that is requeued looks so for a moment."""
        if self.state(id) not in ENDED:
            return False
        time.sleep(3)
        return self.state(id) in ENDED

    def waits(self, id: str) -> bool:
        """Whether a job has been requeued and waits for its time, its last try being over."""
        job = self.job(id)
        return (job["JobState"], job["Reason"]) == ("PENDING", "BeginTime")

    def release(self, id: str) -> None:
        """Let a requeued job begin now rather than in two minutes."""
        wait_for(lambda: self.waits(id), f"job {id} to be requeued")
        self.command("scontrol", "update", f"JobId={id}", "StartTime=now")

    def reach_time_limit(self, id: str) -> None:
        """Lower the limit of a running job until SLURM signals that it is nearly over.

        SLURM looks at its limits twice a minute, in which a small run ends: its processes stand
        still until the signal is there.
        """
        start = datetime.datetime.fromisoformat(self.job(id)["StartTime"])
        minutes = (datetime.datetime.now() - start).seconds // 60 + 2
        tasks = self.tasks(id).values()
        for pid in tasks:
            _signal(pid, signal.SIGSTOP)
        self.command("scontrol", "update", f"JobId={id}", f"TimeLimit={minutes}")
        wait_for(
            lambda: (
                all(_is_pending(pid, signal.SIGUSR2) for pid in tasks)
                or self.state(id) != "RUNNING"
            ),
            f"the time limit of job {id}",
        )
        for pid in tasks:
            _signal(pid, signal.SIGCONT)

    def tasks(self, id: str) -> dict[int, int]:
        """Process ids of a job's tasks, by rank."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "environ").read_bytes().decode(errors="replace").split("\0")
                command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it has just ended
                continue
            own = {f"SLURM_CONF={self.configuration}", f"SLURM_JOB_ID={id}"} <= set(words)
            if own and "submitit.core._submit" in command and command[0] != "srun":
                (rank,) = (word[13:] for word in words if word.startswith("SLURM_PROCID="))
                found[int(rank)] = int(process.name)
        return found

    def _script(self, action: str) -> None:
        script = REPOSITORY / "slurm" / "throwaway.py"
        done = subprocess.run(
            [sys.executable, script, action, self.folder], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


class Project:
    """A checkout of the project as it is now, with two small scales, that submits to `slurm`.

    Scale `one` trains in one process, `two` in two. Checkpoints are a second apart.
    """

    def __init__(self, folder: Path, slurm: Slurm, data: Path) -> None:
        self.folder, self.slurm, self.data = folder, slurm, data
        for name in ("xxact", "experiments", "slurm"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)
        shutil.copy(REPOSITORY / ".gitignore", folder)  # compiled kernels are no changes
        for name, gpus in (("one", 1), ("two", 2)):
            path = folder / "experiments" / "scales" / f"{name}.yaml"
            path.write_text(SCALE.replace("GPUS", str(gpus)))
        self.edit(
            "xxact/training/loop.py", r"CHECKPOINT_EVERY_S = [\d.]+", "CHECKPOINT_EVERY_S = 1"
        )
        profile = yaml.safe_load((REPOSITORY / "slurm" / "throwaway.yaml").read_text())
        profile |= {"slurm_conf": str(slurm.configuration), "signal_delay_s": 100}
        self.profile = folder / "site.yaml"
        self.profile.write_text(yaml.safe_dump(profile))
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "one"]):
            subprocess.run(["git", *words], cwd=folder, check=True)

    def edit(self, file: str, pattern: str, text: str) -> None:
        """Replace the one place in `file` that `pattern` finds."""
        path = self.folder / file
        changed, places = re.subn(pattern, text, path.read_text())
        assert places == 1, f"{file} has {places} places like {pattern}"
        path.write_text(changed)

    @property
    def commit(self) -> str:
        """The commit that is checked out."""
        return subprocess.check_output(
            ["git", "rev-parse", "HEAD"], cwd=self.folder, text=True
        ).strip()

    def run(self, *arguments: str, scale: str = "two", runs: Path, table: str = "table2"):
        """The finished process of a table's run.py."""
        own = ["--scale", scale, "--data", str(self.data), "--runs", str(runs)]
        return subprocess.run(
            [sys.executable, f"experiments/{table}/run.py", *own, *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    def submit(self, *arguments: str, runs: Path, **options) -> dict[str, str]:
        """Submit; the ids of the new jobs by name of their run."""
        done = self.run(
            "--submit", "--cluster", str(self.profile), *arguments, runs=runs, **options
        )
        assert done.returncode == 0, done.stderr
        rows = re.findall(r"^(\S+/\S+) \(seed 0\) +(\d+) ", done.stdout, re.MULTILINE)
        return dict(rows)

    def status(self, *arguments: str, **options) -> dict[str, str]:
        """What --status says, by name of the run."""
        done = self.run("--status", *arguments, **options)
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^(\S+/\S+) \(seed 0\) +(.+)$", done.stdout, re.MULTILINE))

    def finish(self, row: str, id: str, runs: Path, scale: str = "two", seconds: float = 1500.0):
        """Result of a run, when its job has ended well."""
        wait_for(lambda: self.slurm.ended(id), f"{row} to end", seconds)
        path = result_path(runs, row, scale)
        assert path.exists(), self.logs(row, runs, scale)
        return read_result(path)

    def logs(self, row: str, runs: Path, scale: str = "two") -> str:
        """All that the jobs of a run have said, for people."""
        logs = sorted((run_folder(runs, row, scale) / "slurm").glob("*_log.*"))
        return "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs)


def run_folder(runs: Path, row: str, scale: str = "two") -> Path:
    """Where a run with seed 0 keeps its files."""
    return runs / scale / row / "seed0"


def result_path(runs: Path, row: str, scale: str = "two") -> Path:
    """Where a run's result will be."""
    return run_folder(runs, row, scale).with_suffix(".json")


def step_of(runs: Path, row: str, scale: str = "two") -> int:
    """Last step that a run reported, 0 before the first."""
    progress = read_progress(run_folder(runs, row, scale))
    return progress["step"] if progress else 0


def measured(result: Result) -> tuple:
    """What has to be equal however a run came to its end."""
    return (result.metrics, result.curve, result.per_class, result.per_element, result.embedding)


def kill(pid: int) -> None:
    """End one process at once; nothing if it is gone already."""
    _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_pending(pid: int, number: int) -> bool:
    """Whether a signal waits for a process that stands still, or the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)
