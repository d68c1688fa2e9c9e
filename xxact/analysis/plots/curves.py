"""Figure 6: test MAE and accuracy during training, each pretraining beside none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis.plots import style
from xxact.analysis.published import printed
from xxact.analysis.tables import PRETRAINING_LABELS
from xxact.training.readings import EARLY

if TYPE_CHECKING:
    import pandas as pd

#: The paper's columns, left to right.
COLUMNS = ("contrastive_mxm", "contrastive", "mxm")
RUNS = tuple(f"table2/{row}" for row in PRETRAINING_LABELS)
#: Target -> its key in the published table, and the label of its axis.
TARGETS = {
    "formation_energy_per_atom": ("energy", "formation energy\ntest MAE (meV/atom)"),
    "crystal_system": ("system", "crystal system\ntest accuracy (%)"),
}


def curves(root: str | Path, scale: str) -> pd.DataFrame:
    """Test scores of Table 2 during training, where all seeds of a run were evaluated.

    progress: share of the training done, in %.
    """
    found = frame.load_curves(root, scale)
    found = found[found["run"].isin(RUNS) & (found["split"] == "test")]
    found = found[found["target"].isin(TARGETS)].dropna(subset="value")
    found = found.assign(progress=(100 * found["progress"]).round(6))
    seeds = found.groupby("run")["seed"].transform("nunique")
    here = found.groupby(["run", "target", "progress"])["seed"].transform("nunique")
    return found[here == seeds]


@style.figure("figure6", "Figure 6: training curves", RUNS)
def figure6(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Draw the columns whose two runs are there, `beside` dotted; nothing where there is none."""
    import seaborn as sns

    ours = curves(root, scale)
    columns = [row for row in COLUMNS if row in set(ours["row"])]
    if "none" not in set(ours["row"]) or not columns:
        return None
    lines = [(ours, {"errorbar": "sd", "err_kws": {"alpha": 0.2, "linewidth": 0}})]
    if beside:
        lines.append((curves(beside, scale), {"errorbar": None, "linestyle": ":"}))
    figure, axes = style.panels(2, len(columns), 4.9, sharex=True, sharey="row")
    for (target, (key, label)), across in zip(TARGETS.items(), axes, strict=True):
        for row, axis in zip(columns, across, strict=True):
            palette = {"none": style.BASELINE, row: style.OURS}
            for found, how in lines:
                shown = found[(found["target"] == target) & found["row"].isin(palette)]
                place = {"x": "progress", "y": "value", "hue": "row", "hue_order": palette}
                if len(shown):
                    sns.lineplot(shown, **place, palette=palette, legend=False, ax=axis, **how)
            _published(axis, key, palette)
            axis.set(xlabel="training done (%)", ylabel=label)
        if key == "energy":
            across[0].set_yscale("log")
            style.decades(across[0].yaxis, (1, 2, 3, 5, 7))
    for row, axis in zip(columns, axes[0], strict=True):
        own = style.seeds(ours[ours["row"] == row])
        axis.set_title(f"{PRETRAINING_LABELS[row]} pretraining\n{own}")
    figure.legend(handles=_handles(), loc="outside upper center", ncols=4)
    words = "band: standard deviation over seeds; open markers: published at 5, 15, 25 %"
    words += "; dotted: committed" if beside else ""
    baseline = style.population(root, ours[ours["row"] == "none"])
    style.note_below(figure, f"{baseline} without pretraining", words)
    return figure


def _published(axis, key: str, palette: dict[str, str]) -> None:
    """Open markers at the paper's values."""
    for (row, colour), marker in zip(palette.items(), "so", strict=True):
        heights = [float(printed(f"table2/rows/{row}/{key}/{at}")) for at in EARLY]
        look = {"markersize": 5, "markerfacecolor": "white", "markeredgecolor": colour}
        shares = [100 * share for share in EARLY.values()]
        axis.plot(shares, heights, linestyle="none", marker=marker, **look)


def _handles() -> list:
    from matplotlib.lines import Line2D

    looks = (("no pretraining", style.BASELINE, "s"), ("pretrained", style.OURS, "o"))
    hollow = {"linestyle": "none", "markerfacecolor": "white"}
    return [Line2D([], [], color=colour, label=label) for label, colour, _ in looks] + [
        Line2D([], [], color=colour, marker=marker, label=f"{label}, published", **hollow)
        for label, colour, marker in looks
    ]
