"""On an accelerator no part of a step asks the device for a value, which would wait for it.

torch's meta device stands in for one: its tensors have shapes and no values, and anything that
needs a value on the host (`item`, `nonzero`, `if tensor`, a copy to the CPU) is an error there.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from xxact import objectives
from xxact.data.batches import DeviceStore
from xxact.models import build_model
from xxact.training.micro_batches import MicroBatch
from xxact.training.sampler import Slots
from xxact.training.task import Measurements, Supervised
from xxact.xrd import instrument

META = torch.device("meta")
ROWS = np.arange(32)


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch):
    """There is none for this device."""
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **options: nullcontext())


def test_the_stand_in_does_refuse():
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        torch.ones(2, device=META).sum().item()


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    "kind", ["xxact_nn", "crabnet", "xrd_transformer", "fcn", "fcn_mlp", "xxact_conv"]
)
def test_supervised_training(kind, together, make_spec, tiny_store):
    spec = make_spec(kind, together=together)
    task = Supervised(spec, tiny_store, DeviceStore(tiny_store, META), tiny_store.indices("train"))
    model = build_model(spec.model, task.targets).to(META).train()
    slots = Slots(ROWS, ROWS % 2)
    clean = Measurements(False, model, 0, 32)
    loss = task._share(model, slots, MicroBatch(slice(0, 32), 0), seed=0, measurements=clean)
    loss.backward()
    assert loss.device == META
    assert all(parameter.grad is not None for parameter in model.heads.parameters())


@pytest.mark.parametrize("objective", ["contrastive", "mxm", "contrastive+mxm"])
def test_pretraining(objective, make_spec, tiny_store):
    spec = make_spec(objective=objective)
    model = build_model(spec.model).to(META).train()
    batch = DeviceStore(tiny_store, META).gather(ROWS)
    assert batch.pattern.shape == (32, 4250)
    mask = torch.zeros(32, 17, dtype=torch.bool, device=META)
    loss = objectives.pretraining_loss(model, batch, objective, mask)["loss"]
    loss.backward()
    assert model.xrd.projection.weight.grad is not None


def test_degraded_patterns_bring_nothing_new_from_the_host(tiny_store, monkeypatch):
    data = DeviceStore(tiny_store, META)
    measurements = instrument.draw(0, len(ROWS))
    data.gather(ROWS, degrade=measurements)

    def refuse(*arguments, **options):
        raise AssertionError("a tensor is made of numbers on the host for each batch")

    monkeypatch.setattr(torch, "tensor", refuse)
    assert data.gather(ROWS, degrade=measurements).pattern.shape == (32, 4250)
