"""The data pipeline against the number of entries, as benchmarks/scale.py measured it."""

from __future__ import annotations

import json
from pathlib import Path

from xxact.analysis.plots import style


@style.figure("pipeline", "Time, memory and bytes against entries", [])
def figure(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Three panels, logarithmic; the extrapolations of time and bytes are open circles."""
    result = json.loads((root / "benchmarks" / "scale.json").read_text(encoding="utf-8"))
    runs, line = result["runs"], result["extrapolation"]
    entries = [run["entries"] for run in runs]
    panels = {
        "CPU time, s": ([run["cpu_s"] for run in runs], line["core_hours"] * 3600),
        "peak memory, MB": ([run["peak_memory_bytes"] / 1e6 for run in runs], None),
        "store, MB": ([run["store_bytes"] / 1e6 for run in runs], line["store_bytes"] / 1e6),
    }
    canvas, axes = style.panels(1, 3, 2.5)
    for panel, (label, (values, end)) in zip(axes[0], panels.items(), strict=True):
        panel.loglog(entries, values, "o-", color=style.OURS)
        if end is not None:
            ends = [entries[-1], line["entries"]], [values[-1], end]
            panel.loglog(*ends, ":", color=style.BASELINE)
            panel.loglog(line["entries"], end, "o", mfc="white", color=style.OURS)
        panel.set(xlabel="entries", ylabel=label)
        panel.set_ylim(min(values) / 3, max(*values, end or 0) * 3)
    note = f"measured; open circles: extrapolated to {line['entries']:,} entries"
    style.note_below(canvas, note)
    return canvas
