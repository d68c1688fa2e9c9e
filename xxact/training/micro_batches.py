"""A batch in pieces: what goes through the model at once, in each process."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class MicroBatch:
    """Slots of a batch that go through the model together, in one process."""

    slots: slice
    number: int  # among the micro-batches of all processes

    def __len__(self) -> int:
        return self.slots.stop - self.slots.start

    def seed_dropout(self, seed: int) -> None:
        """Let what is drawn next follow from `seed` and the micro-batch alone."""
        number = seed + 1_000_000_007 * self.number
        # `torch.manual_seed` would note the whole call stack for each kind of device not in use.
        torch.default_generator.manual_seed(number)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed(number)


def micro_batches_of(n: int, rank: int, size: int, largest: int | None) -> list[MicroBatch]:
    """The micro-batches of a batch of `n` slots that are computed by process `rank` of `size`.

    Every process has as many, of at most `largest` slots, and equal to one slot; of a batch
    smaller than the number of micro-batches, some are empty.
    """
    share = -(-n // size)
    per_process = 1 if largest is None else -(-share // largest)
    bounds = [n * k // (size * per_process) for k in range(size * per_process + 1)]
    own = range(rank * per_process, (rank + 1) * per_process)
    return [MicroBatch(slice(bounds[k], bounds[k + 1]), k) for k in own]
