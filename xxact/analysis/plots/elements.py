"""Figure 5: elements on the periodic table, training and test; and the error by element."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis.plots import style
from xxact.analysis.plots.distributions import SPLITS, counts
from xxact.data.elements import SYMBOLS

if TYPE_CHECKING:
    import pandas as pd

#: Runs whose error by element is drawn, composition alone beside the bimodal model.
ERROR_RUNS = {
    "table1/crabnet_energy": "CrabNet (composition)",
    "table2/none": "XxaCT-NN multi-task (XRD + composition)",
}


def _periods() -> dict[str, tuple[float, int]]:
    """Symbol -> (row, column) of the 18-column table; f elements in two rows of their own."""
    places = {"H": (0, 0), "He": (0, 17)}
    for period, first in ((1, 3), (2, 11)):
        for k in range(8):
            places[SYMBOLS[first + k]] = (period, k if k < 2 else k + 10)
    for period, first in ((3, 19), (4, 37)):
        for k in range(18):
            places[SYMBOLS[first + k]] = (period, k)
    for period, first in ((5, 55), (6, 87)):
        for k in range(32):
            f_element = 2 <= k < 16
            place = (period + 2.4, k + 1) if f_element else (period, k if k < 2 else k - 14)
            places[SYMBOLS[first + k]] = place
    return places


PLACES = _periods()


@style.figure("figure5", "Figure 5: elements, train and test", ["table2/none"])
def figure5(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Number of samples that hold each element, training above test."""
    found = counts(root, scale, "element")
    panels = {
        f"{split}: samples with the element (n {own['total'].iloc[0]:,})": own
        for split in SPLITS
        if len(own := found[found["split"] == split])
    }
    if not panels:
        return None
    values = {title: dict(zip(own["name"], own["n"], strict=True)) for title, own in panels.items()}
    note = style.data_set(root, scale)
    return _periodic_tables(values, note, shared_colours=False)


def element_errors(root: Path, scale: str) -> pd.DataFrame:
    """Test MAE in meV/atom of the samples that hold an element, where all seeds have it.

    A row a (run, element): value (mean over seeds), n.
    """
    found = frame.load_elements(root, scale).query("target == 'formation_energy_per_atom'")
    found = found[found["run"].isin(ERROR_RUNS)].dropna(subset="value")
    seeds = found.groupby("run")["seed"].transform("nunique")
    found = found[found.groupby(["run", "element"])["seed"].transform("nunique") == seeds]
    return found.groupby(["run", "element"], as_index=False).agg({"value": "mean", "n": "first"})


@style.figure("error_by_element", "Error by element", ERROR_RUNS)
def error_by_element(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Test MAE of the samples that hold each element, one colour scale for all runs."""
    errors = element_errors(root, scale)
    runs = frame.load_runs(root, scale)
    values = {}
    for run, label in ERROR_RUNS.items():
        own = errors[errors["run"] == run]
        if len(own):
            title = f"{label}, {style.seeds(runs[runs['run'] == run])}"
            values[title] = dict(zip(own["element"], own["value"], strict=True))
    if not values:
        return None
    note = (
        f"{style.data_set(root, scale)}, test split, last weights\nMAE of the formation energy "
        "(meV/atom) of the samples that hold the element"
    )
    return _periodic_tables(values, note, shared_colours=True)


def _periodic_tables(
    panels: Mapping[str, Mapping[str, float]], note: str, shared_colours: bool
) -> style.Canvas:
    """One periodic table below the other: title -> symbol -> value."""
    everything = [value for values in panels.values() for value in values.values()]
    figure, axes = style.panels(len(panels), 1, 3.75 * len(panels) + 0.2)
    for axis, (title, values) in zip(axes[:, 0], panels.items(), strict=True):
        within = everything if shared_colours else values.values()
        _draw(figure, axis, values, title, (min(within), max(within)))
    style.note_below(figure, note)
    return figure


def _draw(
    figure, axis, values: Mapping[str, float], title: str, limits: tuple[float, float]
) -> None:
    """A periodic table coloured on a logarithmic scale; elements without a value stay white."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import LogLocator

    low, high = limits
    norm = LogNorm(max(low, 1e-9), max(high, low * 1.01, 1e-9))
    colours = colormaps["YlGnBu"]
    for symbol, (row, column) in PLACES.items():
        value = values.get(symbol)
        face = "white" if value is None else colours(norm(max(value, 1e-9)))
        axis.add_patch(Rectangle((column, row), 0.94, 0.94, facecolor=face, edgecolor="#cccccc"))
        dark = value is not None and norm(max(value, 1e-9)) > 0.55
        colour = "white" if dark else "#bbbbbb" if value is None else "black"
        texts = [axis.text(column + 0.47, row + 0.33, symbol, fontsize=7.5, color=colour)]
        if value is not None:
            below = axis.text(column + 0.47, row + 0.72, f"{value:.0f}", fontsize=5.5, color=colour)
            texts.append(below)
        for text in texts:
            text.set(ha="center", va="center", in_layout=False)
    axis.set(xlim=(-0.1, 18.1), ylim=(9.5, -0.1), aspect="equal", title=title)
    axis.set_axis_off()
    ticks = LogLocator(subs=(1, 2, 5))
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=axis, shrink=0.6, pad=0.01, format="%g", ticks=ticks
    )
    bar.minorticks_off()
