"""What a run will cost, from its spec alone: parameters, FLOPs, memory, GPU-hours.

Formulas, no torch: a plan is there in a second. FLOPs are counted as PyTorch's `FlopCounterMode`
counts them, two for a multiplication with its addition, in matrix products and convolutions alone.
Bytes are what a GPU keeps for the backward pass under bfloat16 autocast: inputs of products in two
bytes, of LayerNorm in four, masks of dropout in one; attention keeps its inputs and output, not its
scores (FlashAttention).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP
from xxact.errors import UserError
from xxact.experiments.suite import RESULTS, Run, load_scale
from xxact.models.spec import CompositionSpec, ConvolutionSpec, EncoderSpec, ModelSpec, XRDSpec
from xxact.training.spec import RunSpec
from xxact.xrd.grid import N_POINTS

#: Elements that compositions are padded to in large batches (`COMPOSITION_SIZES`).
PADDED_ELEMENTS = 8
#: Rows of the element table, and elements that FCN+MLP reads.
N_ELEMENTS, N_FRACTIONS = 119, 100
#: Hidden widths of FCN+MLP's perceptrons, and channels of FCN's last convolution.
COMPOSITION_WIDTHS, JOINED_WIDTHS, TOP_CHANNELS = (128, 256, 256, 128, 128, 64, 16), (128, 16), 64
#: Dense bfloat16 FLOP/s of data sheets, by what a GPU's name contains; the first that fits counts.
PEAK_FLOPS_PER_S = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
}
#: What a run is reckoned with where nothing has been measured: a GPU and a part of its peak, which
#: convolutions of few channels on long patterns fall far short of.
ASSUMED_GPU, ASSUMED_MFU, ASSUMED_MFU_OF_CONVOLUTIONS = "H100", 0.3, 0.03
#: Bytes of a sample's columns on the device where the store is not there: 20 reflections and more.
COLUMN_BYTES = 700
FLOAT32, BFLOAT16, BOOL, INT64 = 4, 2, 1, 8


@dataclass(frozen=True)
class Tally:
    """One sample's way through a part of a network; `+` puts parts one behind the other.

    products: multiplications with their additions, forward.
    constant: those of `products` whose input needs no gradient.
    saved: bytes kept for the backward pass.
    kept: of these, with activation checkpointing, at one time but for one block.
    block: bytes of the largest block that checkpointing computes again.
    recomputed: products of these blocks.
    """

    parameters: int = 0
    products: float = 0.0
    constant: float = 0.0
    saved: float = 0.0
    kept: float = 0.0
    block: float = 0.0
    recomputed: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        sums = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
        }
        return Tally(**sums | {"block": max(self.block, other.block)})

    @property
    def training_flops(self) -> float:
        """Of the forward pass and of the gradients by weights and by inputs."""
        return 2 * (3 * self.products - self.constant)

    def without_parameters(self) -> Tally:
        """The same again through the same weights."""
        return dataclasses.replace(self, parameters=0)


def saved(number: float, size: int) -> Tally:
    """`number` values of `size` bytes that stay until the backward pass."""
    return Tally(saved=number * size, kept=number * size)


def linear(tokens: float, n_inputs: int, n_outputs: int, bias: bool = True) -> Tally:
    """A linear map, which keeps its input."""
    weights = n_inputs * n_outputs
    one = Tally(parameters=weights + bias * n_outputs, products=tokens * weights)
    return one + saved(tokens * n_inputs, BFLOAT16)


def unless_differentiated(part: Tally) -> Tally:
    """The same part on an input that needs no gradient."""
    return dataclasses.replace(part, constant=part.products)


def norm(tokens: float, width: int) -> Tally:
    """LayerNorm keeps its input, mean and deviation."""
    return Tally(parameters=2 * width) + saved(tokens * (width + 2), FLOAT32)


def attention(
    spec: EncoderSpec, queries: float, keys: float, memory: bool, whole: bool = True
) -> Tally:
    """Attention, dropout and norm; `memory` says that keys come from elsewhere, `whole` that
    every token is a query."""
    width = spec.width
    one = Tally(parameters=3 * width * (width + 1))
    one += Tally(products=(queries + 2 * keys) * width**2 + 2 * queries * keys * width)
    inputs = queries if memory or whole else queries + keys
    one += saved((inputs + queries + 2 * keys) * width, BFLOAT16)  # inputs, queries, keys, values
    one += saved(queries * spec.heads, FLOAT32)  # sums of exponentials
    return one + linear(queries, width, width) + saved(queries * width, BOOL) + norm(queries, width)


def feedforward(spec: EncoderSpec, tokens: float) -> Tally:
    """Two linear maps with ReLU and dropout between them, dropout and norm."""
    hidden = saved(tokens * spec.feedforward, BFLOAT16) + saved(tokens * spec.feedforward, BOOL)
    one = linear(tokens, spec.width, spec.feedforward) + hidden
    one += linear(tokens, spec.feedforward, spec.width)
    return one + saved(tokens * spec.width, BOOL) + norm(tokens, spec.width)


def as_block(one: Tally, tokens: float, width: int) -> Tally:
    """With checkpointing only the input of such a part is kept."""
    kept = tokens * width * FLOAT32
    return dataclasses.replace(one, kept=kept, block=one.saved, recomputed=one.products)


def stack(
    spec: EncoderSpec, tokens: float, memory: float | None = None, chosen: float | None = None
) -> Tally:
    """Encoder layers, or decoder layers with `memory` tokens; the last at `chosen` tokens."""
    whole = Tally()
    for layer in range(spec.layers):
        last = layer == spec.layers - 1 and chosen is not None
        queries = chosen if last else tokens
        one = attention(spec, queries, tokens, memory=False, whole=not last)
        if memory is not None:
            one += attention(spec, queries, memory, memory=True)
        one += feedforward(spec, queries)
        whole += as_block(one, tokens, spec.width)
    if spec.norm_first:
        whole += norm(tokens if chosen is None else chosen, spec.width)
    return whole


def composition_encoder(
    spec: CompositionSpec, elements: float, batch: int, cls: bool, chosen: float | None = None
) -> Tally:
    """Embedding and encoder of a composition; the element table is projected once a batch."""
    table = N_ELEMENTS * spec.element_width
    one = Tally(parameters=table + 3 + cls * spec.width)
    one += linear(N_ELEMENTS / batch, spec.element_width, spec.width)
    one += saved(elements * spec.width, FLOAT32) + saved(3 * elements, INT64)
    return one + stack(spec, elements + cls, chosen=chosen)


def xrd_encoder(spec: XRDSpec, masked: bool, chosen: float | None = None) -> Tally:
    """Windows, [CLS] and encoder of a pattern; a learned mask token needs a gradient."""
    one = linear(spec.tokens, N_POINTS // spec.tokens, spec.width)
    one = one if masked else unless_differentiated(one)
    one += Tally(parameters=(2 + spec.tokens) * spec.width)
    return one + stack(spec, 1 + spec.tokens, chosen=chosen)


def fusion(spec: ModelSpec, memory: float, chosen: float) -> Tally:
    """Both bridges and the decoder."""
    tokens, width = 1 + spec.xrd.tokens, spec.fusion.width
    one = linear(tokens, spec.xrd.width, width) + linear(memory, spec.composition.width, width)
    one += saved(memory * width, BFLOAT16)  # as keys and values, the same for all layers
    return one + stack(spec.fusion, tokens, memory, chosen)


def output_nets(spec: ModelSpec, tokens: float, outputs: Sequence[int]) -> Tally:
    """CrabNet's residual networks, one a target, on every element."""
    whole = Tally()
    for n_outputs in outputs:
        for a, b in pairwise((spec.composition.width, *spec.output_widths)):
            whole += linear(tokens, a, b) + saved(tokens * b, BFLOAT16)
            if a != b:
                around = linear(tokens, a, b, bias=False)
                whole += dataclasses.replace(around, saved=0.0, kept=0.0)
        width = (spec.composition.width, *spec.output_widths)[-1]
        whole += linear(tokens, width, n_outputs) + saved(tokens * width, BFLOAT16)
    return whole


