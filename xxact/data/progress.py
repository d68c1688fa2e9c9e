"""Progress of a long preparation or download on standard error."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """A line that is redrawn on a terminal, and printed every ten seconds elsewhere."""

    def __init__(self, what: str, stream: TextIO | None = None):
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._interval = 0.2 if self._terminal else 10.0
        self._start = self._last = time.monotonic()
        self._skipped = 0.0

    def skip(self, amount: float) -> None:
        """Count work that was found done: it does not enter the rate."""
        self._skipped += amount

    def update(
        self, done: float, total: float | None, note: str = "", *, last: bool = False
    ) -> None:
        """Show `done` of `total` units (None: unknown)."""
        now = time.monotonic()
        if not last and now - self._last < self._interval:
            return
        self._last = now
        rate = (done - self._skipped) / max(now - self._start, 1e-9)
        text = f"{self._what}: {_count(done)}"
        if total:
            text += f" of {'' if last else 'about '}{_count(total)}, {100 * done / total:.0f} %"
        text += f", {_count(rate)}/s"
        if last:
            text += f", {_clock(now - self._start)}"
        elif total and rate > 0:
            text += f", {_clock(max(0.0, total - done) / rate)} left"
        text += f", {note}" if note else ""
        if self._terminal:
            self._stream.write(f"\r\x1b[K{text}" + ("\n" if last else ""))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
