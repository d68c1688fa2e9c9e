"""The measured speed of data preparation and training, for the page.

Reads what benchmarks/data.py, scale.py and train.py wrote (`results/benchmarks/*.json`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxact.analysis.plots import pipeline

if TYPE_CHECKING:
    import pandas as pd

TRAIN_WORDS = (
    "One optimiser step after another, in this package and in a first draft (torch's own layers, "
    "dense float32 patterns from a DataLoader with its best number of workers, float32 on a CPU "
    "and autocast on a GPU): same weights, same batches, same run, in alternation; medians. FLOPs "
    "are those of the model, counted in a real step; MFU is against the bfloat16 peak of a GPU's "
    "data sheet or, on a CPU, the fastest of five large matrix products. The last columns are "
    "shares of a training's time; patterns that a CPU keeps are rendered before the first step."
)
SHARES = ("rendering", "forward", "backward", "optimiser", "evaluation", "rest")


@dataclass(frozen=True)
class Benchmark:
    """One measurement: words, a table of text, perhaps a figure, and how to measure it again.

    table: None where it has not been run.
    """

    title: str
    command: str
    words: str = ""
    table: pd.DataFrame | None = None
    figure: Path | None = None


def benchmarks(results: Path, figures: Path) -> dict[str, list[Benchmark]]:
    """Heading -> measurements; draws the figure of the pipeline into the folder `figures`."""
    folder = results / "benchmarks"
    stages = {
        "data.json": ("Cells as large as Alexandria's, stage by stage", "--n 5000"),
        "data_mp.json": (
            "Materials Project cells, stage by stage",
            "--input data/raw/mp/mp_structures.csv.xz --out results/benchmarks/data_mp.json",
        ),
    }
    pipeline_parts = [
        Benchmark(title, f"python benchmarks/data.py {options}", *_stages(_read(folder / file)))
        for file, (title, options) in stages.items()
    ]
    title = "Time, memory and bytes against entries"
    scale = _scaling(_read(folder / "scale.json"), figures)
    pipeline_parts.append(Benchmark(title, "python benchmarks/scale.py", *scale))
    return {
        "The data pipeline": pipeline_parts,
        "Training speed": list(_training(_read(folder / "train.json"))),
    }


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _machine(hardware: dict[str, Any]) -> str:
    return f"{hardware['name']} ({hardware['cores']} cores, load {hardware['load_average']:g})"


def _stages(result: dict[str, Any] | None) -> tuple[str, pd.DataFrame | None]:
    """Milliseconds of CPU time an entry on one core: this pipeline and the reference one."""
    import pandas as pd

    if result is None:
        return "", None
    rows = {
        stage: [f"{row['xxact_ms']:.3f}", f"{row['reference_ms']:.3f}", f"{row['ratio']:.1f}"]
        for stage, row in result["stages"].items()
    }
    words = (
        f"{result['n']:,} entries of {result['mean_sites']:.1f} sites on average "
        f"({result['input']}), {result['store_bytes_per_entry']:.0f} bytes each in the store. "
        "Milliseconds of processor time an entry on one core of "
        f"{_machine(result['hardware'])}; the reference is json, pymatgen, NumPy smearing, spglib "
        "and dense float32 patterns, on the same entries in the same run. Patterns differ by at "
        f"most {result['largest_pattern_difference']:.1e} of 100, space groups in "
        f"{result['space_groups_that_differ']} entries."
    )
    header = ["xxact, ms", "reference, ms", "times faster"]
    return words, pd.DataFrame.from_dict(rows, orient="index", columns=header)


def _scaling(
    result: dict[str, Any] | None, figures: Path
) -> tuple[str, pd.DataFrame | None, Path | None]:
    """The measured runs, the extrapolation to the paper's entries, and the curves."""
    import pandas as pd

    if result is None:
        return "", None, None
    rows = {
        f"{run['entries']:,} entries": [
            f"{run['wall_s']:.1f}",
            f"{run['cpu_s']:.1f}",
            f"{run['cpu_s'] / run['entries'] * 1e3:.3f}",
            f"{run['peak_memory_bytes'] / 1e6:.0f}",
            f"{run['store_bytes'] / 1e6:.2f}",
            f"{run['store_bytes'] / run['entries']:.0f}",
        ]
        for run in result["runs"]
    }
    line = result["extrapolation"]
    words = (
        f"Synthetic releases in Alexandria's format, prepared by {result['workers']} processes on "
        f"{_machine(result['hardware'])}. With the measured slope of "
        f"{line['cpu_ms_per_entry']:.3f} ms and {line['store_bytes_per_entry']:.0f} bytes an "
        f"entry, the paper's {line['entries']:,} entries take {line['core_hours']:.2f} core-hours "
        f"and {line['store_bytes'] / 1e9:.2f} GB; dense float32 patterns would take "
        f"{line['entries'] * 4250 * 4 / 1e9:.0f} GB."
    )
    header = ["wall, s", "CPU, s", "CPU an entry, ms", "peak memory, MB", "store, MB"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*header, "bytes an entry"])
    return words, table, pipeline.figure(result, figures)[0]


def _training(result: dict[str, Any] | None) -> Iterator[Benchmark]:
    """One table a machine."""
    import pandas as pd

    command = "python benchmarks/train.py"
    if result is None:
        yield Benchmark("Steps of training", command)
        return
    machines: dict[str, list[dict[str, Any]]] = {}
    for entry in result["entries"]:
        machines.setdefault(entry["hardware"]["name"], []).append(entry)
    for k, (title, entries) in enumerate(machines.items()):
        hardware = entries[0]["hardware"]
        if hardware["device"] == "cpu":
            loads = [entry["hardware"]["load_average"] for entry in entries]
            title += f" ({hardware['cores']} cores, load {min(loads):g} to {max(loads):g})"
        table = pd.DataFrame([_training_row(entry) for entry in entries])
        table = table.set_index("model, objective").rename_axis(None)
        yield Benchmark(title, command, "" if k else TRAIN_WORDS, table)


def _training_row(entry: dict[str, Any]) -> dict[str, str]:
    ours, theirs = entry["xxact"], entry["first_draft"]
    workers = f"{theirs['workers']} worker{'s' if theirs['workers'] != 1 else ''}"
    return {
        "model, objective": f"{entry['model']}, {entry['objective']}, {entry['size']}, "
        f"{entry['threads']} threads",
        "batch": f"{entry['batch_size']:,}",
        "samples/s": f"{ours['samples_per_s']:,.0f}",
        "first draft's": f"{theirs['samples_per_s']:,.0f} ({workers})",
        "times faster": f"{entry['ratio']['wall']:.2f}",
        "in processor time": f"{entry['ratio']['processor']:.2f}",
        "GFLOP a sample": f"{entry['flops_per_sample'] / 1e9:.3g}",
        "GFLOP/s": f"{ours['model_flops_per_s'] / 1e9:,.0f}",
        "MFU, %": "unknown" if ours["mfu"] is None else f"{100 * ours['mfu']:.1f}",
        "memory, MB": f"{ours['peak_memory_bytes'] / 1e6:,.0f}",
        "first draft's memory": f"{theirs['peak_memory_bytes'] / 1e6:,.0f}",
        **{f"{share}, %": f"{100 * ours['shares'][share]:.0f}" for share in SHARES},
    }
