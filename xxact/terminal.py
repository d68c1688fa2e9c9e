"""A line on standard error that says how far something is."""

from __future__ import annotations

import sys
import time


def format_seconds(seconds: float) -> str:
    """Seconds as `h:mm:ss` or `m:ss`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class StatusLine:
    """A line redrawn on a terminal every `redraw_s`, and printed every `print_s` elsewhere."""

    def __init__(self, redraw_s: float, print_s: float) -> None:
        self._terminal = sys.stderr.isatty()
        self._pause = redraw_s if self._terminal else print_s
        self._shown = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the line has stood for long enough."""
        return time.monotonic() - self._shown >= self._pause

    def show(self, text: str, last: bool = False) -> None:
        """Put `text` in place of what stands there; the `last` stays."""
        self._shown = time.monotonic()
        start, end = ("\r\033[K", "\n" if last else "") if self._terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)
