"""What a SLURM job runs: one run of the suite, in each of the job's tasks."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from xxact.errors import MISTAKES, explained
from xxact.experiments.suite import Run

#: Python that becomes the command in its arguments, with USR2 held back: until `train_in_job`
#: listens, which takes seconds of imports, the signal would end the process.
HOLD_SIGNAL = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]);"
    " os.execvp(sys.argv[1], sys.argv[1:])"
)


def requeue_mark(folder: str, job_id: str) -> str:
    """File by which a job asks its batch script to be put in the queue again."""
    return f"{folder}/{job_id}_requeue"


def train_in_job(run: Run) -> NoReturn:
    """Bring `run` to its end on the tasks of this SLURM job, then end the process.

    A stop signal (time limit, preemption) is only noted, all tasks save together at a step
    boundary, and the batch script requeues the job. This replaces submitit's own handlers, which
    would save in rank 0 alone, inside the signal.
    """
    from xxact.training.signals import StopFlag, Stopped

    with StopFlag():  # the training's own takes over what came until then
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        import torch
        from submitit.helpers import TorchDistributedEnvironment

        from xxact.experiments.execute import execute

        tasks = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        torch.set_num_threads(1)  # on a CPU the numbers of a local run
        try:
            execute(run, show=tasks.rank == 0)
        except Stopped as stopped:
            if tasks.rank == 0:
                print(f"\n{stopped}", file=sys.stderr)
                Path(
                    requeue_mark(os.environ["SUBMITIT_FOLDER"], os.environ["SLURM_JOB_ID"])
                ).touch()
            # goes on to 0: at an error srun would kill the tasks that are still on their way out
        except MISTAKES as error:
            print(f"\nerror: {explained(error)}", file=sys.stderr)
            _end(2)
        _end(0)


def _end(code: int) -> NoReturn:
    """End this process without taking Python down first.

    DeepSpeed keeps its process groups, and a thread of theirs may still hold a tensor of the last
    exchange: letting go of it while Python ends aborts the process ("terminate called without an
    active exception", https://github.com/pytorch/pytorch/pull/179291), and a job whose work is
    done and written counts as failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
