"""Train one run, of the suite or of a user's own, and write its result."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from xxact.data.store import Store, open_store
from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP
from xxact.experiments import predictions, suite
from xxact.experiments.result import SCHEMA, write_data_summary, write_json, write_result
from xxact.experiments.suite import Run
from xxact.training.identity import FILE

#: Steps below which a training has hardly begun: the warm-up alone takes a tenth of them.
FEW_STEPS = 100


def execute(run: Run, show: bool = True, overwrite: bool = False) -> None:
    """Bring `run` to its end and write its result, going on where an earlier try stopped.

    Called in each of the processes that the environment names (`xxact.training.distributed`), it
    trains in all of them together; the first writes every file, and an error of one is raised in
    all. `show` prints progress, `overwrite` deletes first what there is of the run. A result that
    is there already (its weights had gone) is left as it is.
    """
    from xxact.training.distributed import joined
    from xxact.training.loop import Training
    from xxact.training.progress import Progress
    from xxact.training.summary import summarise

    store = open_store(run.data)
    with store.being_read(), joined() as world, _only_run_in(run, world):
        identity = world.on_first(lambda: _begin(run, store, overwrite))
        progress = Progress(run.folder, show)
        if run.is_baseline:
            world.on_first(lambda: _fit_baseline(run, store, identity, progress))
            return
        training = Training(
            run.spec, store, run.folder, run.seed, run.init_path, world, known=identity
        )
        if show and world.is_first:
            _warn_of_few_steps(training)
        training.run(progress)
        (finished,) = world.largest(run.result_path.exists())
        if not finished:
            summary, outputs = summarise(training)
            kept = _predictions(training, outputs) if outputs else None
            training.take_time()  # the summary's counts too
            content = _result(run, store, training) | summary
            world.on_first(lambda: _write_result(run, store, content, kept))
        training.forget_checkpoint()


def _begin(run: Run, store: Store, overwrite: bool) -> dict[str, Any]:
    """The identity of the run, which stands in its folder from here on.

    Raises `UserError` when it is not that of what is there.
    """
    now = suite.identify(run, store)
    if overwrite:
        suite.check_files(run)
        check_data(run, store)
        suite.remove(run)
    elif (started := suite.check_identity(run, now)) is not None:
        return now | {"provenance": started["provenance"]}
    write_json(run.folder / FILE, now)
    return now


def check_data(run: Run, store: Store) -> None:
    """`UserError` if the store lacks a target or an input of the run, before one is overwritten."""
    if run.is_baseline:
        from xxact.experiments.baselines import find_inputs

        find_inputs(run.spec, store)
    else:
        from xxact.training.loop import make_model

        make_model(run.spec, store)


def _warn_of_few_steps(training: Any) -> None:
    """Say on stderr that the data are few for the spec: a scale's settings suit its own data."""
    spec, total, batch = training.spec, training.total, training.sampler.batch_size
    n = training.sampler.slots_per_epoch
    if batch < spec.batch_size:
        print(
            f"warning: batch_size is {spec.batch_size}, and there are {n} training samples: each"
            " step takes all of them; set 'batch_size' in the spec lower",
            file=sys.stderr,
        )
    if total < FEW_STEPS:
        print(
            f"warning: this is a training of {total} steps only: {spec.epochs:g} epochs of {n}"
            f" samples in batches of {batch}; some hundreds are usual: set 'epochs' in the spec"
            f" to {spec.epochs * 5 * FEW_STEPS / total:.3g} or so, or 'batch_size' lower",
            file=sys.stderr,
        )


def _predictions(training: Any, outputs: predictions.Outputs) -> dict[str, Any]:
    """Predictions of a supervised training on the test split; `outputs` are of its last weights."""

    def with_patterns_of(rows: Any, others: Any) -> predictions.Outputs:
        return training.task.predict(training.engine, rows, pattern_of=others)[0]

    store, both = training.store, training.model.uses >= {"composition", "xrd"}
    return predictions.collect(
        store,
        store.indices("test"),
        training.train_rows,
        training.task.targets,
        outputs,
        with_patterns_of if both else None,
        {
            reading: {name: values.numpy() for name, values in kept.items()}
            for reading, kept in training.state.kept.items()
        },
    )


