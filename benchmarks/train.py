"""Speed and memory of training: this package and what one would write first, in one run.

    python benchmarks/train.py                                  # every model at mini and mp-small
    python benchmarks/train.py --sizes mini --cases table2/none table2/pretrain_mxm
    python benchmarks/train.py --sizes paper --blocks 3         # the 112 M parameters, few steps

Each case is a row of the suite at a size. Both sides (`xxact`, and `first_draft.py`: torch's own
layers, a `DataLoader` of dense patterns with its best number of workers, float32 or on a GPU
autocast) start from the same weights, take the same batches in the same order, and compute in
processes of their own that take turns of a few seconds, so that a busy machine slows both. On a
CPU that is done on one thread and on all cores. Medians over the turns. Model FLOPs are counted by
`FlopCounterMode` in a real step. Writes results/benchmarks/train.json, in which entries of other
hardware are kept.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

from machine import hardware

from xxact.experiments.suite import REPOSITORY, load_scale, plan

SCHEMA = 1
#: Scale whose models, batch and precision each size has.
SCALES = {"mini": "mini", "mp-small": "mp-small", "paper": "mp"}
#: Rows that between them train every kind of model and every objective.
CASES = (
    *("table2/none", "table2/pretrain_contrastive", "table2/pretrain_mxm"),
    *("table2/pretrain_contrastive_mxm", "table1/crabnet_energy", "table1/xrd_energy"),
    *("table3/fcn_energy_1", "table3/fcn_mlp_energy_1", "open/both"),
)
#: A CPU takes this many samples a step of the 112 M parameters.
CPU_BATCH_OF_PAPER = 16
#: Parts that a run is evaluated on.
EVALUATED_SPLITS = ("validation", "test")
WORKERS = {"cpu": (0, 1, 2), "cuda": (0, 4, 8, 16)}
PACKAGES = ("torch", "numpy")


@dataclass(frozen=True)
class Case:
    """A row of the suite at a size, on a number of threads."""

    size: str
    row: str
    threads: int
    batch_size: int | None  # None: that of the scale
    compile: bool  # our blocks


def main() -> None:
    """Measure every case, print the table, write the JSON."""
    arguments = parse_arguments()
    entries = []
    for case in cases(arguments):
        entries.append(measure(case, arguments.blocks, arguments.block_s))
        show(entries[-1], header=len(entries) == 1)
        write(arguments.out, entries)
    print(f"written to {arguments.out}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SCALES, default=["mini", "mp-small"])
    parser.add_argument("--cases", nargs="+", metavar="TABLE/ROW", default=CASES)
    parser.add_argument("--threads", nargs="+", type=int, help="of a CPU: 1 and all by default")
    parser.add_argument("--batch", type=int, help="samples a step; default: those of the scale")
    parser.add_argument("--compile", action="store_true", help="our blocks with torch.compile")
    parser.add_argument("--blocks", type=int, default=7, help="turns of each side (default 7)")
    parser.add_argument("--block-s", type=float, default=2.0, help="seconds a turn (default 2)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "results/benchmarks/train.json")
    return parser.parse_args()


def cases(arguments: argparse.Namespace) -> list[Case]:
    import torch

    on_gpu = torch.cuda.is_available()
    cores = len(os.sched_getaffinity(0))
    threads = arguments.threads or ([cores] if on_gpu else sorted({1, cores}))
    found = []
    for size in arguments.sizes:
        batch_size = arguments.batch
        if size == "paper" and not on_gpu:
            batch_size = batch_size or CPU_BATCH_OF_PAPER
        for row in arguments.cases:
            found += [Case(size, row, n, batch_size, arguments.compile) for n in threads]
    return found


def measure(case: Case, blocks: int, block_s: float) -> dict[str, Any]:
    """Let both sides take turns; what the case has to say."""
    ours, theirs = Side("xxact", case), Side("first_draft", case)
    try:
        n_ours, n_theirs = ours.ask("calibrate", block_s), theirs.ask("calibrate", block_s)
        turns = [(ours.ask("steps", n_ours), theirs.ask("steps", n_theirs)) for _ in range(blocks)]
        details, draft = ours.ask("details"), theirs.ask("details")
    finally:
        ours.stop()
        theirs.stop()
    batch_size = details["batch_size"]
    sides = {}
    for side, index, found in (("xxact", 0, details), ("first_draft", 1, draft)):
        seconds, processor_seconds = (
            statistics.median(turn[index][k] for turn in turns) for k in (0, 1)
        )
        sides[side] = {
            "samples_per_s": batch_size / seconds,
            "ms_per_step": 1e3 * seconds,
            "processor_ms_per_step": 1e3 * processor_seconds,
            "peak_memory_bytes": found.pop("peak_memory_bytes"),
        }
    rate = sides["xxact"]["samples_per_s"] * details["flops_per_sample"]
    peak = details["peak_flops_per_s"]
    sides["xxact"] |= {"model_flops_per_s": rate, "mfu": rate / peak if peak else None}
    sides["xxact"] |= {key: details.pop(key) for key in ("shares", "evaluation_samples_per_s")}
    sides["first_draft"] |= draft
    ratio = {
        "wall": sides["first_draft"]["ms_per_step"] / sides["xxact"]["ms_per_step"],
        "processor": sides["first_draft"]["processor_ms_per_step"]
        / sides["xxact"]["processor_ms_per_step"],
    }
    return {"size": case.size, "row": case.row, **details, **sides, "ratio": ratio}


class Side:
    """One of the two, in a process of its own."""

    def __init__(self, name: str, case: Case) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, end = context.Pipe()
        self.process = context.Process(target=serve, args=(name, case, end))
        self.process.start()
        end.close()

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of the process; it computes in no other moment."""
        self.connection.send((question, arguments))
        return self.connection.recv()

    def stop(self) -> None:
        self.connection.close()
        self.process.join()


