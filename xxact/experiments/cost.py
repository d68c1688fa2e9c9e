"""What a run will cost, from its spec and its own network: FLOPs, memory, GPU-hours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from xxact.data.store import open_store
from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP, Target, find_target
from xxact.errors import UserError
from xxact.experiments.counts import BFLOAT16, FLOAT32, count
from xxact.experiments.suite import RESULTS, Run, load_scale
from xxact.training.spec import RunSpec
from xxact.xrd.grid import N_POINTS

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


@dataclass(frozen=True)
class Estimate:
    """What one run takes; bytes are those of each of its GPUs, `columns` those of the data."""

    parameters: int
    flops_per_sample: float
    flops: float
    steps: int
    gpus: int
    states: float
    activations: float
    columns: float
    checkpoint: float
    gpu_hours: float
    basis: str

    @property
    def memory(self) -> float:
        """Bytes of a GPU."""
        return self.states + self.activations + self.columns


def estimate(run: Run) -> Estimate:
    """The cost of a training of the suite. Raises `UserError` if its size is not known."""
    spec, engine = run.spec, run.spec.engine
    samples, columns, known = _data(run)
    heads = [find_target(name, known, str(run.data)).classes for name in spec.targets]
    # Names are those of places, so that what differs in nothing else is counted once.
    targets = tuple(Target(str(place), classes=classes) for place, classes in enumerate(heads))
    case = spec.model, spec.objective, targets
    draws = 1 if spec.together else max(1, len(spec.targets))
    slots = draws * samples["train"]
    batch = min(spec.batch_size, int(slots * spec.train_fraction))
    epoch = slots if spec.equal_steps else slots * spec.train_fraction
    steps = max(1, round(spec.epochs * (epoch // batch)))

    step = count(*case, batch, spec.transfer)
    forward = step.forward / batch  # a sample
    evaluated = spec.evaluations * (samples["validation"] + samples["test"])
    # In a transfer features of every sample are computed once, and heads are evaluated on them.
    passes = sum(samples.values()) if spec.transfer else evaluated
    flops = steps * step.step + passes * forward
    # Checkpointed blocks, which are nearly all of a network, are computed once more.
    again = step.forward if engine.activation_checkpointing and step.largest_block else 0.0

    zero = engine.zero_stage if engine.gpus > 1 else 0
    moments = 2 * FLOAT32 * step.trained / (engine.gpus if zero >= 1 else 1)
    gradients = FLOAT32 * step.trained / (engine.gpus if zero >= 2 else 1)
    at_once = round(min(engine.micro_batch or batch, batch / engine.gpus)) or 1
    held = count(*case, at_once, spec.transfer)
    activations = held.kept_outside + held.largest_block if again else held.kept
    rate, basis = _flops_per_s(spec)
    return Estimate(
        parameters=step.parameters,
        flops_per_sample=step.step / batch,
        flops=flops,
        steps=steps,
        gpus=engine.gpus,
        states=step.parameters * (FLOAT32 + BFLOAT16) + gradients + moments,
        activations=activations + at_once * N_POINTS * FLOAT32,  # the patterns themselves
        columns=columns,
        checkpoint=FLOAT32 * (step.parameters + 2 * step.trained),
        gpu_hours=(flops + steps * again) / rate / 3600,
        basis=basis,
    )


def _data(run: Run) -> tuple[dict[str, int], float, dict[str, Target]]:
    """Samples of each split, bytes on the device, and targets: of the store, or of the scale."""
    splits = ("train", "validation", "test")
    if run.data.is_dir():
        store = open_store(run.data)
        columns = store.element_z.nbytes + store.element_fraction.nbytes
        if store.has_xrd:
            columns += store.two_theta.nbytes + store.intensity.nbytes
        return {split: len(store.indices(split)) for split in splits}, columns, store.targets
    train = load_scale(run.scale).train_samples
    if train is None:
        raise UserError(
            f"{run.data} is not there, and the scale '{run.scale}' does not say how large it is:"
            " prepare it, or add train_samples to the scale"
        )
    # The split gives 16 of 20 to training, 2 to the test, 1 each to validation and audit.
    samples = {"train": train, "validation": train // 16, "test": 2 * train // 16}
    targets = {name: Target(name) for name in run.spec.targets}
    targets |= {target.name: target for target in (CRYSTAL_SYSTEM, SPACE_GROUP)}
    return samples, COLUMN_BYTES * sum(samples.values()), targets


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
        f" {'acti-':>8} {'':>6} {'check-':>8} {'GPU-':>7}",
        f"{'run':42} {'meters':>7} {'sample':>8} {'in all':>8} {'steps':>9} {'GPUs':>4}"
        f" {'states':>9} {'vations':>8} {'data':>6} {'point GB':>8} {'hours':>7}",
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
        lines.append(
            f"{run.label:42} {found.parameters / 1e6:6.1f}M {found.flops_per_sample / 1e9:8.3g}"
            f" {found.flops / 1e15:8.3g} {found.steps:9,} {found.gpus:4}"
            f" {found.states / 1e9:9.2f} {found.activations / 1e9:8.1f} {found.columns / 1e9:6.2f}"
            f" {found.checkpoint / 1e9:8.2f} {found.gpu_hours:7.2f}{mark}"
        )
    lines.append(f"{'all':42} {hours:75.2f}")
    lines += [f"{'*' * (1 + i)} {basis}" for i, basis in enumerate(bases)]
    return "\n".join(lines)