def _write_result(
    run: Run, store: Store, content: dict[str, Any], kept: dict[str, Any] | None
) -> None:
    """Write predictions, the data's description and the result, which names both, last."""
    if kept is not None:
        content = content | {"predictions": predictions.write(run.predictions_path, kept)}
    write_data_summary(run.data_path, describe_data(store))
    write_result(run.result_path, content)


def _fit_baseline(run: Run, store: Store, identity: dict[str, Any], progress: Any) -> None:
    """Fit a baseline and write its result."""
    from xxact.experiments.baselines import fit_and_score
    from xxact.training.loop import training_rows

    began = time.monotonic()
    rows = training_rows(store, run.spec.train_fraction, run.seed)
    scores, kept = fit_and_score(run.spec, store, rows, run.seed, progress, run.init_path)
    cost = {
        "wall_s": round(time.monotonic() - began, 2),
        "peak_memory_bytes": _peak_memory_bytes(),
        "steps": 0,
        "samples": len(rows),
    }
    content = _origin(run, store, identity, len(rows)) | {"hardware": _processor(), "cost": cost}
    _write_result(run, store, content | scores, kept)


def _result(run: Run, store: Store, training: Any) -> dict[str, Any]:
    """The part of a result JSON that says what was run, on what, and at what cost."""
    state, batch_size = training.state, training.sampler.batch_size
    return _origin(run, store, training.identity, len(training.train_rows)) | {
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


def _origin(run: Run, store: Store, identity: dict[str, Any], n_train: int) -> dict[str, Any]:
    """Which run it is, of which code and which data; it saw `n_train` training samples."""
    n = {split: len(store.indices(split)) for split in ("validation", "test")}
    return {
        "schema": SCHEMA,
        "run": run.name,
        "scale": run.scale,
        "seed": run.seed,
        "spec": run.spec.model_dump(mode="json"),
        "data": identity["data"] | {"n": {"train": n_train} | n},
        "init_sha256": identity["init_sha256"],
        "provenance": identity["provenance"],
    }


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
    """Numbers of samples by split, crystal system, space group and element, and the floors of the
    formula."""
    import numpy as np
    from pymatgen.core import Element

    from xxact.data.floors import formula_floors

    counts = {"n": {}, "crystal_systems": {}, "space_groups": {}, "elements": {}}
    lengths = np.diff(np.asarray(store.element_offsets))
    sample = np.repeat(np.arange(store.n), lengths)  # sample of each entry of element_z
    for split in ("train", "validation", "test", "audit"):
        rows = store.indices(split)
        counts["n"][split] = len(rows)
        z = np.asarray(store.element_z)[np.isin(sample, rows)]
        number, times = np.unique(z, return_counts=True)
        counts["elements"][split] = {
            Element.from_Z(int(k)).symbol: int(n) for k, n in zip(number, times, strict=True)
        }
        for key, target in (("crystal_systems", CRYSTAL_SYSTEM), ("space_groups", SPACE_GROUP)):
            if target.name in store.targets:
                found = store.values(target.name)[rows]
                counts[key][split] = {
                    name: int((found == k).sum()) for k, name in enumerate(target.classes)
                }
    floors = {"formula_floors": formula_floors(store)}
    return {"name": store.name, "content_sha256": store.content_sha256} | counts | floors


@contextmanager
def _only_run_in(run: Run, world: Any) -> Iterator[None]:
    """Hold the run's folder, in the first process for all; `UserError` if another one does."""
    with ExitStack() as stack:
        world.on_first(lambda: stack.enter_context(suite.hold(run)))
        yield