def serve(name: str, case: Case, connection: Connection) -> None:
    """What the process does: answer until the other end closes."""
    import torch

    torch.set_num_threads(case.threads)
    side = Ours(case) if name == "xxact" else FirstDraft(case)
    while True:
        try:
            question, arguments = connection.recv()
        except EOFError:
            side.close()
            return
        connection.send(getattr(side, question)(*arguments))


class Measured:
    """A side that can be timed: `step()` does the next optimiser step."""

    def __init__(self, case: Case) -> None:
        from xxact.data.store import open_store

        run = plan([case.row], SCALES[case.size], [0], Path(tempfile.gettempdir()))[-1]
        data = run.data
        if not data.is_dir():  # speed does not depend on which crystals they are
            data = REPOSITORY / load_scale("mini").data
        engine = run.spec.engine.model_copy(update={"compile": case.compile, "gpus": 1})
        update = {"engine": engine, "batch_size": case.batch_size or run.spec.batch_size}
        self.spec = run.spec.model_copy(update=update)
        self.store, self.case, self.next = open_store(data), case, 0

    @staticmethod
    def on_gpu() -> bool:
        import torch

        return torch.cuda.is_available()

    def wait(self) -> float:
        """The time when the device is done."""
        import torch

        if self.on_gpu():
            torch.cuda.synchronize()
        return time.perf_counter()

    def calibrate(self, block_s: float) -> int:
        """Number of steps that take about `block_s`, after a warm-up."""
        self.steps(3)
        return max(1, round(block_s / self.steps(2)[0]))

    def steps(self, n: int) -> tuple[float, float]:
        """Seconds of wall time and of processor time that each of `n` steps took."""
        began, processor = self.wait(), time.process_time()
        for _ in range(n):
            self.step()
            self.next += 1
        return (self.wait() - began) / n, (time.process_time() - processor) / n

    def step(self) -> None:
        raise NotImplementedError

    def peak_memory_bytes(self) -> int:
        """Of the GPU, or of this process."""
        import torch

        if self.on_gpu():
            return torch.cuda.max_memory_allocated()
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def close(self) -> None:
        """Let go of what other processes hold."""


