"""Run a function in several processes at once, as a launcher of distributed training would."""

import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Seconds after which a group that is still running hangs.
LIMIT_S = 900


def start(size: int, folder: Path, function: Callable, *arguments: Any) -> list:
    """Processes that call `function(*arguments)` with the environment of `size` ranks.

    What it returns, or the exception it raises, is left in `folder` for `finish`.
    """
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=_rank, args=(rank, size, port, folder, function, arguments))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes


def finish(processes: list, folder: Path) -> list[Any]:
    """What the function returned in each rank; None where the process left nothing."""
    for process in processes:
        process.join(LIMIT_S)
    hanging = [process for process in processes if process.is_alive()]
    for process in hanging:
        process.kill()
    assert not hanging, f"{len(hanging)} processes still ran after {LIMIT_S} s"
    files = [folder / f"rank{rank}.pickle" for rank in range(len(processes))]
    results = [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def run(size: int, folder: Path, function: Callable, *arguments: Any) -> list[Any]:
    """`start` and `finish`."""
    return finish(start(size, folder, function, *arguments), folder)


def _rank(rank: int, size: int, port: int, folder: Path, function: Callable, arguments) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    try:
        result = function(*arguments)
    except Exception as error:
        result = RuntimeError(f"rank {rank}: {type(error).__name__}: {error}")
        import traceback

        traceback.print_exc()
    (folder / f"rank{rank}.pickle").write_bytes(pickle.dumps(result))
