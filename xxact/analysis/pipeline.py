"""The data pipeline in the report: each stage beside the usual tools, and how it all scales.

Reads what benchmarks/data.py and benchmarks/scale.py wrote (`results/benchmarks/*.json`).
"""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

from xxact.analysis.plots import pipeline as plot

#: Files of the stage benchmark, and what their crystals are.
STAGES = {"data.json": "Cells as large as Alexandria's", "data_mp.json": "Materials Project cells"}
SCALE = "scale.json"
COMMANDS = {
    "data.json": "python benchmarks/data.py --n 5000",
    "data_mp.json": "python benchmarks/data.py --input data/raw/mp/mp_structures.csv.xz "
    "--out results/benchmarks/data_mp.json",
    SCALE: "python benchmarks/scale.py",
}

escape = html.escape


def section(benchmarks: Path, figures: Path) -> str:
    """The section of the page; draws `pipeline.png` and `.pdf` into the folder `figures`."""
    parts = ["<h2 id=pipeline>The data pipeline</h2>"]
    for file, title in STAGES.items():
        parts.append(f"<h3>{escape(title)}, stage by stage</h3>")
        result = read_json(benchmarks / file)
        parts.append(_stages(result) if result else '<p class="missing">not run</p>')
        parts.append(_again(file))
    parts.append("<h3>Time, memory and bytes against entries</h3>")
    result = read_json(benchmarks / SCALE)
    parts.append(_scaling(result, figures) if result else '<p class="missing">not run</p>')
    parts.append(_again(SCALE))
    return "\n".join(parts)


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a benchmark's file, if it has been run."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _again(file: str) -> str:
    return f"<p class=again>Again: <code>{escape(COMMANDS[file])}</code></p>"


def html_table(header: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is the heads of its rows."""
    lines = ["".join(f"<th>{escape(text)}</th>" for text in header)]
    lines += [
        f"<th>{escape(row[0])}</th>" + "".join(f"<td>{escape(text)}</td>" for text in row[1:])
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=scroll><table>\n{body}\n</table></div>"


def _stages(result: dict[str, Any]) -> str:
    """Milliseconds of CPU time an entry on one core: this pipeline and the reference one."""
    rows = [
        [stage, f"{row['xxact_ms']:.3f}", f"{row['reference_ms']:.3f}", f"{row['ratio']:.1f}"]
        for stage, row in result["stages"].items()
    ]
    words = (
        f"{result['n']:,} entries of {result['mean_sites']:.1f} sites on average "
        f"({result['input']}), {result['store_bytes_per_entry']:.0f} bytes each in the store. "
        "Milliseconds of processor time an entry on one core of "
        f"{_machine(result)}; the reference is json, pymatgen, NumPy smearing, spglib and dense "
        "float32 patterns, on the same entries in the same run. Patterns differ by at most "
        f"{result['largest_pattern_difference']:.1e} of 100, space groups in "
        f"{result['space_groups_that_differ']} entries."
    )
    header = ["stage", "xxact, ms", "reference, ms", "times faster"]
    return f"<p>{escape(words)}</p>\n{html_table(header, rows)}"


def _machine(result: dict[str, Any]) -> str:
    hardware = result["hardware"]
    return f"{hardware['name']} ({hardware['cores']} cores, load {hardware['load_average']:g})"


def _scaling(result: dict[str, Any], figures: Path) -> str:
    """The measured runs, the extrapolation to the paper's entries, and the curves."""
    rows = [
        [
            f"{run['entries']:,}",
            f"{run['wall_s']:.1f}",
            f"{run['cpu_s']:.1f}",
            f"{run['cpu_s'] / run['entries'] * 1e3:.3f}",
            f"{run['peak_memory_bytes'] / 1e6:.0f}",
            f"{run['store_bytes'] / 1e6:.2f}",
            f"{run['store_bytes'] / run['entries']:.0f}",
        ]
        for run in result["runs"]
    ]
    line = result["extrapolation"]
    words = (
        f"Synthetic releases in Alexandria's format, prepared by {result['workers']} processes on "
        f"{_machine(result)}. With the measured slope of {line['cpu_ms_per_entry']:.3f} ms and "
        f"{line['store_bytes_per_entry']:.0f} bytes an entry, the paper's {line['entries']:,} "
        f"entries take {line['core_hours']:.2f} core-hours and "
        f"{line['store_bytes'] / 1e9:.2f} GB; dense float32 patterns would take "
        f"{line['entries'] * 4250 * 4 / 1e9:.0f} GB."
    )
    header = ["entries", "wall, s", "CPU, s", "CPU an entry, ms", "peak memory, MB"]
    header += ["store, MB", "bytes an entry"]
    png = base64.b64encode(plot.figure(result, figures)[0].read_bytes()).decode("ascii")
    alt = "Time, memory and store size against the number of entries"
    return (
        f"<p>{escape(words)}</p>\n{html_table(header, rows)}\n"
        f'<figure><img alt="{alt}" src="data:image/png;base64,{png}"></figure>'
    )