class Ours(Measured):
    """The training loop of the package."""

    def __init__(self, case: Case) -> None:
        from xxact.training.loop import Training

        super().__init__(case)
        self.training = Training(self.spec, self.store, Path(tempfile.mkdtemp()), seed=0)

    def step(self) -> None:
        self.training._step(self.next)

    def details(self) -> dict[str, Any]:
        """What is said of a case but its speed."""
        memory = self.peak_memory_bytes()  # before the counting below
        training, spec = self.training, self.spec
        evaluation_s, evaluated = self.evaluation()
        return {
            "model": spec.model.kind,
            "objective": spec.objective,
            "data": self.store.name,
            "batch_size": training.sampler.batch_size,
            "threads": self.case.threads,
            "compile": self.case.compile,
            "precision": training.engine.precision,
            "parameters": sum(p.numel() for p in training.model.parameters()),
            "flops_per_sample": self.flops() / training.sampler.batch_size,
            "peak_flops_per_s": peak_flops_per_s(training.engine.precision),
            "peak_memory_bytes": memory,
            "shares": self.shares(evaluation_s * spec.evaluations / training.total),
            "evaluation_samples_per_s": evaluated / evaluation_s,
            "hardware": self.hardware(),
        }

    def flops(self) -> int:
        """Model FLOPs of one step, forward and backward.

        Attention is computed in torch's own operations meanwhile: they alone are counted.
        """
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        in_torch = patch("xxact.models.attention.on_cpu", lambda tensor: False)
        counter = FlopCounterMode(display=False)
        with in_torch, sdpa_kernel(SDPBackend.MATH), counter:
            self.step()
        return counter.get_total_flops()

    def evaluation(self) -> tuple[float, int]:
        """Seconds of one evaluation, and its number of samples."""
        task, engine = self.training.task, self.training.engine
        splits = [self.store.indices(split) for split in EVALUATED_SPLITS]
        for _ in range(2):  # the first time warms up
            began = self.wait()
            for rows in splits:
                task.evaluate(engine, rows)
            seconds = self.wait() - began
        return seconds, sum(map(len, splits))

    def shares(self, evaluation_s: float, steps: int = 10) -> dict[str, float]:
        """Share of each part of a step, waiting for the device between them; `evaluation_s` is
        the time of the evaluations of a run over its number of steps."""
        seconds = dict.fromkeys(("rendering", "forward", "backward", "optimiser"), 0.0)
        engine, data = self.training.engine, self.training.task.data

        def timed(part: str, function: Callable) -> Callable:
            def call(*arguments: Any, **named: Any) -> Any:
                began = self.wait()
                value = function(*arguments, **named)
                seconds[part] += self.wait() - began
                return value

            return call

        def forward(compute: Callable) -> Any:
            with engine.autocast():
                return compute()

        def backward(compute: Callable) -> Any:
            loss = timed("forward", forward)(compute)
            timed("backward", loss.backward)()
            return loss.detach()

        engine._backward, engine._update = backward, timed("optimiser", engine._update)
        data.gather = timed("rendering", data.gather)
        steps = max(1, min(steps, round(5 / self.steps(1)[0])))
        seconds = dict.fromkeys(seconds, 0.0)
        began = self.wait()
        for _ in range(steps):
            self.step()
            self.next += 1
        whole = self.wait() - began
        seconds["forward"] -= seconds["rendering"]
        seconds["rest"] = whole - sum(seconds.values())
        seconds["evaluation"] = evaluation_s * steps
        return {part: value / sum(seconds.values()) for part, value in seconds.items()}

    def hardware(self) -> dict[str, Any]:
        import torch

        if self.on_gpu():
            return {"device": "cuda", "name": torch.cuda.get_device_name(), "processes": 1}
        return hardware()


