"""How far submitted runs are: what SLURM says of their jobs, and what is in their folders."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xxact.errors import UserError
from xxact.experiments import suite
from xxact.experiments.cluster import configuration
from xxact.experiments.result import read_result
from xxact.experiments.submit import Job, log_folder, recorded_job
from xxact.experiments.suite import Run
from xxact.terminal import format_seconds
from xxact.training.progress import read_progress

#: States in which SLURM still has plans for a job.
ACTIVE = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "SIGNALING",
    "RESIZING",
    "STAGE_OUT",
    "REQUEUED",
    "REQUEUE_HOLD",
)
#: What torch puts before each line of a traceback in a group of processes.
_RANK = re.compile(r"^\[rank\d+\]: ")
#: An error as a program's own message or as Python's last words.
_ERROR = re.compile(r"^(error: |[\w.]*(Error|Exception|Exit|Interrupt)\b:?)")
#: What gloo and NCCL say in a task when another one is gone, which is where the cause is.
_LOST_PEER = re.compile(
    r"by peer|remote (worker|process)|unexpectedly closed|Timed out waiting|failed to recv"
)
#: How a process ended, as srun tells it: killed, out of memory, by which signal.
_TASK_ENDED = re.compile(r"^srun: error: \S+ tasks? ")


@dataclass(frozen=True)
class JobState:
    """What SLURM says of a job; `reason` is why it waits, `restarts` how often it was requeued."""

    state: str
    reason: str = ""
    restarts: int = 0

    @property
    def active(self) -> bool:
        """Whether the job waits or runs."""
        return self.state in ACTIVE


def job_states(jobs: Iterable[Job]) -> dict[Job, JobState]:
    """States of the jobs that SLURM remembers: from its queue, else from its accounting."""
    found = {}
    for conf in {job.configuration for job in jobs}:
        if conf is not None and not conf.exists():
            continue  # that cluster is gone, and its jobs with it
        own = [job for job in jobs if job.configuration == conf]
        with configuration(conf):
            states = _from_queue()
            if any((job.id, job.name) not in states for job in own):
                states = _from_accounting(own) | states
        found |= {job: states[job.id, job.name] for job in own if (job.id, job.name) in states}
    return found


def active_jobs(runs: Sequence[Run]) -> dict[Path, Job]:
    """Jobs of the runs that wait or run now, by the weights that they make."""
    recorded = _recorded(runs)
    states = job_states(recorded.values())
    return {
        run.model_path: job for run, job in recorded.items() if job in states and states[job].active
    }


def describe(runs: Sequence[Run]) -> dict[Run, str]:
    """How far each run is, in words."""
    recorded = _recorded(run for run in runs if not run.result_path.exists())
    states = job_states(recorded.values())
    return {run: _describe(run, recorded.get(run), states) for run in runs}


def cancel(runs: Sequence[Run]) -> list[tuple[Run, Job]]:
    """Cancel the jobs of `runs` that wait or run, and no other; those that were cancelled."""
    active = active_jobs(runs)
    # last first: a job whose dependency is cancelled would go by itself in the meantime
    ended = [(run, active[run.model_path]) for run in reversed(runs) if run.model_path in active]
    for run, job in ended:
        with configuration(job.configuration):
            done = _slurm("scancel", job.id)
        if done is None:
            raise UserError(f"scancel {job.id} failed for {run.label}; try again")
    return ended


def _recorded(runs: Iterable[Run]) -> dict[Run, Job]:
    return {run: job for run in runs if (job := recorded_job(run))}


def _describe(run: Run, job: Job | None, states: dict[Job, JobState]) -> str:
    if run.result_path.exists():
        return _describe_finished(run)
    so_far = suite.state(run)
    if job is None:
        return so_far
    known = states.get(job)
    at = f" at {so_far}" if so_far.startswith("step") else ""
    if known and known.state == "CANCELLED":
        never = known.reason == "DependencyNeverSatisfied"
        return f"cancelled{at}" + (f": {run.spec.init} failed" if never else "")
    if known is None or not known.active:
        why = f" ({known.state})" if known and known.state not in ("FAILED", "COMPLETED") else ""
        return f"failed{at}{why}: {last_error(run, job)}"
    if known.state == "RUNNING":
        progress = read_progress(run.folder)
        left = f", about {format_seconds(progress['left_s'])} left" if progress else ""
        return f"running{at}{left}"
    if known.state in ("COMPLETING", "STAGE_OUT"):
        return f"ending{at}"
    if known.restarts:
        return f"requeued{at} ({known.reason})"
    after = f"waits for {run.spec.init}" if known.reason == "Dependency" else known.reason
    return f"queued{at} ({after})"


def _describe_finished(run: Run) -> str:
    if suite.state(run) != "done":
        return suite.state(run)
    result = read_result(run.result_path)
    hours = result.cost.wall_s * (result.hardware.processes or 1) / 3600
    unit = "GPU-hours" if result.hardware.device == "cuda" else "process-hours on the CPU"
    return f"done, {hours:.3g} {unit}"


def last_error(run: Run, job: Job) -> str:
    """The line of the job's logs that says best why it failed."""
    logs = sorted(log_folder(run).glob(f"{job.id}_*_log.err"))
    lines = [
        _RANK.sub("", line).strip()
        for log in logs
        for line in log.read_text(errors="replace").splitlines()
        if line.strip()
    ]
    errors = [line for line in lines if _ERROR.match(line)]
    told = [line for line in errors if not _LOST_PEER.search(line)]
    # tasks that are terminated in the wake of another one say nothing of the cause, and one that
    # exits has told it
    ended = [line for line in lines if _TASK_ENDED.match(line) and "Terminated" not in line]
    by_signal = [line for line in ended if "Exited" not in line]
    other = [line for line in lines if "error" in line.lower() and "Terminated" not in line]
    best = told or by_signal or errors or ended or other or lines
    return best[-1] if best else f"no log in {log_folder(run)}"


def _from_queue() -> dict[tuple[str, str], JobState]:
    """This user's jobs in SLURM's memory, by id and name; it forgets them minutes after the end."""
    fields = "JobID:|,Name:|,State:|,Reason:|,RestartCnt:|"
    output = _slurm("squeue", "--me", "--states=all", "--noheader", f"--Format={fields}")
    if output is None:
        raise UserError(
            "squeue does not answer: is this a login node of the cluster, and is its controller up?"
        )
    rows = [line.split("|") for line in output.splitlines()]
    return {(row[0], row[1]): JobState(row[2], row[3], int(row[4])) for row in rows}


def _from_accounting(jobs: Iterable[Job]) -> dict[tuple[str, str], JobState]:
    """The jobs in SLURM's accounting, by id and name; none where it keeps no account."""
    ids = ",".join(job.id for job in jobs)
    fields = "--format=JobIDRaw,JobName,State"
    output = _slurm("sacct", "-X", "--parsable2", "--noheader", f"--jobs={ids}", fields)
    rows = [line.split("|") for line in (output or "").splitlines()]
    # "CANCELLED by 1000"
    return {(row[0], row[1]): JobState(row[2].split()[0]) for row in rows if len(row) == 3}


def _slurm(*command: str) -> str | None:
    """Output of a SLURM command, None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
