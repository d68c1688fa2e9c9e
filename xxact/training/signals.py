"""Stopping a run: the signal only sets a flag, the loop saves at the next step boundary."""

from __future__ import annotations

import signal
import threading

#: Ctrl-C, `kill`, and what clusters send ahead of a time limit or a preemption.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Stopped(Exception):
    """A run was asked to stop and has saved: the same command goes on from there."""

    def __init__(self, step: int, total: int) -> None:
        super().__init__(f"stopped at step {step} of {total}; the same command goes on from there")


class StopFlag:
    """Context in which the stop signals set `requested` instead of ending the process.

    Inside another such context it begins with what that one was asked.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> StopFlag:
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                self._previous[number] = signal.signal(number, self._request)
        outer = [getattr(handler, "__self__", None) for handler in self._previous.values()]
        if any(isinstance(flag, StopFlag) and flag.requested for flag in outer):
            self.requested = True
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, *_: object) -> None:
        self.requested = True
