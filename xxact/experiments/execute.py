"""Train one run of the suite and write its result JSON."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from xxact.data.store import Store, open_store
from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS
from xxact.errors import UserError
from xxact.experiments.result import SCHEMA, data_path, write_data_summary, write_result
from xxact.experiments.suite import REPOSITORY, Run

PACKAGES = ("torch", "numpy", "numba", "pymatgen", "scikit-learn")


def execute(run: Run, show: bool = True) -> None:
    """Bring `run` to its end and write its result, going on where an earlier try stopped.

    `show` prints progress. A result that is there already (its weights had gone) is left as it is.
    """
    from xxact.training.loop import Training
    from xxact.training.progress import Progress
    from xxact.training.summary import summarise

    store = open_store(run.data)
    with _only_process_in(run.folder):
        (run.folder / "spec.yaml").write_text(
            yaml.safe_dump(run.spec.model_dump(mode="json"), sort_keys=False)
        )
        training = Training(run.spec, store, run.folder, run.seed, run.init_path)
        training.run(Progress(run.folder, show))
        if not run.result_path.exists():
            summary = summarise(training)
            training.save()  # the summary's time counts
            write_data_summary(data_path(run.root, run.scale), describe_data(store))
            write_result(run.result_path, _result(run, store, training) | summary)
        training.forget_checkpoint()


def _result(run: Run, store: Store, training: Any) -> dict[str, Any]:
    """The part of a result JSON that says what was run, on what, and at what cost."""
    state, batch_size = training.state, training.sampler.batch_size
    return {
        "schema": SCHEMA,
        "run": run.name,
        "scale": run.scale,
        "seed": run.seed,
        "spec": run.spec.model_dump(mode="json"),
        "data": {
            "name": store.name,
            "manifest_sha256": store.sha256,
            "source_sha256": store.source_sha256,
            "n": {
                "train": len(training.train_rows),
                "validation": len(store.indices("validation")),
                "test": len(store.indices("test")),
            },
        },
        "provenance": git_state()
        | {
            "versions": {"python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in ("xxact", *PACKAGES)},
            "command": run.command,
        },
        "hardware": hardware(training.engine),
        "cost": {
            "wall_s": round(state.wall_s, 2),
            "restarts": state.restarts,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "samples_per_s": round(training.total * batch_size / state.training_s, 1),
            "parameters": sum(p.numel() for p in training.model.parameters()),
            "trained_parameters": sum(
                p.numel() for p in training.model.parameters() if p.requires_grad
            ),
            "steps": training.total,
            "samples": training.total * batch_size,
        },
    }


def git_state() -> dict[str, Any]:
    """Commit of the code and whether files other than results differ from it."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    changes = git("status", "--porcelain", "--", ".", ":!results")
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "dirty": None if changes is None else bool(changes),
    }


def hardware(engine: Any) -> dict[str, Any]:
    """Device, its name, cores that this process may use, and the arithmetic."""
    import torch

    on_gpu = engine.device.type == "cuda"
    return {
        "device": engine.device.type,
        "name": torch.cuda.get_device_name() if on_gpu else _processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "precision": engine.precision,
        "processes": 1,
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_data(store: Store) -> dict[str, Any]:
    """Numbers of samples by part, crystal system and element, for the distribution figures."""
    import numpy as np
    from pymatgen.core import Element

    counts = {"n": {}, "crystal_systems": {}, "elements": {}}
    lengths = np.diff(np.asarray(store.element_offsets))
    sample = np.repeat(np.arange(store.n), lengths)  # sample of each entry of element_z
    for part in ("train", "validation", "test", "audit"):
        rows = store.indices(part)
        counts["n"][part] = len(rows)
        z = np.asarray(store.element_z)[np.isin(sample, rows)]
        number, times = np.unique(z, return_counts=True)
        counts["elements"][part] = {
            Element.from_Z(int(k)).symbol: int(n) for k, n in zip(number, times, strict=True)
        }
        if CRYSTAL_SYSTEM.name in store.targets:
            system = store.values(CRYSTAL_SYSTEM.name)[rows]
            counts["crystal_systems"][part] = {
                name: int((system == k).sum()) for k, name in enumerate(CRYSTAL_SYSTEMS)
            }
    return {"name": store.name, "manifest_sha256": store.sha256} | counts


@contextmanager
def _only_process_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; `UserError` if another process trains this run."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{folder} is being trained by another process; wait for it") from None
        yield