def convolutions(spec: ConvolutionSpec) -> Tally:
    """The trunk of PXRDPIAYN's networks: convolution, pooling by 2, LeakyReLU, dropout."""
    whole, length = Tally(), spec.input_length
    for i, (a, b) in enumerate(pairwise((1, *spec.channels))):
        one = Tally(parameters=3 * a * b + b, products=3 * a * b * length)
        whole += (one if i else unless_differentiated(one)) + saved(a * length, BFLOAT16)
        whole += saved(b * length, BFLOAT16)  # what is pooled
        length //= 2
        whole += saved(b * length, INT64) + saved(b * length, BFLOAT16)  # where from, and what
        if i < len(spec.channels) - 1:
            whole += saved(b * length, BOOL)
    return whole


def dropped(width: int) -> Tally:
    """LeakyReLU and dropout."""
    return saved(width, BFLOAT16) + saved(width, BOOL)


def perceptron(widths: Sequence[int]) -> Tally:
    """Linear maps with LeakyReLU and dropout behind each."""
    whole = Tally()
    for a, b in pairwise(widths):
        whole += linear(1, a, b) + dropped(b)
    return whole


def linear_heads(width: int, outputs: Sequence[int]) -> Tally:
    """A linear head for each target, in float32."""
    whole = Tally()
    for n_outputs in outputs:
        whole += linear(1, width, n_outputs) + saved(width, BFLOAT16)
    return whole


