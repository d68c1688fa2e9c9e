"""Worker processes: results, errors, death on either side."""

import os
import signal
import subprocess
import sys
import time

import pytest

from xxact.data.workers import WorkerPool
from xxact.errors import UserError


@pytest.mark.parametrize("n", [1, 2])
def test_results_and_errors_come_back(n):
    with WorkerPool(n) as pool:
        futures = [pool.submit(divmod, k, 3) for k in range(20)]
        assert [f.result() for f in futures] == [divmod(k, 3) for k in range(20)]
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
        assert pool.submit(divmod, 7, 2).result() == (3, 1)


def test_workers_are_other_processes_with_one_thread_each():
    with WorkerPool(2) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"


def test_printing_does_not_disturb_the_answers():
    with WorkerPool(2) as pool:
        assert pool.submit(os.system, "echo noise").result() == 0
        assert pool.submit(abs, -1).result() == 1


def test_death_of_a_worker_is_reported():
    with WorkerPool(2) as pool, pytest.raises(UserError, match="a worker process died"):
        pool.submit(os._exit, 3).result()


def test_workers_end_with_their_parent():
    code = (
        "import os, time\n"
        "from xxact.data.workers import WorkerPool\n"
        "with WorkerPool(2) as pool:\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while _runs(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")
