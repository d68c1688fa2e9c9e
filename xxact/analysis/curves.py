"""Figure 6: test MAE and accuracy during training, each pretraining beside none."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from xxact.analysis import measures as m
from xxact.analysis import style
from xxact.analysis.provenance import Tree
from xxact.analysis.published import published
from xxact.analysis.tables import PRETRAINING_LABELS
from xxact.experiments.result import Result

#: The paper's columns, left to right.
COLUMNS = ("contrastive_mxm", "contrastive", "mxm")
RUNS = tuple(f"table2/{key}" for key in PRETRAINING_LABELS)
ROWS = {
    "energy": (m.ENERGY, "formation energy\ntest MAE (meV/atom)"),
    "system": (m.SYSTEM, "crystal system\ntest accuracy (%)"),
}


@dataclass(frozen=True)
class Curve:
    """Mean and standard deviation over seeds of a test score against progress in %."""

    progress: list[float]
    mean: list[float]
    std: list[float]


def curve(results: tuple[Result, ...], target: str) -> Curve:
    """The test score at the evaluations that all seeds made."""
    by_seed = [
        {
            round(100 * point.progress, 6): value
            for point in result.curve
            if (value := m.read_score((point.test or {}).get(target), target).value) is not None
        }
        for result in results
    ]
    progress = sorted(set.intersection(*(set(values) for values in by_seed)))
    columns = [[values[p] for values in by_seed] for p in progress]
    return Curve(
        progress,
        [statistics.fmean(column) for column in columns],
        [statistics.stdev(column) if len(column) > 1 else 0.0 for column in columns],
    )


def figure6(tree: Tree, beside: Tree | None, folder: Path) -> list[Path]:
    """Draw the columns whose two runs are there, `beside` dotted; nothing where there is none."""
    baseline = tree.results("table2/none")
    columns = [column for column in COLUMNS if tree.results(f"table2/{column}")]
    if not baseline or not columns:
        return []
    size = (3.2 * len(columns) + 0.8, 5.6)
    with style.drawing(2, len(columns), size, sharex=True, sharey="row") as (figure, axes):
        for j, column in enumerate(columns):
            for i, row in enumerate(ROWS):
                _panel(axes[i, j], row, column, tree, beside)
            axes[0, j].set_title(f"{PRETRAINING_LABELS[column]} pretraining")
            axes[1, j].set_xlabel("training done (%)")
        for i, (_, label) in enumerate(ROWS.values()):
            axes[i, 0].set_ylabel(label)
        axes[1, 0].legend(loc="lower right")
        style.note_below(figure, _note(tree, beside))
        return style.save(figure, folder, "figure6")


def _note(tree: Tree, beside: Tree | None) -> str:
    baseline = tree.results("table2/none")
    seeds = ", ".join(str(result.seed) for result in baseline)
    n = m.test_score(m.ENERGY, "final")(baseline).n
    parts = [f"scale {tree.scale}, part test, n {n}, baseline's seeds {seeds}"]
    if any(len(tree.results(f"table2/{c}")) > 1 for c in ("none", *COLUMNS)):
        parts.append("band: standard deviation over seeds")
    if beside:
        parts.append("dotted: committed")
    parts.append("open markers: published (Alexandria, 5, 15, 25 %)")
    return "; ".join(parts)


def _panel(axes, row: str, column: str, tree: Tree, beside: Tree | None) -> None:
    target, _ = ROWS[row]
    lines = {
        "none": (style.BASELINE, "s", "no pretraining"),
        column: (style.OURS, "o", "pretrained"),
    }
    for key, (colour, marker, label) in lines.items():
        results = tree.results(f"table2/{key}")
        ours = curve(results, target)
        axes.plot(ours.progress, ours.mean, color=colour, label=label)
        if len(results) > 1:
            low = [a - b for a, b in zip(ours.mean, ours.std, strict=True)]
            high = [a + b for a, b in zip(ours.mean, ours.std, strict=True)]
            axes.fill_between(ours.progress, low, high, color=colour, alpha=0.2, linewidth=0)
        if beside and (committed := beside.results(f"table2/{key}")):
            other = curve(committed, target)
            axes.plot(other.progress, other.mean, color=colour, linestyle=":", linewidth=1.2)
        points = published().table2.rows[key][row]
        axes.plot(
            [5, 15, 25],
            [float(points.p05), float(points.p15), float(points.p25)],
            linestyle="none",
            marker=marker,
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=colour,
            label=f"{label}, published",
        )
    if row == "energy":
        style.decades(axes)