def network(
    spec: ModelSpec,
    objective: str,
    outputs: Sequence[int],
    batch: int,
    elements: float = PADDED_ELEMENTS,
    reconstructed: float | None = None,
) -> Tally:
    """One sample of a batch of `batch` through a network, as `objective` uses it.

    `outputs` are the numbers of outputs of its targets. Parameters are those that the objective
    trains. `reconstructed` windows are predicted in masked modelling: all, unless the masks are
    known to the host.
    """
    if spec.kind == "crabnet":
        one = composition_encoder(spec.composition, elements, batch, cls=False)
        return one + output_nets(spec, elements, outputs)
    if spec.kind == "xrd_transformer":
        return xrd_encoder(spec.xrd, False, chosen=1) + linear_heads(spec.xrd.width, outputs)
    if spec.kind == "fcn":
        channels = spec.convolution.channels[-1]
        length = spec.convolution.output_length
        top = Tally(parameters=3 * channels * TOP_CHANNELS + TOP_CHANNELS)
        top += Tally(products=3 * channels * TOP_CHANNELS * length)
        return convolutions(spec.convolution) + top + linear_heads(TOP_CHANNELS, outputs)
    if spec.kind == "fcn_mlp":
        trunk = spec.convolution.channels[-1] * spec.convolution.output_length
        *hidden, last = COMPOSITION_WIDTHS
        one = convolutions(spec.convolution) + unless_differentiated(
            linear(1, N_FRACTIONS, hidden[0])
        )
        one += dropped(hidden[0]) + perceptron(hidden)
        one += linear(1, hidden[-1], last) + perceptron((trunk + last, *JOINED_WIDTHS))
        return one + linear_heads(JOINED_WIDTHS[-1], outputs)
    return _xxact(spec, objective, outputs, batch, elements, reconstructed)


def _xxact(
    spec: ModelSpec,
    objective: str,
    outputs: Sequence[int],
    batch: int,
    elements: float,
    reconstructed: float | None,
) -> Tally:
    contrastive, masked = "contrastive" in objective, "mxm" in objective
    fused = masked or objective == "supervised"
    memory = 1 + elements
    one = composition_encoder(
        spec.composition, elements, batch, cls=True, chosen=None if fused else 1
    )
    if contrastive:
        alone = xrd_encoder(spec.xrd, False, chosen=1)
        one += alone.without_parameters() if fused else alone
        width = spec.xrd.width
        one += Tally(parameters=1, products=batch * width) + saved(2 * width + batch, FLOAT32)
    if fused:
        chosen = 1 if not masked else reconstructed or spec.xrd.tokens
        one += xrd_encoder(spec.xrd, masked) + fusion(spec, memory, chosen)
        if masked:
            window = N_POINTS // spec.xrd.tokens
            one += linear(chosen, spec.fusion.width, window) + Tally(parameters=window)
            one += saved(chosen * window, BFLOAT16) + saved(chosen * window, FLOAT32)
        else:
            one += linear_heads(spec.fusion.width, outputs)
    return one


