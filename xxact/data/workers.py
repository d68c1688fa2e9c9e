"""Worker processes that end with their parent, however it ends.

Each is `python -m xxact.data.workers`: it reads pickled calls from standard input and answers on
standard output, so that the death of the parent (SIGKILL included) closes its input and ends it.
Nothing is forked and the caller's `__main__` is not imported again. Numerical libraries get one
thread each.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from xxact.errors import UserError

_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "RAYON", "VECLIB_MAXIMUM")
_ROOT = Path(__file__).resolve().parents[2]


class WorkerPool:
    """`n` worker processes; with n = 1, calls run in this process and `submit` returns when done.

    A context manager: leaving it ends the workers.
    """

    def __init__(self, n: int):
        self.n = n
        self._processes: list[subprocess.Popen] = []
        self._idle: queue.SimpleQueue[subprocess.Popen] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(n)

    def __enter__(self) -> WorkerPool:
        for _ in range(self.n if self.n > 1 else 0):
            self._idle.put(self._start())
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            for process in self._processes:
                process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            with suppress(OSError):  # unsent bytes of a process that was killed
                process.stdin.close()
            process.wait()
            process.stdout.close()

    def submit(self, function: Callable, *arguments: Any) -> Future:
        """Call a module-level function in a worker."""
        if self.n > 1:
            return self._threads.submit(self._call, function, arguments)
        future: Future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def _start(self) -> subprocess.Popen:
        environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in _THREADS}
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-m", "xxact.data.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        self._processes.append(process)
        return process

    def _call(self, function: Callable, arguments: tuple) -> Any:
        process = self._idle.get()
        try:
            pickle.dump((function, arguments), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            error, result = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as failure:
            raise UserError(
                f"a worker process died (exit code {process.poll()}), perhaps for want of memory: "
                "run the same command again with fewer --workers, it goes on where it stopped"
            ) from failure
        finally:
            self._idle.put(process)
        if error is not None:
            raise error
        return result


def main() -> None:
    """Answer calls until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # stray prints must not mix with answers
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (None, function(*arguments))
        except Exception as error:
            answer = (error, None)
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main()
