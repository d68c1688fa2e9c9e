"""The data pipeline against the number of entries, as benchmarks/scale.py measured it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xxact.analysis.plots import style


def figure(result: dict[str, Any], folder: Path) -> list[Path]:
    """Three panels, logarithmic; the extrapolations of time and bytes are open circles."""
    runs, line = result["runs"], result["extrapolation"]
    entries = [run["entries"] for run in runs]
    panels = {
        "CPU time, s": ([run["cpu_s"] for run in runs], line["core_hours"] * 3600),
        "peak memory, MB": ([run["peak_memory_bytes"] / 1e6 for run in runs], None),
        "store, MB": ([run["store_bytes"] / 1e6 for run in runs], line["store_bytes"] / 1e6),
    }
    with style.drawing(1, 3, 2.5) as (canvas, axes):
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
        return style.save(canvas, folder, "pipeline")
