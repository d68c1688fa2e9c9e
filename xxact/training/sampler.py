"""The order of the data: a pure function of (seed, step), so that resuming is a seek."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from xxact.errors import UserError


@dataclass(frozen=True)
class Slots:
    """One batch: for each slot a row of the store and the task it is trained on."""

    rows: np.ndarray  # (B,) int64, rows of the store
    tasks: np.ndarray  # (B,) int64, index into the targets of the run


class Sampler:
    """Shuffled batches without end, of one or several tasks.

    `rows_by_task` lists for each task the rows that have its label. With several tasks each slot
    draws a task uniformly and then the next example of that task (paper, section 3.4); an epoch
    has as many slots as all tasks together have examples. The last, incomplete batch of an epoch
    is left out; fewer examples than a batch are one batch.
    """

    def __init__(self, rows_by_task: Sequence[np.ndarray], batch_size: int, seed: int) -> None:
        self.rows_by_task = [np.asarray(rows, dtype=np.int64) for rows in rows_by_task]
        if not all(map(len, self.rows_by_task)):
            raise UserError("the training split has no example")
        self.slots_per_epoch = sum(len(rows) for rows in self.rows_by_task)
        self.batch_size = min(batch_size, self.slots_per_epoch)
        self.steps_per_epoch = self.slots_per_epoch // self.batch_size
        self.seed = seed
        self._epoch = lru_cache(maxsize=1)(self._shuffle)

    def batch(self, step: int) -> Slots:
        """The batch of step `step`, counted from 0 over all epochs."""
        epoch, k = divmod(step, self.steps_per_epoch)
        order = self._epoch(epoch)
        own = slice(k * self.batch_size, (k + 1) * self.batch_size)
        return Slots(order.rows[own], order.tasks[own])

    def _shuffle(self, epoch: int) -> Slots:
        random = np.random.default_rng([self.seed, epoch])
        n_tasks = len(self.rows_by_task)
        if n_tasks == 1:
            rows = random.permutation(self.rows_by_task[0])
            return Slots(rows, np.zeros(len(rows), dtype=np.int64))
        tasks = random.integers(n_tasks, size=self.slots_per_epoch)
        rows = np.empty_like(tasks)
        for task, available in enumerate(self.rows_by_task):
            slots = np.flatnonzero(tasks == task)
            passes = -(-len(slots) // len(available))
            queue = np.concatenate([random.permutation(available) for _ in range(passes)] or [[]])
            rows[slots] = queue[: len(slots)]
        return Slots(rows, tasks)
