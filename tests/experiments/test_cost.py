"""Estimates of a run's cost against a count by hand, and against a step that is computed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from xxact import objectives
from xxact.data.batches import Batch
from xxact.data.targets import CRYSTAL_SYSTEM, Target
from xxact.experiments import cost, counts, suite
from xxact.experiments.counts import count
from xxact.models import CompositionSpec, FusionSpec, ModelSpec, XRDSpec, build_model
from xxact.training.engine import prepare_blocks
from xxact.training.spec import EngineSpec

TARGETS = (Target("formation_energy_per_atom", "eV/atom"), CRYSTAL_SYSTEM)
#: A sample of the published network, training on one number: FLOPs, and bytes kept on a GPU.
PUBLISHED_FLOPS, PUBLISHED_BYTES = 10_184_729_530, 9_054_312
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
    elements = torch.randint(1, 90, (batch_size, counts.PADDED_ELEMENTS))
    batch = Batch(elements, torch.rand(elements.shape), 100 * torch.rand(batch_size, 4250))
    mask = torch.ones(batch_size, 17, dtype=torch.bool)

    def loss():
        if objective == "supervised":
            return sum(output.square().mean() for output in model(batch).values())
        return objectives.pretraining_loss(model, batch, objective, mask)["loss"]

    return model, batch, loss


def targets_of(objective: str) -> tuple[Target, ...]:
    return TARGETS if objective == "supervised" else ()


def crabnet_by_hand(spec: CompositionSpec, widths, outputs, batch: int, elements: int) -> int:
    """Multiplications of a forward pass, product by product."""
    n, w, f = batch * elements, spec.width, spec.feedforward
    total = 119 * spec.element_width * w  # the table of elements, once
    for _ in range(spec.layers):
        total += n * w * 3 * w  # queries, keys, values
        total += 2 * n * elements * w  # scores, and weights times values
        total += n * w * w + 2 * n * w * f
    for n_outputs in outputs:
        inputs = w
        for width in widths:
            total += n * inputs * width * (1 if inputs == width else 2)  # and the way around
            inputs = width
        total += n * inputs * n_outputs
    return total


@pytest.mark.parametrize("batch_size", [3, 64])
def test_crabnet_is_counted_as_by_hand(batch_size):
    spec = SPECS["crabnet"]
    shape = batch_size, counts.PADDED_ELEMENTS
    forward = crabnet_by_hand(spec.composition, spec.output_widths, (3, 7), *shape)
    found = count(spec, "supervised", TARGETS, batch_size)
    assert found.forward == pytest.approx(2 * forward, rel=1e-9)
    # All weights and, but for the table of elements, all inputs get a gradient.
    assert found.step == pytest.approx(3 * found.forward, rel=1e-9)


@pytest.mark.parametrize(("name", "objective"), CASES)
def test_a_large_batch_is_counted_as_if_it_were_computed(name, objective, monkeypatch):
    monkeypatch.setattr("xxact.models.attention.on_cpu", lambda tensor: False)
    model, _, loss = make(name, objective, batch_size=7)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss().backward()
    found = count(SPECS[name], objective, targets_of(objective), 7)
    assert found.step == pytest.approx(counter.get_total_flops(), rel=1e-9)
    assert found.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count(SPECS[name], "supervised", TARGETS, 7).parameters == sum(
        parameter.numel() for parameter in model.parameters()
    )


def test_the_published_model_has_its_size_and_its_cost():
    """The FLOPs are those of a count by formulas of every layer, for a batch of 4096."""
    spec = ModelSpec(kind="xxact_nn")
    found = count(spec, "supervised", TARGETS[:1], 4096)
    assert count(spec, "supervised", TARGETS, 4096).parameters == 111_552_248
    assert found.step / 4096 == pytest.approx(PUBLISHED_FLOPS, rel=1e-6)
    assert found.kept / 4096 == pytest.approx(PUBLISHED_BYTES, rel=0.05)


def test_heads_of_a_transfer_alone_are_trained():
    spec = SPECS["xxact_nn"]
    found = count(spec, "supervised", TARGETS[:1], 64, transfer=True)
    whole = count(spec, "supervised", TARGETS[:1], 64)
    width = spec.fusion.width
    assert found.trained == width + 1
    assert found.step == 4 * 64 * width  # outputs, and the gradient of the weights
    assert found.forward == whole.forward
    assert found.kept < whole.kept / 50


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The layers take their path of accelerators, with what CUDA's kernels keep: byte masks of
    dropout, LayerNorm in float32, attention without scores."""
    attention, layer_norm = F.scaled_dot_product_attention, F.layer_norm

    def dropout(x, p=0.5, training=True, inplace=False):
        return torch.native_dropout(x, p, True)[0] if training else x

    for module in ("attention", "dropout", "pooling"):
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
    found = count(SPECS[name], objective, targets_of(objective), 64)
    want = kept_bytes(*make(name, objective, batch_size=64))
    casts = 2 * found.trained  # weights in bfloat16
    assert found.kept + casts == pytest.approx(want, rel=0.25)


