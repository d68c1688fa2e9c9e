"""Estimates of a run's cost against what PyTorch counts and keeps."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from xxact import objectives
from xxact.data.batches import Batch
from xxact.data.targets import CRYSTAL_SYSTEM, Target
from xxact.experiments import cost, suite
from xxact.models import CompositionSpec, FusionSpec, ModelSpec, XRDSpec, build_model

TARGETS = (Target("formation_energy_per_atom", "eV/atom"), CRYSTAL_SYSTEM)
ELEMENTS = 6
SMALL = {"width": 64, "layers": 2, "heads": 4, "feedforward": 96}
SPECS = {
    "xxact_nn": ModelSpec(
        kind="xxact_nn",
        composition=CompositionSpec(**SMALL),
        xrd=XRDSpec(**SMALL),
        fusion=FusionSpec(**{**SMALL, "width": 96, "layers": 3}),
    ),
    "xxact_nn, pre-norm": ModelSpec(
        kind="xxact_nn",
        composition=CompositionSpec(**SMALL, norm_first=True),
        xrd=XRDSpec(**SMALL, norm_first=True),
        fusion=FusionSpec(**SMALL, norm_first=True),
    ),
    "crabnet": ModelSpec(
        kind="crabnet", composition=CompositionSpec(**SMALL), output_widths=(96, 96, 32)
    ),
    "xrd_transformer": ModelSpec(kind="xrd_transformer", xrd=XRDSpec(**SMALL)),
    "fcn": ModelSpec(kind="fcn"),
    "fcn_mlp": ModelSpec(kind="fcn_mlp"),
}
CASES = [
    (name, objective)
    for name in SPECS
    for objective in ("supervised", "contrastive", "mxm", "contrastive+mxm")
    if objective == "supervised" or name.startswith("xxact")
]


def make(name: str, objective: str, batch_size: int):
    """A model that trains for the objective, a batch, and a function to the loss."""
    torch.manual_seed(0)
    model = build_model(SPECS[name], TARGETS).train()
    model.freeze_for(objective)
    elements = torch.randint(1, 90, (batch_size, ELEMENTS))
    batch = Batch(elements, torch.rand(elements.shape), 100 * torch.rand(batch_size, 4250))
    mask = torch.ones(batch_size, 17, dtype=torch.bool)

    def loss():
        if objective == "supervised":
            return sum(output.square().mean() for output in model(batch).values())
        return objectives.pretraining_loss(model, batch, objective, mask)["loss"]

    return model, batch, loss


def tally(name: str, objective: str, batch_size: int) -> cost.Tally:
    outputs = [3 if name == "crabnet" else 1, 7]
    return cost.network(SPECS[name], objective, outputs, batch_size, ELEMENTS)


@pytest.mark.parametrize(("name", "objective"), CASES)
def test_parameters_and_flops_are_those_that_pytorch_counts(name, objective, monkeypatch):
    for module in ("attention", "composition"):
        monkeypatch.setattr(f"xxact.models.{module}.on_cpu", lambda tensor: False)
    model, _, loss = make(name, objective, batch_size=4)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss().backward()
    found = tally(name, objective, batch_size=4)
    assert found.parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert 4 * found.training_flops == pytest.approx(counter.get_total_flops(), rel=0.01)
    whole = cost.all_parameters(SPECS[name], [3 if name == "crabnet" else 1, 7])
    assert whole == sum(parameter.numel() for parameter in model.parameters())


def test_the_published_model_has_its_size_and_ten_gflop_a_sample():
    spec = ModelSpec(kind="xxact_nn")
    assert cost.all_parameters(spec, (1, 7)) == 111_552_248
    flops = cost.network(spec, "supervised", (1,), batch=4096).training_flops
    assert 9e9 < flops < 11e9


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The layers take their path of accelerators, with what CUDA's kernels keep: byte masks of
    dropout, LayerNorm in float32, attention without scores."""
    attention, layer_norm = F.scaled_dot_product_attention, F.layer_norm

    def dropout(x, p=0.5, training=True, inplace=False):
        return torch.native_dropout(x, p, True)[0] if training else x

    for module in ("attention", "composition", "dropout", "pxrdpiayn"):
        monkeypatch.setattr(f"xxact.models.{module}.on_cpu", lambda tensor: False)
    monkeypatch.setattr(F, "dropout", dropout)
    monkeypatch.setattr(F, "layer_norm", lambda x, *rest: layer_norm(x.float(), *rest))
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda q, k, v, attn_mask=None, dropout_p=0.0: attention(q, k, v, attn_mask=attn_mask),
    )


def kept_bytes(model, batch, loss) -> int:
    """Bytes of the storages that the graph of the loss keeps, weights and inputs aside."""
    given = [*model.parameters(), *model.buffers(), *vars(batch).values()]
    known = {tensor.untyped_storage().data_ptr() for tensor in given}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()  # held, so that its address is not used again
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor

    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        value = loss()
    assert value.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize(("name", "objective"), CASES)
def test_activations_are_those_that_pytorch_keeps(name, objective, as_on_a_gpu):
    found = tally(name, objective, batch_size=64)
    want = kept_bytes(*make(name, objective, batch_size=64))
    casts = 2 * found.parameters  # weights in bfloat16
    assert 64 * found.saved + casts == pytest.approx(want, rel=0.1)


@pytest.mark.parametrize("objective", ["supervised", "mxm"])
def test_checkpointed_activations_are_those_that_pytorch_keeps(objective, as_on_a_gpu):
    from functools import partial

    from torch.utils.checkpoint import checkpoint

    from xxact.models.layers import DecoderLayer, EncoderLayer

    model, batch, loss = make("xxact_nn", objective, batch_size=64)
    for block in model.modules():
        if isinstance(block, EncoderLayer | DecoderLayer):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    found = tally("xxact_nn", objective, batch_size=64)
    assert 64 * found.kept == pytest.approx(kept_bytes(model, batch, loss), rel=0.1)
    assert found.kept + found.block < 0.6 * found.saved


def test_the_plan_of_the_papers_scale_needs_no_data(capsys):
    rows = ["table2/pretrain_mxm", "table2/mxm", "table1/constant_energy"]
    runs = suite.plan(rows, "paper", [0], Path("runs"), Path("no_such_store"))
    pretraining, training = (cost.estimate(run) for run in runs[:2])
    assert (pretraining.steps, training.steps) == (100 * 123, 50 * 246)
    assert training.flops_per_sample == pytest.approx(10e9, rel=0.1)
    assert training.flops > training.steps * 32768 * training.flops_per_sample
    assert training.checkpointed < 0.3 * training.activations
    assert training.states + training.checkpointed + training.columns < 80e9
    shown = cost.table(runs)
    assert "111.6M" in shown
    assert "ASSUMED" in shown
    assert "constant" not in shown


def test_a_run_takes_what_its_steps_take():
    whole, part, same_steps = (
        cost.estimate(run)
        for run in suite.plan(
            ["scaling/xxact_1000k_steps", "scaling/xxact_1000k", "table2/none"],
            "paper",
            [0],
            Path("runs"),
            Path("no_such_store"),
        )
    )
    assert whole.steps == same_steps.steps == pytest.approx(4.5 * part.steps, rel=0.02)
    assert part.gpu_hours == pytest.approx(whole.gpu_hours / 4.5, rel=0.15)


def test_a_plan_loads_no_torch():
    program = (
        "import sys; from xxact.experiments import launch;"
        "code = launch.main('experiments/table1/run.py', ['--scale', 'paper', '--dry-run']);"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=suite.REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "GPU-" in done.stdout
