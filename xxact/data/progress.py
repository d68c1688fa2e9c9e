"""How fast a long preparation or download goes, on standard error."""

from __future__ import annotations

import time

from xxact.terminal import StatusLine, format_seconds


class Rate:
    """A status line of how much is done, how fast, and how long the rest will take."""

    def __init__(self, what: str):
        self._what = what
        self._line = StatusLine(redraw_s=0.2, print_s=10.0)
        self._start = time.monotonic()
        self._skipped = 0.0

    def skip(self, amount: float) -> None:
        """Count work that was found done: it does not enter the rate."""
        self._skipped += amount

    def update(
        self, done: float, total: float | None, note: str = "", *, last: bool = False
    ) -> None:
        """Show `done` of `total` units (None: unknown)."""
        if not (last or self._line.is_due):
            return
        took = time.monotonic() - self._start
        rate = (done - self._skipped) / max(took, 1e-9)
        text = f"{self._what}: {_count(done)}"
        if total:
            text += f" of {'' if last else 'about '}{_count(total)}, {100 * done / total:.0f} %"
        text += f", {_count(rate)}/s"
        if last:
            text += f", {format_seconds(took)}"
        elif total and rate > 0:
            text += f", {format_seconds(max(0.0, total - done) / rate)} left"
        text += f", {note}" if note else ""
        self._line.show(text, last)


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"
