"""The processes that train one run together, as the environment names them.

torch's launchers and SLURM jobs set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.
Without them a run is one process, in which nothing here costs anything.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from xxact.errors import UserError, explained

#: How long a process waits for the others before it takes them for dead.
TIMEOUT = datetime.timedelta(minutes=10)

T = TypeVar("T")


def pick_device() -> torch.device:
    """This process's GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class World:
    """This process's place among those of a run.

    Every method but `is_first` waits for the other processes, which have to call it too.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over the processes, written over it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, *numbers: float) -> list[float]:
        """The largest of each number over the processes."""
        if self.size == 1:
            return list(numbers)
        together = torch.tensor(numbers, dtype=torch.float64, device=pick_device())
        dist.all_reduce(together, op=dist.ReduceOp.MAX)
        return together.tolist()

    def gather(self, content: T) -> list[T]:
        """What each process passed, in the order of their ranks; anything that can be pickled."""
        if self.size == 1:
            return [content]
        contents: list[Any] = [None] * self.size
        dist.all_gather_object(contents, content)
        return contents

    def on_first(self, action: Callable[[], T]) -> T | None:
        """The result of `action`, which the first process alone carries out; None in the others.

        What it cannot write or the user has to put right becomes a `UserError` in all processes.
        """
        result, problem = None, None
        if self.is_first:
            try:
                result = action()
            except (UserError, OSError) as error:
                problem = error
        message = [_explained(problem)]
        if self.size > 1:
            dist.broadcast_object_list(message, src=0)
        if message[0] is not None:
            raise UserError(message[0]) from problem
        return result


def _explained(problem: Exception | None) -> str | None:
    if isinstance(problem, OSError):
        return f"{explained(problem)}; put that right and start the same command again"
    return None if problem is None else str(problem)


@contextmanager
def joined() -> Iterator[World]:
    """Context of this process's `World`; the processes wait for each other to enter it."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size > 1:
        device = pick_device()
        if device.type == "cuda":  # a task that sees one GPU alone has number 0, whatever its rank
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield World(dist.get_rank(), size) if size > 1 else World()
    finally:
        if dist.is_initialized():  # DeepSpeed wants a group for one process too
            dist.destroy_process_group()