@pytest.mark.parametrize("objective", ["supervised", "mxm"])
def test_checkpointed_activations_are_those_that_pytorch_keeps(objective, as_on_a_gpu):
    model, batch, loss = make("xxact_nn", objective, batch_size=64)
    prepare_blocks(model, EngineSpec(activation_checkpointing=True))
    found = count(SPECS["xxact_nn"], objective, targets_of(objective), 64)
    assert found.kept_outside == pytest.approx(kept_bytes(model, batch, loss), rel=0.2)
    assert found.kept_outside + found.largest_block < 0.6 * found.kept


def test_the_plan_of_the_papers_scale_needs_no_data(capsys):
    rows = ["table2/pretrain_mxm", "table2/mxm", "table1/constant_energy"]
    runs = suite.plan(rows, "paper", [0], Path("runs"), Path("no_such_store"))
    pretraining, training = (cost.estimate(run) for run in runs[:2])
    assert (pretraining.steps, training.steps) == (100 * 123, 50 * 246)
    assert training.flops_per_sample == pytest.approx(10e9, rel=0.1)
    assert training.flops > training.steps * 32768 * training.flops_per_sample
    assert training.memory < 80e9
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


def test_targets_trained_on_together_take_the_steps_of_one():
    runs = ["open/system", "open/system_grouped", "open/both", "open/together"]
    one, grouped, drawn, together = (
        cost.estimate(run)
        for run in suite.plan(runs, "paper", [0], Path("runs"), Path("no_such_store"))
    )
    assert grouped.steps == one.steps
    assert together.steps == drawn.steps  # in twice the epochs


def test_checkpointing_takes_a_forward_pass_more_and_less_memory():
    (run,) = suite.plan(["table2/none"], "paper", [0], Path("runs"), Path("no_such_store"))

    def estimate(checkpointing):
        engine = run.spec.engine.model_copy(update={"activation_checkpointing": checkpointing})
        return cost.estimate(replace(run, spec=run.spec.model_copy(update={"engine": engine})))

    plain, checkpointed = estimate(False), estimate(True)
    assert checkpointed.activations < 0.3 * plain.activations
    assert checkpointed.gpu_hours == pytest.approx(4 / 3 * plain.gpu_hours, rel=0.03)
    assert checkpointed.flops == plain.flops


@pytest.mark.parametrize("shown", ["--dry-run", None])
def test_a_plan_without_its_cost_loads_no_torch(shown):
    arguments = ["--scale", "paper", "--only", "crabnet_energy", *([shown] if shown else [])]
    program = (
        "import sys; from xxact.experiments import launch;"
        f"code = launch.main('experiments/table1/run.py', {arguments});"
        f"sys.exit(code or ('torch' in sys.modules) != {bool(shown)})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=suite.REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert ("GPU-" in done.stdout) == bool(shown)
