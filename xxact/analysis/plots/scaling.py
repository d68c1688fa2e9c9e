"""Figure 3: error against the size of the training set, with power laws, beside the published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis import scaling as experiment
from xxact.analysis.plots import style
from xxact.analysis.published import printed
from xxact.analysis.scaling import (
    CONTROLS,
    MODELS,
    SIZES,
    fit_power_law,
    fit_with_floor,
    points,
)

if TYPE_CHECKING:
    import pandas as pd


@style.figure("figure3", "Figure 3: error against training-set size", experiment.RUNS)
def figure3(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """MAE and laws against the share of the training split; `beside` as crosses."""
    found = points(root, scale)
    others = points(beside, scale) if beside else found.iloc[:0]
    sizes = found.groupby("control")["size"].nunique()
    shown = [control for control in CONTROLS if sizes.get(control, 0) > 1]
    if not shown:
        return None
    floors = frame.load_floors(root, scale).query("split == 'test'")
    floor = floors.loc[floors["target"] == "formation_energy_per_atom", "value"]
    figure, axes = style.panels(1, len(shown), 4.4, sharey=True)
    for axis, control in zip(axes[0], shown, strict=True):
        panel = [part[part["control"] == control] for part in (found, others)]
        _panel(axis, *panel)
        if len(floor):
            label = f"floor of the formula: {floor.iloc[0]:.0f} meV/atom"
            axis.axhline(floor.iloc[0], color=style.BASELINE, linestyle="-.", label=label)
        axis.set(title=CONTROLS[control], xlabel="share of the training split (%)")
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    axes[0, 0].set_ylabel("formation energy, test MAE (meV/atom)")
    several = found["seed"].nunique() > 1
    spread = "the spread over seeds" if several else "the residuals, as if independent"
    style.note_below(
        figure,
        f"{style.population(root, found)}, best on test; 100 %: "
        f"{1e6 * found['samples'].max():,.0f} training samples, 4.5 million in the paper",
        "bars: standard deviation over seeds; lines: power laws in millions of samples, every "
        "size with the same weight",
        f"95 % intervals and bands: from {spread}; dashed: published"
        + ("; crosses: committed" if beside else ""),
    )
    return figure


def _panel(axis, found: pd.DataFrame, others: pd.DataFrame) -> None:
    """Points with their spread, laws and published laws of both models."""
    import seaborn as sns

    for model, label in MODELS.items():
        own, colour = found[found["model"] == model], style.MODEL_COLOURS[label]
        spread = {"errorbar": "sd", "err_style": "bars", "err_kws": {"capsize": 2}}
        look = {"color": colour, "marker": "o", "markeredgewidth": 0, "linestyle": "none"}
        x = own["share"]
        sns.lineplot(x=x, y=1000 * own["mae"], ax=axis, legend=False, **look, **spread)
        if len(own):
            _laws(axis, own, label.split(" (")[0], colour)
        _published(axis, model, colour)
        committed = others[others["model"] == model]
        axis.plot(committed["share"], 1000 * committed["mae"], "x", color=colour, markersize=4)
    axis.set(xscale="log", yscale="log")
    style.decades(axis.xaxis, (1, 2, 5))
    style.decades(axis.yaxis, (1, 2, 3, 5, 7))


def _laws(axis, own: pd.DataFrame, label: str, colour: str) -> None:
    """The power law with its band, and the one with a floor where the sizes decide it."""
    import numpy as np

    measured = own["samples"], own["mae"], own["seed"]
    smallest, largest = own["samples"].min(), own["samples"].max()
    sizes = np.geomspace(smallest, largest, 50)
    shares = own["share"].max() * sizes / largest
    if law := fit_power_law(*measured):
        words = f"{label}: exponent {law.exponent:.3f}"
        if interval := law.interval():
            words += " (95 %: {:.3f} to {:.3f})".format(*interval)
        axis.plot(shares, 1000 * law.at(sizes), color=colour, label=words)
        if law.free > 1:
            low, high = law.band(sizes)
            axis.fill_between(shares, 1000 * low, 1000 * high, color=colour, alpha=0.15, lw=0)
    if floored := fit_with_floor(*measured):
        words = f"with a floor: {1000 * floored.floor:.0f}"
        if floored.floor_error is not None:
            words += f" ± {1000 * floored.floor_error:.0f} (s.e.)"
        words += f" meV/atom, exponent {floored.exponent:.2f}"
        axis.plot(shares, 1000 * floored.at(sizes), ":", color=colour, label=words)


def _published(axis, model: str, colour: str) -> None:
    """The paper's law over the paper's sizes."""
    prefactor, exponent = (
        printed(f"scaling/fits/{model}/{name}") for name in ("prefactor", "exponent")
    )
    sizes = [size for size in SIZES.values() if size >= 1]
    shares = [100 * size / SIZES["4500k"] for size in sizes]
    values = [1000 * float(prefactor) * size ** float(exponent) for size in sizes]
    label = f"published: {prefactor} D$^{{{exponent}}}$"
    axis.plot(shares, values, "--", color=colour, linewidth=1.2, label=label)
