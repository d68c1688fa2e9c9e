"""A finished run, ready to predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xxact.data.batches import DeviceStore
from xxact.data.store import Store
from xxact.errors import UserError
from xxact.training import checkpoint
from xxact.training.distributed import pick_device
from xxact.training.engine import TorchEngine
from xxact.training.loop import make_model
from xxact.training.spec import RunSpec
from xxact.training.task import Supervised


def load_trained(folder: Path, store: Store) -> tuple[Supervised, TorchEngine]:
    """The run in `folder` with its data from `store`: `task.predict(engine, rows)`.

    Raises `UserError` for a pretraining, and when the store lacks a target of the run.
    """
    content = checkpoint.load(folder / "model.pt")
    spec = RunSpec.model_validate(content["spec"])
    if not spec.supervised:
        raise UserError(f"{folder} is a pretraining ({spec.objective}): it predicts no target")
    device = pick_device()
    no_rows = np.empty(0, dtype=np.int64)
    model = make_model(spec, store)
    model.load_state_dict(content["model"])
    data = DeviceStore(store, device, xrd="xrd" in model.uses)
    task = Supervised(spec, store, data, no_rows, content["standard"])
    return task, TorchEngine(model, spec.optimizer, spec.precision, device)
