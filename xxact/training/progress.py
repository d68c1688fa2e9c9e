"""How far a run is: small files that anyone may read, a log, and a line on the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from xxact.files import remove_partials, write_atomically
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
    """Keeps `progress.json`, `metrics.jsonl` and `log.txt` in `folder`, and prints where `show`.

    `metrics.jsonl` is the learning curve, a line an evaluation: what a run that dies leaves of it.
    """

    def __init__(self, folder: Path, show: bool = True) -> None:
        self.folder, self.show = folder, show
        self.line = StatusLine(redraw_s=0.0, print_s=PRINT_EVERY_S)

    def start(self, step: int, total: int, curve: Sequence[dict[str, Any]] = ()) -> None:
        """The run is at `step` of `total`, with a `curve` so far, and begins to compute.

        What processes that were killed had half written in the folder is removed, and so are
        evaluations after `step`, which the run comes to again.
        """
        remove_partials(self.folder)
        lines = "".join(json.dumps(entry) + "\n" for entry in curve)
        with suppress(OSError):
            write_atomically(self.folder / "metrics.jsonl", lines.encode())
        self.first, self.total = step, total
        self.began = time.monotonic()
        self.written = 0.0
        self._append("log.txt", f"starts at step {step} of {total}")

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
            self._append("metrics.jsonl", json.dumps(curve[-1]))
            self._append("log.txt", line)
        if self.show and (last or self.line.is_due):
            self.line.show(line, last)

    def _append(self, name: str, line: str) -> None:
        with suppress(OSError), (self.folder / name).open("a") as file:
            file.write(line + "\n")
