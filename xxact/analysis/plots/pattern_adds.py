"""What the pattern adds: within formulas, on formulas seen and new, and with wrong patterns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis.plots import style
from xxact.analysis.polymorphs import (
    MODELS,
    PATTERNS,
    controls,
    energies,
    slopes,
    within_formula,
)

if TYPE_CHECKING:
    import pandas as pd


def figure(root: Path, scale: str, folder: Path, beside: Path | None = None) -> list[Path]:
    """Differences within formulas; errors on formulas seen and new; errors with wrong patterns."""
    found = energies(root, scale)
    if found.empty:
        return []
    with style.drawing(1, 3, 3.1, width_ratios=(1.25, 0.9, 1.25)) as (canvas, axes):
        first, second, third = axes[0]
        within = within_formula(found)
        _differences(first, within)
        seen = found["formula_in_training"].map({True: "in training", False: "new"})
        errors = found.assign(error=(found["predicted"] - found["true"]).abs(), kind=seen)
        _bars(second, errors, "kind", ["in training", "new"])
        second.set(title="by formula", ylabel="test MAE (meV/atom)")
        permuted = controls(found)
        wrong = permuted.assign(kind=permuted["pattern"].map(PATTERNS))
        _bars(third, wrong, "kind", list(PATTERNS.values()))
        third.set(title="by the pattern that it reads", ylabel="")
        canvas.legend(handles=_handles(found), loc="outside upper center", ncols=2)
        style.note_below(
            canvas,
            f"{style.data_set(root, scale)}, {style.seeds(found)}, last weights",
            f"n test samples: {_n(within)} with others of their formula (left), {_n(errors)} "
            f"(middle), {_n(permuted)} with another crystal to swap with (right)",
            "points: first seed; error bars: standard deviation over seeds",
        )
        return style.save(canvas, folder, "pattern_adds")


def _n(found: pd.DataFrame) -> str:
    return f"{found['id'].nunique():,}"


def _differences(axis, within: pd.DataFrame) -> None:
    """Predicted against true differences of the first seed, with the slopes over all seeds."""
    import seaborn as sns

    shown = within[within["seed"] == within["seed"].min()]
    look = {"s": 5, "alpha": 0.4, "linewidth": 0, "rasterized": True, "legend": False}
    place = {"x": "true", "y": "predicted", "hue": "model", "palette": style.MODEL_COLOURS}
    sns.scatterplot(shown, **place, ax=axis, **look)
    # the middle 98 % of the differences, so that a few strange crystals do not hide the rest
    reach = float(within["true"].abs().quantile(0.98)) if len(within) else 1.0
    lines = []
    for run, of_seeds in slopes(within).groupby("run")["slope"]:
        label = MODELS[run]
        mean, spread = of_seeds.mean(), of_seeds.std()
        colour = style.MODEL_COLOURS[label]
        axis.plot([-reach, reach], [-reach * mean, reach * mean], color=colour)
        plus_minus = f" ± {spread:.2f}" if spread == spread else ""
        lines.append(f"{label.split(' (')[0]}: slope {mean:z.2f}{plus_minus}")
    axis.axline((0, 0), slope=1, color="black", linestyle="--", linewidth=0.8)
    axis.text(0.03, 0.97, "\n".join(lines), transform=axis.transAxes, va="top", fontsize=7)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), title="within a formula")
    axis.set(xlabel="true, less the formula's mean\n(meV/atom)", ylabel="predicted (meV/atom)")


def _bars(axis, errors: pd.DataFrame, column: str, order: list[str]) -> None:
    """Mean errors with their spread over seeds."""
    import seaborn as sns

    means = errors.groupby(["model", "seed", column], as_index=False)["error"].mean()
    look = {"order": order, "errorbar": "sd", "capsize": 0.2, "saturation": 1, "legend": False}
    look |= {"err_kws": {"linewidth": 1}, "palette": style.MODEL_COLOURS}
    models = [model for model in style.MODEL_COLOURS if model in set(means["model"])]
    sns.barplot(means, x=column, y="error", hue="model", hue_order=models, ax=axis, **look)
    for bars in axis.containers:
        axis.bar_label(bars, fmt="%.0f", fontsize=7, label_type="center", color="white")
    axis.grid(False, axis="x")
    axis.tick_params(axis="x", labelsize=7)
    axis.set(xlabel="")


def _handles(found: pd.DataFrame) -> list:
    from matplotlib.patches import Patch

    models = set(found["model"])
    return [Patch(color=c, label=m) for m, c in style.MODEL_COLOURS.items() if m in models]
