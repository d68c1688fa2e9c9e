"""Label efficiency: error against the share of the labels, from scratch and after pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis.plots import style

if TYPE_CHECKING:
    import pandas as pd

SHARES = (1, 3, 10, 30, 100)
#: Where a training starts -> its name and colour.
STARTS = {
    "scratch": ("from scratch", style.BASELINE),
    "masked": ("after masked modelling", style.OURS),
    "denoise": ("after rebuilding degraded patterns", style.THIRD),
    "contrastive": ("after contrastive pretraining", style.SECOND),
}
#: Run -> its start, and the share of the labels in %.
RUNS = {f"open/{start}_{share}": (start, share) for start in STARTS for share in SHARES}
TARGETS = {
    "formation_energy_per_atom": "formation energy, test MAE (meV/atom)",
    "crystal_system": "crystal system, test error rate (%)",
}


def errors(root: Path, scale: str) -> pd.DataFrame:
    """Errors on test at the evaluation that was best on validation, with `start` and `share`."""
    found = frame.load(root, scale)
    found = found[found["run"].isin(RUNS) & found["target"].isin(TARGETS)]
    found = found[(found["reading"] == "selected") & (found["split"] == "test")]
    start, share = ([RUNS[run][k] for run in found["run"]] for k in (0, 1))
    accuracy = found["metric"] == "accuracy_percent"
    error = found["value"].where(~accuracy, 100 - found["value"])
    return found.assign(start=start, share=share, error=error)


@style.figure("labels", "Label efficiency of the open model", RUNS)
def figure(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """A panel a target: means over seeds, with bands of their standard deviation."""
    import seaborn as sns

    found = errors(root, scale)
    if found["share"].nunique() < 2:
        return None
    canvas, axes = style.panels(1, 2, 3.2)
    palette = dict(STARTS.values())
    names = found["start"].map({key: label for key, (label, _) in STARTS.items()})
    for axis, (target, label) in zip(axes[0], TARGETS.items(), strict=True):
        own = found[found["target"] == target]
        look = {"marker": "o", "markeredgewidth": 0, "errorbar": "sd", "palette": palette}
        look |= {"hue_order": [*palette], "legend": axis is axes[0, -1]}
        sns.lineplot(own, x="share", y="error", hue=names[own.index], ax=axis, **look)
        axis.set(xscale="log", yscale="log", xlabel="share of the labels (%)", ylabel=label)
        axis.set_xticks(SHARES, [str(share) for share in SHARES])
        axis.minorticks_off()
        style.decades(axis.yaxis, (1, 2, 3, 5, 7))
    axes[0, -1].legend(title=None)
    style.note_below(
        canvas,
        f"{style.population(root, found)}, selected on validation; bands: standard deviation over"
        " seeds",
        "as many steps at every share; pretraining sees all training samples, without labels",
    )
    return canvas
