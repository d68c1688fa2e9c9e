"""Figures 4 and 5: crystal systems and elements, train and test; and the error by element."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from xxact.analysis import measures as m
from xxact.analysis import style
from xxact.analysis.provenance import Tree
from xxact.data.elements import SYMBOLS
from xxact.data.targets import CRYSTAL_SYSTEMS

PARTS = {"train": style.OURS, "test": style.SECOND}
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


def figure4(tree: Tree, beside: Tree | None, folder: Path) -> list[Path]:
    """Share of each crystal system in the train and test parts."""
    counts = tree.data.crystal_systems if tree.data else {}
    parts = [part for part in PARTS if sum(counts.get(part, {}).values())]
    if not parts:
        return []
    with style.drawing(1, 1, (7.0, 3.6)) as (figure, axes):
        axis, width = axes[0, 0], 0.8 / len(parts)
        for k, part in enumerate(parts):
            total = sum(counts[part].values())
            shares = [100 * counts[part].get(system, 0) / total for system in CRYSTAL_SYSTEMS]
            places = [x + width * (k - (len(parts) - 1) / 2) for x in range(7)]
            label = f"{part} (n {total})"
            bars = axis.bar(places, shares, width * 0.92, color=PARTS[part], label=label)
            axis.bar_label(bars, fmt="%.1f", fontsize=7, padding=1)
        axis.set_xticks(range(7), CRYSTAL_SYSTEMS)
        axis.grid(False, axis="x")
        axis.set_ylabel("share of the part (%)")
        axis.legend()
        style.note_below(figure, f"scale {tree.scale}, data set {tree.data.name}")
        return style.save(figure, folder, "figure4")


def figure5(tree: Tree, beside: Tree | None, folder: Path) -> list[Path]:
    """Number of samples that hold each element, train above test."""
    counts = tree.data.elements if tree.data else {}
    parts = [part for part in PARTS if counts.get(part)]
    if not parts:
        return []
    with style.drawing(len(parts), 1, (8.4, 4.3 * len(parts))) as (figure, axes):
        for axis, part in zip(axes[:, 0], parts, strict=True):
            title = f"{part}: samples with the element (n {tree.data.n.get(part, 0)})"
            values = {symbol: n for symbol, n in counts[part].items() if n}
            _draw(figure, axis, values, title)
        style.note_below(figure, f"scale {tree.scale}, data set {tree.data.name}")
        return style.save(figure, folder, "figure5")


def element_errors(tree: Tree, run: str) -> dict[str, tuple[float, int]]:
    """Symbol -> test MAE of formation energy in meV/atom (mean over seeds) and n."""
    by_seed = [(r.per_element or {}).get(m.ENERGY, {}) for r in tree.results(run)]
    if not by_seed:
        return {}
    errors = {}
    for symbol in sorted(set.intersection(*(set(scores) for scores in by_seed))):
        readings = [m.read_score(scores[symbol], m.ENERGY) for scores in by_seed]
        if all(r.value is not None for r in readings):
            errors[symbol] = statistics.fmean(r.value for r in readings), readings[0].n
    return errors


def error_by_element(tree: Tree, beside: Tree | None, folder: Path) -> list[Path]:
    """Test MAE of the samples that hold each element, one colour scale for all runs."""
    errors = {run: found for run in ERROR_RUNS if (found := element_errors(tree, run))}
    if not errors:
        return []
    values = [value for found in errors.values() for value, _ in found.values()]
    limits = (min(values), max(values))
    with style.drawing(len(errors), 1, (8.4, 4.3 * len(errors))) as (figure, axes):
        for axis, (run, found) in zip(axes[:, 0], errors.items(), strict=True):
            seeds = ", ".join(str(result.seed) for result in tree.results(run))
            title = f"{ERROR_RUNS[run]}: formation energy, test MAE (meV/atom), seeds {seeds}"
            _draw(figure, axis, {s: v for s, (v, _) in found.items()}, title, limits)
        style.note_below(
            figure, f"scale {tree.scale}, part test, last weights; samples that hold the element"
        )
        return style.save(figure, folder, "error_by_element")


def _draw(
    figure,
    axis,
    values: Mapping[str, float],
    title: str,
    limits: tuple[float, float] | None = None,
) -> None:
    """A periodic table coloured on a logarithmic scale; elements without a value stay white."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import LogLocator

    low, high = limits or (min(values.values()), max(values.values()))
    norm = LogNorm(max(low, 1e-9), max(high, low * 1.01, 1e-9))
    colours = colormaps["YlGnBu"]
    for symbol, (row, column) in PLACES.items():
        value = values.get(symbol)
        face = "white" if value is None else colours(norm(max(value, 1e-9)))
        axis.add_patch(Rectangle((column, row), 0.94, 0.94, facecolor=face, edgecolor="#cccccc"))
        dark = value is not None and norm(max(value, 1e-9)) > 0.55
        colour = "white" if dark else "#bbbbbb" if value is None else "black"
        texts = [axis.text(column + 0.47, row + 0.36, symbol, fontsize=7.5, color=colour)]
        if value is not None:
            below = axis.text(column + 0.47, row + 0.73, f"{value:.0f}", fontsize=5.5, color=colour)
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
