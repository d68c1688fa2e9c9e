"""How far a run is: a small file that anyone may read, a log, and a line on the terminal."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from xxact.data.store import write_atomically
from xxact.terminal import StatusLine, format_seconds

WRITE_EVERY_S = 1.0
PRINT_EVERY_S = 15.0


def format_scores(entry: dict[str, Any]) -> str:
    """The validation scores of one entry of the learning curve."""
    scores = entry.get("validation") or entry.get("test") or {}
    return "  ".join(
        f"{target} {name} {value:.4g}"
        for target, metrics in scores.items()
        for name, value in metrics.items()
        if name != "n" and value is not None
    )


def read_progress(folder: Path) -> dict[str, Any] | None:
    """`step`, `total` and `left_s` of the run in `folder`; None before its first step."""
    try:
        return json.loads((folder / "progress.json").read_text())
    except FileNotFoundError:
        return None


class Progress:
    """Keeps `folder/progress.json` and `folder/log.txt`, and prints to stderr where `show`."""

    def __init__(self, folder: Path, show: bool = True) -> None:
        self.folder, self.show = folder, show
        self.line = StatusLine(redraw_s=0.0, print_s=PRINT_EVERY_S)

    def start(self, step: int, total: int) -> None:
        """The run is at `step` of `total` and begins to compute.

        What processes that were killed had half written in the folder is removed.
        """
        for leftover in self.folder.glob("*.partial"):
            leftover.unlink()
        self.first, self.total = step, total
        self.began = time.monotonic()
        self.written = 0.0
        self._log(f"starts at step {step} of {total}")

    def update(self, step: int, curve: list[dict[str, Any]], evaluated: bool) -> None:
        """The run has finished `step`; `evaluated` says that the curve has a new entry."""
        now = time.monotonic()
        last = step == self.total
        if not (evaluated or last or now - self.written > WRITE_EVERY_S):
            return
        left_s = (self.total - step) * (now - self.began) / (step - self.first)
        content = {"step": step, "total": self.total, "left_s": round(left_s, 1)}
        with suppress(OSError):  # of a full disk the next checkpoint tells
            write_atomically(self.folder / "progress.json", json.dumps(content).encode())
        self.written = now
        line = f"step {step:>6}/{self.total}  {format_seconds(left_s):>7} left"
        if curve:
            line += f"  validation: {format_scores(curve[-1])}"
        if evaluated:
            self._log(line)
        if self.show and (last or self.line.is_due):
            self.line.show(line, last)

    def _log(self, line: str) -> None:
        with suppress(OSError), (self.folder / "log.txt").open("a") as file:
            file.write(line + "\n")