class FirstDraft(Measured):
    """`first_draft.py`, with its best number of `DataLoader` workers."""

    def __init__(self, case: Case) -> None:
        import first_draft
        import torch

        from xxact.data.batches import DeviceStore
        from xxact.training.loop import make_model, training_rows
        from xxact.training.sampler import Sampler
        from xxact.training.task import make_task

        super().__init__(case)
        spec, store = self.spec, self.store
        device = torch.device("cuda" if self.on_gpu() else "cpu")
        torch.manual_seed(0)
        model = make_model(spec, store)
        data = DeviceStore(store, xrd="xrd" in model.uses)
        rows = training_rows(store, spec.train_fraction, seed=0)
        task = make_task(spec, store, data, rows)
        sampler = Sampler(task.rows_by_task, spec.batch_size, seed=0)
        patterns = first_draft.dense_patterns(store, data) if data.has_xrd else None
        values = [task.values[target.name].numpy() for target in task.targets]
        examples = first_draft.DenseExamples(store, patterns, values)
        draft = first_draft.build(spec.model, task.targets, model.state_dict())
        self.loop = first_draft.Loop(draft, task.targets, spec, device)
        self.batches = {
            workers: iter(first_draft.loader(examples, sampler, workers, device))
            for workers in WORKERS[device.type]
        }
        self.workers = 0

    def step(self) -> None:
        self.loop.step(next(self.batches[self.workers]))

    def calibrate(self, block_s: float) -> int:
        """As on the other side, with the number of workers that proves best."""
        numbers, seconds = {}, {}
        for workers in self.batches:
            self.workers = workers
            numbers[workers] = super().calibrate(block_s)
            seconds[workers] = min(self.steps(numbers[workers])[0] for _ in range(2))
        self.workers = min(seconds, key=seconds.get)
        self.batches = {self.workers: self.batches[self.workers]}  # the others' workers end
        return numbers[self.workers]

    def details(self) -> dict[str, Any]:
        """What is said of this side but its speed."""
        return {"workers": self.workers, "peak_memory_bytes": self.peak_memory_bytes()}

    def close(self) -> None:
        self.batches.clear()


def peak_flops_per_s(precision: str, size: int = 4096) -> float | None:
    """What the device does at its best: of its data sheet, or in a large matrix product."""
    import torch

    from xxact.experiments.cost import peak_flops_per_s

    if torch.cuda.is_available():
        return peak_flops_per_s(torch.cuda.get_device_name(), precision)
    size //= 2
    a = torch.randn(size, size).to(getattr(torch, precision))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def write(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Put `entries` in the file, in place of older ones of the same cases and hardware."""

    def key(entry: dict[str, Any]) -> tuple:
        names = ("size", "row", "threads", "batch_size", "compile")
        return entry["hardware"]["name"], *(entry[name] for name in names)

    kept = {}
    if path.exists():
        kept = {key(entry): entry for entry in json.loads(path.read_text())["entries"]}
    versions = {"python": platform.python_version()} | {p: version(p) for p in PACKAGES}
    kept |= {key(entry): entry | {"versions": versions} for entry in entries}
    content = {
        "schema": SCHEMA,
        "unit": "medians over turns that both sides take in alternation",
        "command": "python benchmarks/train.py",
        "entries": [kept[k] for k in sorted(kept)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def show(entry: dict[str, Any], header: bool) -> None:
    """One line of the table."""
    if header:
        print(
            f"{'size':9} {'row':31} {'threads':>7} {'samples/s':>10} {'first draft':>11} "
            f"{'ratio':>6} {'GFLOP/s':>8} {'MFU %':>6}  shares in %"
        )
    ours, theirs = entry["xxact"], entry["first_draft"]
    shares = " ".join(f"{part} {100 * share:.0f}" for part, share in ours["shares"].items())
    mfu = f"{100 * ours['mfu']:6.1f}" if ours["mfu"] else "     ?"
    print(
        f"{entry['size']:9} {entry['row']:31} {entry['threads']:7} {ours['samples_per_s']:10.1f} "
        f"{theirs['samples_per_s']:11.1f} {entry['ratio']['wall']:5.2f}x "
        f"{ours['model_flops_per_s'] / 1e9:8.1f} {mfu}  {shares}",
        flush=True,
    )


if __name__ == "__main__":
    main()
