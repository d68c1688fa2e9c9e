"""Cluster profiles: what differs between one SLURM site and another, as YAML (`slurm/*.yaml`)."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt

from xxact.errors import UserError
from xxact.training.spec import Spec

#: Where torch.compile keeps what it made, each part in a folder of its own under `Cluster.caches`.
CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


class Cluster(Spec):
    """How to ask for GPUs, and what a job needs before it can compute.

    A run has one task (process) a GPU. `nodes` is the most that one run may take; `gres` is the
    site's name of its GPUs, as `gpu:h100`, where --gpus-per-node does not do. `sbatch` and `srun`
    are further options. `set_up` are lines of bash that come before the training; `container` is
    put before `python`, the interpreter on the nodes (default: the one that submits). `caches` is
    a folder for compiled kernels; shell variables are allowed. `slurm_conf` is the cluster's
    configuration where it is not the machine's own.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: PositiveInt = 1
    gpus_per_node: PositiveInt
    gres: str | None = Field(None, pattern=r"^[^:]+(:[^:]+)?$")
    cpus_per_task: PositiveInt = 1
    memory_gb_per_gpu: PositiveFloat | None = None
    time_minutes: PositiveInt
    signal_delay_s: PositiveInt
    sbatch: dict[str, str | int | bool] = Field(default_factory=dict)
    srun: tuple[str, ...] = ()
    set_up: tuple[str, ...] = ()
    container: str | None = None
    python: str | None = None
    caches: str | None = None
    slurm_conf: Path | None = None

    def shape(self, gpus: int, what: str) -> tuple[int, int]:
        """Nodes, and GPUs on each, for a run of `gpus`; `what` names the run in a `UserError`."""
        nodes = -(-gpus // self.gpus_per_node)
        if nodes > self.nodes:
            raise UserError(
                f"{what} asks for {gpus} GPUs; the cluster profile allows {self.nodes} node(s) of"
                f" {self.gpus_per_node}. Raise 'nodes' there, or lower the run's gpus"
            )
        if gpus % nodes:
            raise UserError(
                f"{what} asks for {gpus} GPUs, which do not spread evenly over {nodes} nodes of"
                f" {self.gpus_per_node}; take a multiple of {nodes}"
            )
        return nodes, gpus // nodes

    @property
    def interpreter(self) -> str:
        """Python on the nodes, within the container if there is one."""
        return self.python or ("python3" if self.container else shlex.quote(sys.executable))

    def set_up_lines(self, code: Path) -> list[str]:
        """Bash that comes before the training; `code` is the folder of the code to run."""
        lines = []
        if self.caches:
            lines += [f'export {name}="{self.caches}/{sub}"' for name, sub in CACHES.items()]
            lines.append("mkdir -p " + " ".join(f'"${name}"' for name in CACHES))
        lines += self.set_up
        return [*lines, f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}"]


@contextlib.contextmanager
def configuration(slurm_conf: str | Path | None) -> Iterator[None]:
    """Context in which SLURM's commands speak to the cluster of that configuration file."""
    before = os.environ.get("SLURM_CONF")
    if slurm_conf is not None:
        os.environ["SLURM_CONF"] = str(slurm_conf)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = before
