"""Train one run of the suite and write its result JSON."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import yaml

from xxact.data.store import Store, open_store
from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS
from xxact.errors import UserError
from xxact.experiments.result import SCHEMA, data_path, write_data_summary, write_result
from xxact.experiments.snapshot import recorded_state
from xxact.experiments.suite import REPOSITORY, Run

PACKAGES = ("torch", "deepspeed", "numpy", "numba", "pymatgen", "scikit-learn")


def execute(run: Run, show: bool = True) -> None:
    """Bring `run` to its end and write its result, going on where an earlier try stopped.

    Called in each of the processes that the environment names (`xxact.training.distributed`), it
    trains in all of them together; the first writes every file, and an error of one is raised in
    all. `show` prints progress. A result that is there already (its weights had gone) is left as
    it is.
    """
    from xxact.training.distributed import joined
    from xxact.training.loop import Training
    from xxact.training.progress import Progress
    from xxact.training.summary import summarise

    store = open_store(run.data)
    with joined() as world, _only_run_in(run.folder, world):
        world.on_first(lambda: _write_spec(run))
        progress = Progress(run.folder, show)
        if run.is_baseline:
            world.on_first(lambda: _fit_baseline(run, store, progress))
            return
        training = Training(run.spec, store, run.folder, run.seed, run.init_path, world)
        training.run(progress)
        (finished,) = world.largest(run.result_path.exists())
        if not finished:
            summary = summarise(training)
            training.take_time()  # the summary's counts too
            content = _result(run, store, training) | summary
            world.on_first(lambda: _write_result(run, store, content))
        training.forget_checkpoint()


def _write_spec(run: Run) -> None:
    content = yaml.safe_dump(run.spec.model_dump(mode="json"), sort_keys=False)
    (run.folder / "spec.yaml").write_text(content)


def _write_result(run: Run, store: Store, content: dict[str, Any]) -> None:
    write_data_summary(data_path(run.root, run.scale), describe_data(store))
    write_result(run.result_path, content)


def _fit_baseline(run: Run, store: Store, progress: Any) -> None:
    """Fit a baseline and write its result."""
    from xxact.experiments.baselines import fit_and_score
    from xxact.training.loop import training_rows

    began = time.monotonic()
    rows = training_rows(store, run.spec.train_fraction, run.seed)
    scores = fit_and_score(run.spec, store, rows, run.seed, progress)
    cost = {
        "wall_s": round(time.monotonic() - began, 2),
        "peak_memory_bytes": _peak_memory_bytes(),
        "steps": 0,
        "samples": len(rows),
    }
    content = _origin(run, store, len(rows)) | {"hardware": _processor(), "cost": cost} | scores
    _write_result(run, store, content)


def _result(run: Run, store: Store, training: Any) -> dict[str, Any]:
    """The part of a result JSON that says what was run, on what, and at what cost."""
    state, batch_size = training.state, training.sampler.batch_size
    return _origin(run, store, len(training.train_rows)) | {
        "hardware": hardware(training.engine),
        "cost": {
            "wall_s": round(state.wall_s, 2),
            "restarts": state.restarts,
            **_peak_memory(training),
            "samples_per_s": round(training.total * batch_size / state.training_s, 1),
            "parameters": sum(p.numel() for p in training.model.parameters()),
            "trained_parameters": sum(
                p.numel() for p in training.model.parameters() if p.requires_grad
            ),
            "steps": training.total,
            "samples": training.total * batch_size,
        },
    }


def _origin(run: Run, store: Store, n_train: int) -> dict[str, Any]:
    """Which run it is, of which code and which data; it saw `n_train` training samples."""
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
                "train": n_train,
                "validation": len(store.indices("validation")),
                "test": len(store.indices("test")),
            },
        },
        "provenance": git_state()
        | {
            "versions": {"python": platform.python_version()} | _versions(),
            "command": run.command,
        },
    }


def _versions() -> dict[str, str]:
    """Versions of the packages that are installed: not every run needs each of them."""
    found = {}
    for name in ("xxact", *PACKAGES):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _peak_memory(training: Any) -> dict[str, int]:
    """The most memory that one of the processes took, and on its GPU."""
    import torch

    peaks = {"peak_memory_bytes": _peak_memory_bytes()}
    if training.engine.device.type == "cuda":
        peaks["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    most = training.world.largest(*peaks.values())
    return dict(zip(peaks, map(int, most), strict=True))


def _peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def git_state() -> dict[str, Any]:
    """Commit of the code, at submission, and whether files other than results differ from it."""
    recorded = recorded_state(REPOSITORY)
    if recorded is not None:
        return recorded

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

    used = _processor() | {"precision": engine.precision, "processes": engine.world.size}
    if engine.device.type == "cuda":
        used |= {"device": "cuda", "name": torch.cuda.get_device_name()}
    return used | {"threads": torch.get_num_threads()}


def _processor() -> dict[str, Any]:
    return {
        "device": "cpu",
        "name": _processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": 1,
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
def _only_run_in(folder: Path, world: Any) -> Iterator[None]:
    """Hold the folder's lock; `UserError` if it is being trained already."""
    lock = world.on_first(lambda: _lock(folder))
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _lock(folder: Path) -> IO[str]:
    """The folder's lock file, which is locked until it is closed."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(f"{folder} is being trained by another process; wait for it") from None
    except OSError:
        pass  # the file system has no locks, as on some clusters
    return file
