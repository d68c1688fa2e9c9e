"""Cluster profiles: what differs between one SLURM site and another, as YAML (`slurm/*.yaml`)."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from xxact.errors import UserError
from xxact.training.spec import Spec

#: Where torch.compile keeps what it made, each part in a folder of its own under `Cluster.caches`.
CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
#: Keys of a profile that say better what an option of sbatch says.
_OWN_KEYS = {
    **{name: name for name in ("partition", "account", "qos", "constraint", "nodes", "gres")},
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket"), "gpus_per_node"),
    **dict.fromkeys(("ntasks", "ntasks-per-node", "ntasks-per-gpu"), "gpus_per_node"),
    **dict.fromkeys(("cpus-per-task", "cpus-per-gpu"), "cpus_per_task"),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), "memory_gb_per_gpu"),
    **{"time": "time_minutes", "signal": "signal_delay_s"},
}
#: Options of sbatch by which a job would not be submitted, found, warned or requeued as the suite
#: does it, and so has to itself.
_SUITES_OWN = (
    *("array", "chdir", "clusters", "dependency", "error", "help", "input", "job-name"),
    *("kill-on-invalid-dep", "no-requeue", "open-mode", "output", "parsable", "quiet", "requeue"),
    *("test-only", "usage", "version", "wait", "wrap"),
)
#: The same of srun, with its one-letter names.
_SRUNS_OWN = {
    **{"cpus-per-task": "c", "nodes": "N", "ntasks": "n", "output": "o", "error": "e"},
    **{"job-name": "J", "kill-on-bad-exit": "K", "chdir": "D", "input": "i", "jobid": ""},
    **{"unbuffered": "u", "label": "l", "pty": "", "multi-prog": "", "quit-on-interrupt": "q"},
}
#: Seconds that are needed from the start of a job to its stop signal, which SLURM may send a
#: minute early: to load the data and take some steps.
LEAST_TRAINING_S = 120

#: A word or more on one line.
Text = Annotated[str, Field(pattern=r"^[^\n]*[^\s][^\n]*$")]


class Cluster(Spec):
    """How to ask for GPUs, and what a job needs before it can compute.

    A run has one task (process) a GPU. `nodes` is the most that one run may take; `gres` is the
    site's name of its GPUs, as `gpu:h100`, where --gpus-per-node does not do. `sbatch` and `srun`
    are further options, other than those that the suite sets itself. `set_up` are lines of bash
    that come before the training; `container` is put before `python`, the interpreter on the nodes
    (default: the one that submits). `caches` is a folder for compiled kernels; shell variables are
    allowed. `slurm_conf` is the cluster's configuration where it is not the machine's own.
    """

    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    nodes: PositiveInt = 1
    gpus_per_node: PositiveInt
    gres: str | None = Field(None, pattern=r"^[^:]+(:[^:]+)?$")
    cpus_per_task: PositiveInt = 1
    memory_gb_per_gpu: PositiveFloat | None = None
    time_minutes: PositiveInt
    signal_delay_s: int = Field(gt=0, le=65535)  # the most that sbatch takes
    sbatch: dict[str, str | int | bool] = Field(default_factory=dict)
    srun: tuple[Text, ...] = ()
    set_up: tuple[str, ...] = ()
    container: Text | None = None
    python: Text | None = None
    caches: Text | None = None
    slurm_conf: Path | None = None

    @field_validator("sbatch", mode="before")
    @classmethod
    def _options_of_sbatch(cls, given: Any) -> Any:
        """Options by sbatch's long names; those that are false are left out."""
        if not isinstance(given, dict):
            raise ValueError("options and their values are needed, as {exclusive: true}")
        options = {str(key).strip().replace("_", "-"): value for key, value in given.items()}
        wrong = list(filter(None, (_what_is_wrong(*option) for option in options.items())))
        if wrong:
            raise ValueError("; ".join(wrong))
        return {name: value for name, value in options.items() if value is not False}

    @field_validator("srun")
    @classmethod
    def _options_of_srun(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if words and not words[0].startswith("-"):
            raise ValueError(f"'{words[0]}' is no option: srun would take it for the command")
        for word in words:
            long = word.startswith("--")
            name = word.lstrip("-").partition("=")[0]
            own = [key for key in _SRUNS_OWN if long and name and key.startswith(name)]
            own += [key for key, letter in _SRUNS_OWN.items() if letter and word[1:2] == letter]
            if word == "--" or (word.startswith("-") and own):
                raise ValueError(f"'{word}' is not for a profile: the suite sets it itself")
        return words

    @model_validator(mode="after")
    def _time_to_train(self) -> Cluster:
        """A job that is warned as soon as it starts would be requeued for ever."""
        left = 60 * self.time_minutes - self.signal_delay_s
        if left < LEAST_TRAINING_S:
            raise ValueError(
                f"signal_delay_s {self.signal_delay_s} leaves {max(left, 0)} s of time_minutes"
                f" {self.time_minutes} to train, and {LEAST_TRAINING_S} s are needed: lower"
                " signal_delay_s, or raise time_minutes"
            )
        return self

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


def _what_is_wrong(name: str, value: Any) -> str | None:
    """What keeps an option of sbatch, or its value, from being one of a profile."""
    if len(name) < 2 or not name[0].isalpha() or not name.replace("-", "").isalnum():
        return f"'{name}' is no long name of an option of sbatch, as 'reservation'"
    # sbatch takes the beginning of a name for the whole
    if name not in _OWN_KEYS:
        own = [key for key in _SUITES_OWN if key.startswith(name)]
        if own:
            return f"'{name}' is not for a profile: the suite sets --{own[0]} itself"
    begun = name if name in _OWN_KEYS else next((k for k in _OWN_KEYS if k.startswith(name)), None)
    if begun is not None:
        return f"'{name}' has a key of its own in a profile: {_OWN_KEYS[begun]}"
    if not isinstance(value, str | int):
        return f"'{name}' needs a text, a number, true or false, got {value!r}"
    if isinstance(value, str) and (not value.strip() or "\n" in value):
        return f"'{name}' needs a text on one line, got {value!r}"
    return None


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