def n_outputs(target: str) -> int:
    """Outputs of the head of a target."""
    classes = {CRYSTAL_SYSTEM.name: CRYSTAL_SYSTEM, SPACE_GROUP.name: SPACE_GROUP}
    return classes[target].n_outputs if target in classes else 1


def all_parameters(spec: ModelSpec, outputs: Sequence[int]) -> int:
    """Parameters of a network with heads of so many outputs, whatever it is trained for."""
    if spec.kind != "xxact_nn":
        return network(spec, "supervised", outputs, batch=1).parameters
    heads = linear_heads(spec.fusion.width, outputs).parameters
    return network(spec, "contrastive+mxm", (), batch=1).parameters + heads


@dataclass(frozen=True)
class Estimate:
    """What one run takes; bytes are those of each of its GPUs, `activations` without and
    `checkpointed` with activation checkpointing; `columns` are the data."""

    parameters: int
    flops_per_sample: float
    flops: float
    steps: int
    gpus: int
    states: float
    activations: float
    checkpointed: float
    columns: float
    checkpoint: float
    gpu_hours: float
    basis: str

    @property
    def memory(self) -> float:
        """Bytes of a GPU without activation checkpointing."""
        return self.states + self.activations + self.columns


def estimate(run: Run) -> Estimate:
    """The cost of a training of the suite. Raises `UserError` if its size is not known."""
    spec, parts = run.spec, _parts(run)
    outputs = [n_outputs(target) for target in spec.targets]
    heads = [3 if n == 1 else n for n in outputs] if spec.model.kind == "crabnet" else outputs
    batch = spec.batch_size
    whole = network(spec.model, spec.objective, heads, batch)
    trained, once = whole, 0.0
    flops_per_sample = whole.training_flops
    if spec.transfer:  # the features of every sample once, then heads on them
        width = (spec.model.fusion or spec.model.xrd or spec.model.composition).width
        trained = unless_differentiated(linear_heads(width, outputs))
        flops_per_sample = trained.training_flops
        once = 2 * whole.products * sum(parts.values())

    slots = max(1, len(outputs)) * parts["train"]
    part = slots if spec.equal_steps else slots * spec.train_fraction
    batch = min(batch, int(slots * spec.train_fraction))
    steps = max(1, round(spec.epochs * (part // batch)))
    evaluated = spec.evaluations * (parts["validation"] + parts["test"])
    forward = 0 if spec.transfer else 2 * whole.products
    flops = steps * batch * flops_per_sample + evaluated * forward + once

    gpus, zero = spec.engine.gpus, spec.engine.zero_stage if spec.engine.gpus > 1 else 0
    at_once = min(spec.engine.micro_batch or batch, batch / gpus)
    moments = 2 * FLOAT32 * trained.parameters / (gpus if zero >= 1 else 1)
    gradients = FLOAT32 * trained.parameters / (gpus if zero >= 2 else 1)
    total = all_parameters(spec.model, heads)
    inputs = N_POINTS * FLOAT32  # the patterns themselves
    rate, basis = _flops_per_s(spec)
    recomputed = whole.recomputed if spec.engine.activation_checkpointing else 0.0
    return Estimate(
        parameters=total,
        flops_per_sample=flops_per_sample,
        flops=flops,
        steps=steps,
        gpus=gpus,
        states=total * (FLOAT32 + BFLOAT16) + gradients + moments,
        activations=at_once * (inputs + trained.saved),
        checkpointed=at_once * (inputs + trained.kept + trained.block),
        columns=_column_bytes(run, sum(parts.values())),
        checkpoint=FLOAT32 * (total + 2 * trained.parameters),
        gpu_hours=(flops + 2 * recomputed * steps * batch) / rate / 3600,
        basis=basis,
    )


def _manifest(run: Run) -> dict[str, Any] | None:
    path = run.data / "manifest.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _parts(run: Run) -> dict[str, int]:
    """Samples of each part: of the store, or where that is not there of the scale."""
    manifest = _manifest(run)
    if manifest is not None:
        return manifest["parts"]
    train = load_scale(run.scale).train_samples
    if train is None:
        raise UserError(
            f"{run.data} is not there, and the scale '{run.scale}' does not say how large it is:"
            " prepare it, or add train_samples to the scale"
        )
    # The split gives 16 of 20 to training, 2 to the test, 1 each to validation and audit.
    return {"train": train, "test": 2 * train // 16, "validation": train // 16}


def _column_bytes(run: Run, samples: int) -> float:
    """Bytes of the columns that lie on the device."""
    manifest = _manifest(run)
    if manifest is None:
        return COLUMN_BYTES * samples
    names = ("element_z", "element_fraction", "two_theta", "intensity")
    return sum((run.data / f"{name}.npy").stat().st_size for name in names)


def peak_flops_per_s(name: str, precision: str) -> float | None:
    """Dense FLOP/s of the data sheet of a GPU that is called `name`; None if it is not listed."""
    peaks = [peak for part, peak in PEAK_FLOPS_PER_S.items() if part in name]
    return peaks[0] if peaks and precision == "bfloat16" else None


def _flops_per_s(spec: RunSpec) -> tuple[float, str]:
    """FLOP/s that a GPU will do in such a run, and how that is known."""
    path = RESULTS / "benchmarks" / "train.json"
    entries = json.loads(path.read_text())["entries"] if path.is_file() else []
    for entry in entries:
        alike = (entry["model"], entry["objective"]) == (spec.model.kind, spec.objective)
        if alike and entry["size"] == "paper" and entry["hardware"]["device"] == "cuda":
            rate = entry["xxact"]["model_flops_per_s"]
            name = entry["hardware"]["name"]
            return rate, f"{rate / 1e12:.0f} TFLOP/s measured on {name} (benchmarks/train.json)"
    mfu = ASSUMED_MFU_OF_CONVOLUTIONS if spec.model.convolution else ASSUMED_MFU
    rate = mfu * PEAK_FLOPS_PER_S[ASSUMED_GPU]
    return rate, f"ASSUMED: {100 * mfu:.0f} % of the peak of an {ASSUMED_GPU}"


def table(runs: Sequence[Run]) -> str:
    """The estimates of all trainings among `runs`, a line each, and what they rest on."""
    lines = [
        f"{'':42} {'para-':>7} {'GFLOP a':>8} {'PFLOP':>8} {'optimiser':>9} {'':4} {'GB a GPU:':>9}"
        f" {'activations,':>13} {'':>6} {'check-':>8} {'GPU-':>7}",
        f"{'run':42} {'meters':>7} {'sample':>8} {'in all':>8} {'steps':>9} {'GPUs':>4}"
        f" {'states':>9} {'checkpointed':>13} {'data':>6} {'point GB':>8} {'hours':>7}",
    ]
    bases: list[str] = []
    hours = 0.0
    for run in runs:
        if run.is_baseline:
            continue
        found = estimate(run)
        if found.basis not in bases:
            bases.append(found.basis)
        hours += found.gpu_hours
        mark = "*" * (1 + bases.index(found.basis))
        activations = f"{found.activations / 1e9:.1f}, {found.checkpointed / 1e9:.1f}"
        lines.append(
            f"{run.label:42} {found.parameters / 1e6:6.1f}M {found.flops_per_sample / 1e9:8.3g}"
            f" {found.flops / 1e15:8.3g} {found.steps:9,} {found.gpus:4}"
            f" {found.states / 1e9:9.2f} {activations:>13} {found.columns / 1e9:6.2f}"
            f" {found.checkpoint / 1e9:8.2f} {found.gpu_hours:7.2f}{mark}"
        )
    lines.append(f"{'all':42} {hours:80.2f}")
    lines += [f"{'*' * (1 + i)} {basis}" for i, basis in enumerate(bases)]
    return "\n".join(lines)
