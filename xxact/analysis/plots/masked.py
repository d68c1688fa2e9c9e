"""Masked XRD modelling: how much of the masked patterns each pretraining explains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis.claims import EACH
from xxact.analysis.plots import style

if TYPE_CHECKING:
    import pandas as pd

METRICS = {
    "mxm_explained_variance": "of intensities",
    "mxm_explained_variance_sqrt": "of their square roots",
}
RUNS = ("table2/pretrain_mxm", "table2/pretrain_contrastive_mxm")
#: What the runs are called, in the order of the figure; others follow under their own names.
LABELS = {
    **dict(zip(RUNS, ("MXM", "contrastive + MXM"), strict=True)),
    **{f"open/pretrain_closed_{name}": f"MXM, {label}" for name, label in EACH["changes"].items()},
    "open/pretrain_masked_published": "open model, published MXM",
    "open/pretrain_masked": "open model",
    "open/pretrain_denoise": "open model, from degraded patterns",
}


def explained(root: Path, scale: str) -> pd.DataFrame:
    """Variance of the masked windows that a pretraining explains on test, in %, last weights.

    The rest is its squared error over that of the mean training pattern. Every run that reports
    it has its rows, those of the paper first.
    """
    found = frame.load(root, scale)
    found = found[found["metric"].isin(METRICS)]
    found = found[(found["split"] == "test") & (found["reading"] == "final")]
    found = found.dropna(subset="value")
    others = sorted(set(found["run"]) - set(LABELS))
    order = {run: place for place, run in enumerate((*LABELS, *others))}
    found = found.assign(value=100 * found["value"], label=found["run"].replace(LABELS))
    return found.sort_values("run", key=lambda runs: runs.map(order), kind="stable")


@style.figure("masked", "Masked XRD modelling: explained variance", RUNS)
def figure(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Bars with the spread over seeds: 0 is the mean pattern of the training split."""
    import seaborn as sns

    found = explained(root, scale)
    if found.empty:
        return None
    canvas, axes = style.panels(1, 1, 1.4 + 0.5 * found["run"].nunique())
    axis = axes[0, 0]
    scales = found["metric"].map(METRICS)
    look = {"hue_order": list(METRICS.values()), "errorbar": "sd", "capsize": 0.2}
    look |= {"palette": [style.OURS, style.SECOND], "saturation": 1, "gap": 0.05}
    look |= {"err_kws": {"linewidth": 1}}
    sns.barplot(found, x="value", y="label", hue=scales, ax=axis, **look)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.grid(False, axis="y")
    axis.set(xlabel="explained variance of the masked windows (%)", ylabel="")
    axis.legend(title=None)
    style.note_below(
        canvas,
        f"{style.population(root, found)}, last weights; bars: standard deviation over seeds",
        "0 is as good as the mean pattern of the training split, 100 is every pattern exactly",
    )
    return canvas
