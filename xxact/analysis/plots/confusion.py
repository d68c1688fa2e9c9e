"""Confusion matrices of the crystal systems, one panel for each model of Table 4."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis.plots import style
from xxact.analysis.tables import EMBEDDED_RUNS
from xxact.data.targets import CRYSTAL_SYSTEMS

if TYPE_CHECKING:
    import pandas as pd

RUNS = tuple(run for _, run in EMBEDDED_RUNS.values())
SHORT = tuple(name[:4] + "." if len(name) > 5 else name for name in CRYSTAL_SYSTEMS)


def confusion(found: pd.DataFrame, run: str) -> pd.DataFrame:
    """Counts of a run summed over its seeds: truth in rows, prediction in columns."""
    counts = found[found["run"] == run].pivot_table(
        index="true", columns="predicted", values="count", aggfunc="sum"
    )
    return counts.reindex(index=CRYSTAL_SYSTEMS, columns=CRYSTAL_SYSTEMS)


@style.figure("confusion", "Confusion of crystal systems (to Table 4)", RUNS)
def figure(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Share of each true system (row) that was given each system (column), in %."""
    import seaborn as sns

    found = frame.load_confusion(root, scale)
    panels = [(label, run) for label, run in EMBEDDED_RUNS.values() if run in set(found["run"])]
    if not panels:
        return None
    shown = found[found["run"].isin([run for _, run in panels])]
    canvas, axes = style.grid(len(panels), 2.55, 0.4)
    for axis, (label, run) in zip(axes, panels, strict=True):
        counts = confusion(found, run)
        shares = 100 * counts.div(counts.sum(axis="columns").clip(lower=1), axis="index")
        texts = shares.map(lambda share: f"{share:.0f}" if share >= 1 or not share else "<1")
        look = {"cmap": "Blues", "vmin": 0, "vmax": 100, "cbar": False, "square": True}
        look |= {"annot": texts, "fmt": "", "annot_kws": {"size": 6.5}}
        sns.heatmap(shares, **look, xticklabels=SHORT, yticklabels=SHORT, ax=axis)
        axis.tick_params(labelsize=7, length=0)
        axis.tick_params(axis="x", rotation=45)
        axis.set(title=label, xlabel="", ylabel="")
        for text in axis.texts:
            text.set_in_layout(False)  # inside their cells anyway, and slow to measure
    n = shown.groupby(["run", "seed"])["count"].sum().max()
    style.note_below(
        canvas,
        f"{style.population(root, shown.assign(n=n))}, those that a model has summed",
        "last weights; rows: true system, columns: predicted, % of the row",
    )
    return canvas
