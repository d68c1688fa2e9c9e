"""Train runs on this machine: each in a process of its own, several at a time, in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from xxact import command
from xxact.command import EXIT_STOPPED
from xxact.data.store import Store
from xxact.experiments import suite
from xxact.experiments.suite import Run
from xxact.terminal import format_seconds
from xxact.training.progress import read_progress
from xxact.training.signals import STOP_SIGNALS, StopFlag, Stopped

REPORT_EVERY_S = 15.0


def default_jobs() -> int:
    """Runs at a time: one where there is a GPU, else one a core."""
    import torch

    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def train(todo: Sequence[Run], store: Store, jobs: int) -> int:
    """Train `todo`, `jobs` runs at a time, each after what it starts from; the exit code.

    On a CPU every run computes on one core, so its numbers do not depend on `jobs`. The first
    failure or stop signal stops the others too; each saves first.
    """
    pending, failed = list(todo), 0
    running: dict[Run, BaseProcess] = {}
    report = _Report(todo, store, jobs)
    spawn = multiprocessing.get_context("spawn")
    with _Stop() as stop:
        while running or (pending and not failed and not stop.requested):
            for run in _ready(pending, running)[: jobs - len(running)]:
                if failed or stop.requested:
                    break
                pending.remove(run)
                running[run] = spawn.Process(target=_child, args=(run,))
                _start(running[run])
            time.sleep(0.2)
            for run, process in list(running.items()):
                if process.exitcode is None:
                    continue
                del running[run]
                if process.exitcode:
                    failed = failed or (process.exitcode if process.exitcode > 0 else 1)
                    print(f"\n{_how_it_ended(run, process.exitcode)}", file=sys.stderr)
                    stop.terminate(running.values())
            report.show(pending, running)
            if stop.requested:
                stop.terminate(running.values())
                failed = failed or EXIT_STOPPED
    report.close()
    return failed


def _ready(pending: Sequence[Run], running: dict[Run, BaseProcess]) -> list[Run]:
    """The pending runs that wait for no other run."""
    unfinished = {run.model_path for run in (*pending, *running)}
    return [run for run in pending if run.init_path not in unfinished]


def _start(process: BaseProcess) -> None:
    """Start a process in which stop signals wait until it listens to them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how_it_ended(run: Run, exit_code: int) -> str:
    """What to say of a run that did not finish; finished ones are kept, whatever it was."""
    if exit_code == EXIT_STOPPED:
        return f"{run.label} stopped ({suite.state(run)}); the same command goes on from there"
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        why = ", which is what a system does that runs out of memory" if name == "SIGKILL" else ""
        return f"{run.label} was killed by {name}{why}; the same command goes on"
    return f"{run.label} failed; finished runs are kept"


def _child(run: Run) -> None:
    """What the child process does: one run, with exit codes in place of tracebacks."""
    StopFlag().__enter__()  # the training's own takes over what came until then
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    import torch

    from xxact.experiments.execute import execute

    torch.set_num_threads(1)
    try:
        code = command.run(lambda: execute(run, show=False))
    except Stopped:
        code = EXIT_STOPPED
    # All is saved: what comes now, as the parent's signal after Ctrl-C, has nothing to stop.
    # Python takes its own handlers down before it ends, but not this.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


class _Stop:
    """Ctrl-C and SIGTERM ask the children to save and stop, once."""

    def __enter__(self) -> _Stop:
        self.requested = False
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._previous = {number: signal.signal(number, self._request) for number in numbers}
        self._told: set[BaseProcess] = set()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, *_: object) -> None:
        self.requested = True

    def terminate(self, processes: Sequence[BaseProcess]) -> None:
        for process in processes:
            if process not in self._told:
                self._told.add(process)
                process.terminate()


class _Report:
    """One line about all runs: rewritten on a terminal, printed now and then elsewhere."""

    def __init__(self, todo: Sequence[Run], store: Store, jobs: int) -> None:
        self.todo, self.store, self.jobs = todo, store, jobs
        self.began = self.printed = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.finished: set[Run] = set()
        self.expected = {run: (suite.measured_cost(run) or {}).get("wall_s") for run in todo}

    def show(self, pending: Sequence[Run], running: dict[Run, BaseProcess]) -> None:
        """Report the runs that have just finished, and those that are running."""
        for run in self.todo:
            if run not in self.finished and run not in pending and run not in running:
                self.finished.add(run)
                self._line(f"{run.label}: {suite.state(run)}", last=True)
        if self.terminal or time.monotonic() - self.printed > REPORT_EVERY_S:
            self.printed = time.monotonic()
            self._line(self._status(pending, running), last=not self.terminal)

    def close(self) -> None:
        """Leave the terminal on a fresh line."""
        elapsed = format_seconds(time.monotonic() - self.began)
        done = sum(suite.state(run) == "done" for run in self.todo)
        self._line(f"{done} of {len(self.todo)} runs done in {elapsed}", last=True)

    def _status(self, pending: Sequence[Run], running: dict[Run, BaseProcess]) -> str:
        parts, left = [f"{len(self.finished)}/{len(self.todo)} done"], 0.0
        for run in running:
            progress = read_progress(run.folder)
            if progress:
                parts.append(f"{run.name} {100 * progress['step'] / progress['total']:.0f} %")
                left += progress["left_s"]
            else:
                parts.append(f"{run.name} starts")
                left += self.expected[run] or 0.0
        waiting = [self.expected[run] for run in pending]
        if None in waiting:
            parts.append(f"{len(waiting)} runs wait")
        else:
            parts.append(f"about {format_seconds((left + sum(waiting)) / self.jobs)} left")
        return " | ".join(parts)

    def _line(self, text: str, last: bool) -> None:
        start = "\r\033[K" if self.terminal else ""
        print(start + text, end="\n" if last else "", file=sys.stderr, flush=True)
