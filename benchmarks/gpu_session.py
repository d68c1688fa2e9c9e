"""What `gpu_session.sh` trains, in order of importance, within the minutes that it is given.

A chain is a row with all that it starts from (pretraining, training, transfer), and is finished
before the next is begun. One that would not fit into the time left, reckoned with what this
session has measured so far, is left out; when the time is up, or at SIGTERM, the run that is at
work saves and stops. A chain that fails does not keep the others from their turn, unless nothing
has worked yet. Exit code: 0, or 75 if a run was stopped, or that of the last run that failed.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from xxact.errors import UserError
from xxact.experiments import cost, suite
from xxact.experiments.result import data_path, read_result
from xxact.experiments.suite import REPOSITORY, Run
from xxact.terminal import format_seconds

#: Rows in the order in which they are worth a GPU's time.
CHAINS = (
    *("table2/none", "table1/crabnet_energy", "table1/xrd_energy", "table1/xxact_energy"),
    *("table1/crabnet_system", "table1/xrd_system", "table1/xxact_system"),
    *("table2/contrastive", "table2/mxm", "table2/contrastive_mxm"),
    *("scaling/xxact_1000k", "scaling/crabnet_1000k", "scaling/xxact_2000k"),
    *("scaling/crabnet_2000k", "scaling/xxact_3000k", "scaling/crabnet_3000k"),
    *("scaling/xxact_4000k", "scaling/crabnet_4000k"),
    *("table1/crabnet_energy_transfer", "table1/crabnet_system_transfer"),
    *("table1/xrd_energy_transfer", "table1/xrd_system_transfer"),
    *("table1/xxact_energy_transfer", "table1/xxact_system_transfer"),
    *("table1/xxact_multi_transfer", "table3/fcn_energy_1", "table3/fcn_mlp_energy_1"),
    *("table3/fcn_system_2", "table3/fcn_mlp_system_1"),
)
#: Seconds at the end that a run has to save in.
RESERVE_S = 30.0
#: Seconds between copies of what is finished, for a machine that may go away.
COLLECT_EVERY_S = 60.0
EXIT_STOPPED = 75


def main() -> int:
    """Train for the minutes given; the exit code."""
    options = parse_arguments()
    session = Session(options.scale, options.runs, options.data, options.collect)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the run saves
    try:
        return session.train(CHAINS, 60 * options.minutes)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return EXIT_STOPPED
    finally:
        session.copy_results()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float, help="how long the machine may be used")
    parser.add_argument("--scale", default="mp", help="default: mp")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs", metavar="DIR")
    parser.add_argument("--data", type=Path, metavar="DIR", help="store in place of the scale's")
    parser.add_argument("--collect", type=Path, metavar="DIR", help="copies of the result JSON")
    return parser.parse_args()


class Session:
    """One sitting at a machine: remembers how fast it proved to be."""

    def __init__(self, scale: str, runs: Path, data: Path | None, collect: Path | None) -> None:
        self.scale, self.root, self.data, self.collect = scale, runs, data, collect
        self.began = time.time()

    def train(self, chains: Sequence[str], seconds: float) -> int:
        """Train one chain after the other for `seconds`; the exit code."""
        failed, worked = 0, False
        for name in chains:
            plan = suite.plan([name], self.scale, [0], self.root, self.data)
            todo = suite.unfinished(plan)
            if not todo:
                self.say(f"{name}: done")
                continue
            left = self.began + seconds - RESERVE_S - time.time()
            needed = self.predict(todo)
            if left <= 0:
                self.say(f"{name}: no time left")
                break
            if needed is not None and needed > left:
                self.say(
                    f"{name}: would take about {format_seconds(needed)}, and"
                    f" {format_seconds(left)} are left"
                )
                continue
            self.say(f"{name}: {len(todo)} runs, {format_seconds(left)} left")
            code = self.run(name, left)
            self.copy_results()
            if code == EXIT_STOPPED or (code and not worked):
                return code
            failed, worked = code or failed, worked or not code
        return failed

    def predict(self, todo: Sequence[Run]) -> float | None:
        """Seconds that `todo` will take, by what runs of this session took; None if there are none.

        A run takes a constant (start, evaluations, saving), which is at most what the shortest run
        took, and so many times its estimate. Where no run of the same model and objective precedes,
        that ratio is the one of the run with the largest estimate.
        """
        seen: list[tuple[tuple[str, str], float, float]] = []  # kind, estimate, seconds
        for path in (self.root / self.scale).glob("*/*/seed*.json"):
            if path.stat().st_mtime < self.began:
                continue
            name = path.parent.relative_to(self.root / self.scale).as_posix()
            (run,) = suite.plan([name], self.scale, [0], self.root, self.data)[-1:]
            seen.append((kind(run), cost.estimate(run).gpu_hours, read_result(path).cost.wall_s))
        if not seen:
            return None
        constant = min(took for _, _, took in seen) if len(seen) > 1 else 0.0
        ratios: dict[tuple[str, str], float] = {}
        for which, estimate, took in seen:
            ratios[which] = max(ratios.get(which, 0.0), (took - constant) / estimate)
        largest = ratios[max(seen, key=lambda run: run[1])[0]]
        return sum(
            constant + cost.estimate(run).gpu_hours * ratios.get(kind(run), largest) for run in todo
        )

    def run(self, name: str, seconds: float) -> int:
        """Train a row with what it starts from; asked to stop after `seconds`. The exit code."""
        table, row = name.split("/")
        command = [sys.executable, f"experiments/{table}/run.py", "--local", "--only", row]
        command += ["--scale", self.scale, "--runs", str(self.root)]
        command += ["--data", str(self.data)] if self.data else []
        process = subprocess.Popen(command, cwd=REPOSITORY)
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                try:
                    return process.wait(timeout=min(left, COLLECT_EVERY_S))
                except subprocess.TimeoutExpired:
                    self.copy_results()
            self.say(f"{name}: the time is up")
            return EXIT_STOPPED
        finally:
            if process.poll() is None:  # the time is up, or Ctrl-C: it saves
                process.send_signal(signal.SIGTERM)
                process.wait()

    def copy_results(self) -> None:
        """Copy the result JSON of the scale; checkpoints stay."""
        if self.collect is None:
            return
        described = data_path(self.root, self.scale)
        files = [*(self.root / self.scale).glob("*/*/seed*.json"), described]
        for path in files if described.exists() else ():
            target = self.collect / path.relative_to(self.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)

    def say(self, text: str) -> None:
        """A line with the time since the beginning."""
        print(f"[{format_seconds(time.time() - self.began)}] {text}", flush=True)


def kind(run: Run) -> tuple[str, str]:
    """Runs of the same kind take time in proportion to their estimate."""
    return run.spec.model.kind, "transfer" if run.spec.transfer else run.spec.objective


if __name__ == "__main__":
    sys.exit(main())
