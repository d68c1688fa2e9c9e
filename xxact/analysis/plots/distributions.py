"""Figure 4: crystal systems in training and test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis.plots import style
from xxact.data.targets import CRYSTAL_SYSTEMS

if TYPE_CHECKING:
    import pandas as pd

SPLITS = {"train": style.OURS, "test": style.SECOND}


def counts(root: Path, scale: str, kind: str) -> pd.DataFrame:
    """How many samples of the training and test split there are of each `kind`; none is left out.

    share: of the split, in %; total: samples of the split.
    """
    found = frame.load_data(root, scale)
    found = found[found["split"].isin(SPLITS) & (found["n"] > 0)]
    totals = found[found["kind"] == "split"].set_index("split")["n"]
    found = found[found["kind"] == kind]
    total = found["split"].map(totals)
    return found.assign(total=total, share=100 * found["n"] / total)


@style.figure("figure4", "Figure 4: crystal systems, train and test", ["table2/none"])
def figure4(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Share of each crystal system in the two splits."""
    import seaborn as sns

    found = counts(root, scale, "crystal_system")
    if found.empty:
        return None
    figure, axes = style.panels(1, 1, 3.3)
    axis = axes[0, 0]
    labels = found["split"] + found["total"].map(" (n {:,})".format)
    look = {"order": CRYSTAL_SYSTEMS, "errorbar": None, "saturation": 1, "gap": 0.08}
    palette = [SPLITS[split] for split in dict.fromkeys(found["split"])]
    sns.barplot(found, x="name", y="share", hue=labels, palette=palette, ax=axis, **look)
    for bars in axis.containers:
        axis.bar_label(bars, fmt="%.1f", fontsize=7, padding=1)
    axis.grid(False, axis="x")
    axis.set(xlabel="", ylabel="share of the split (%)")
    axis.legend(title=None)
    style.note_below(figure, style.data_set(root, scale))
    return figure
