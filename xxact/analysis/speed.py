"""The speed of training in the report: this package beside what one would write first.

Reads what benchmarks/train.py wrote (`results/benchmarks/train.json`).
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xxact.analysis.pipeline import html_table, read_json

FILE = "train.json"
SHARES = ("rendering", "forward", "backward", "optimiser", "evaluation", "rest")
HEADER = [
    *("model, objective", "size", "threads", "batch", "samples/s", "first draft", "times faster"),
    *("in processor time", "GFLOP a sample", "GFLOP/s", "MFU, %", "memory, MB", "first draft"),
    *(f"{share}, %" for share in SHARES),
]
WORDS = (
    "One optimiser step after another, in this package and in a first draft (torch's own layers, "
    "dense float32 patterns from a DataLoader with its best number of workers, float32 on a CPU "
    "and autocast on a GPU): same weights, same batches, same run, in alternation; medians. FLOPs "
    "are those of the model, counted in a real step; MFU is against the bfloat16 peak of a GPU's "
    "data sheet or, on a CPU, the fastest of five large matrix products. The last columns are "
    "shares of a training's time; patterns that a CPU keeps are rendered before the first step."
)


def section(benchmarks: Path) -> str:
    """The section of the page."""
    parts = ["<h2 id=speed>Training speed</h2>"]
    result = read_json(benchmarks / FILE)
    if result is None:
        parts.append('<p class="missing">not run</p>')
    else:
        parts.append(f"<p>{html.escape(WORDS)}</p>")
        entries = result["entries"]
        for name in dict.fromkeys(entry["hardware"]["name"] for entry in entries):
            parts += _machine([entry for entry in entries if entry["hardware"]["name"] == name])
    parts.append("<p class=again>Again: <code>python benchmarks/train.py</code></p>")
    return "\n".join(parts)


def _machine(entries: Sequence[dict[str, Any]]) -> list[str]:
    """The measurements on one machine."""
    hardware = entries[0]["hardware"]
    title = hardware["name"]
    if hardware["device"] == "cpu":
        loads = [entry["hardware"]["load_average"] for entry in entries]
        title += f" ({hardware['cores']} cores, load {min(loads):g} to {max(loads):g})"
    return [f"<h3>{html.escape(title)}</h3>", html_table(HEADER, [_row(e) for e in entries])]


def _row(entry: dict[str, Any]) -> list[str]:
    ours, theirs = entry["xxact"], entry["first_draft"]
    workers = f"{theirs['workers']} worker{'s' if theirs['workers'] != 1 else ''}"
    mfu = "unknown" if ours["mfu"] is None else f"{100 * ours['mfu']:.1f}"
    return [
        f"{entry['model']}, {entry['objective']}",
        entry["size"],
        str(entry["threads"]),
        f"{entry['batch_size']:,}",
        f"{ours['samples_per_s']:,.0f}",
        f"{theirs['samples_per_s']:,.0f} ({workers})",
        f"{entry['ratio']['wall']:.2f}",
        f"{entry['ratio']['processor']:.2f}",
        f"{entry['flops_per_sample'] / 1e9:.3g}",
        f"{ours['model_flops_per_s'] / 1e9:,.0f}",
        mfu,
        f"{ours['peak_memory_bytes'] / 1e6:,.0f}",
        f"{theirs['peak_memory_bytes'] / 1e6:,.0f}",
        *(f"{100 * ours['shares'][share]:.0f}" for share in SHARES),
    ]
