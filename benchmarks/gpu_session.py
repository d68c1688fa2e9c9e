"""What `gpu_session.sh` trains, in order of importance, within the minutes that it is given.

A chain is a row with all that it starts from (pretraining, training, transfer), and is finished
before the next is begun. One that would not fit into the time left, reckoned with what this
session has measured so far, is left out; when the time is up, the run that is at work saves and
stops. Exit code: 0, or 75 if a run was stopped, or that of a run that failed.
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
from xxact.training.progress import format_seconds

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
EXIT_STOPPED = 75


def main() -> int:
    """Train for the minutes given; the exit code."""
    options = parse_arguments()
    session = Session(options.scale, options.runs, options.data, options.collect)
    try:
        return session.train(CHAINS, 60 * options.minutes)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


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
                return 0
            if needed is not None and needed > left:
                self.say(
                    f"{name}: would take about {format_seconds(needed)}, and"
                    f" {format_seconds(left)} are left"
                )
                continue
            self.say(f"{name}: {len(todo)} runs, {format_seconds(left)} left")
            code = self.run(name, left)
            self.copy_results()
            if code:
                return code
        return 0

    def predict(self, todo: Sequence[Run]) -> float | None:
        """Seconds that `todo` will take, by what runs of this session took; None if there are none.

        A run that no run of the same model and objective precedes counts with the slowest ratio
        of time to estimate seen so far.
        """
        seen: dict[tuple[str, str], float] = {}
        for path in (self.root / self.scale).glob("*/*/seed*.json"):
            if path.stat().st_mtime < self.began:
                continue
            name = path.parent.relative_to(self.root / self.scale).as_posix()
            (run,) = suite.plan([name], self.scale, [0], self.root, self.data)[-1:]
            took = read_result(path).cost.wall_s
            seen[kind(run)] = max(seen.get(kind(run), 0.0), took / cost.estimate(run).gpu_hours)
        if not seen:
            return None
        slowest = max(seen.values())
        return sum(cost.estimate(run).gpu_hours * seen.get(kind(run), slowest) for run in todo)

    def run(self, name: str, seconds: float) -> int:
        """Train a row with what it starts from; asked to stop after `seconds`. The exit code."""
        table, row = name.split("/")
        command = [sys.executable, f"experiments/{table}/run.py", "--local", "--only", row]
        command += ["--scale", self.scale, "--runs", str(self.root)]
        command += ["--data", str(self.data)] if self.data else []
        process = subprocess.Popen(command, cwd=REPOSITORY)
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.say(f"{name}: the time is up")
            process.send_signal(signal.SIGTERM)
            process.wait()
            return EXIT_STOPPED
        except BaseException:  # Ctrl-C: the run saves as well
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise

    def copy_results(self) -> None:
        """Copy the result JSON of the scale; checkpoints stay."""
        if self.collect is None:
            return
        files = [*(self.root / self.scale).glob("*/*/seed*.json"), data_path(self.root, self.scale)]
        for path in files:
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
