"""Confusion matrices of the crystal systems, one panel for each model of Table 4."""

from __future__ import annotations

from pathlib import Path

from xxact.analysis import style
from xxact.analysis.derived import EMBEDDED_RUNS
from xxact.analysis.provenance import Tree
from xxact.data.targets import CRYSTAL_SYSTEMS

SHORT = tuple(name[:4] + "." if len(name) > 5 else name for name in CRYSTAL_SYSTEMS)


def confusion(tree: Tree, run: str) -> list[list[int]] | None:
    """Counts summed over seeds, the truth in rows; None where none was recorded."""
    matrices = [
        result.per_class.confusion
        for result in tree.results(run)
        if result.per_class and result.per_class.confusion
    ]
    if not matrices:
        return None
    size = range(len(CRYSTAL_SYSTEMS))
    return [[sum(matrix[i][j] for matrix in matrices) for j in size] for i in size]


def figure(tree: Tree, beside: Tree | None, folder: Path) -> list[Path]:
    """Share of each true system (row) that was given each system (column), in %."""
    found = {
        name: matrix
        for name, run in EMBEDDED_RUNS.values()
        if (matrix := confusion(tree, run)) is not None
    }
    if not found:
        return []
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    with style.drawing(rows, columns, (3.4 * columns, 3.3 * rows + 0.3)) as (canvas, axes):
        for axis in axes.flat[len(found) :]:
            axis.remove()
        for axis, (name, matrix) in zip(axes.flat, found.items(), strict=False):
            _panel(axis, name, matrix)
        style.note_below(
            canvas,
            f"scale {tree.scale}, part test, last weights, all seeds; rows: true system, columns: "
            "predicted, % of the row",
        )
        return style.save(canvas, folder, "confusion")


def _panel(axis, name: str, matrix: list[list[int]]) -> None:
    shares = [[100 * n / max(sum(row), 1) for n in row] for row in matrix]
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            text = "0" if matrix[i][j] == 0 else f"{share:.0f}" if share >= 1 else "<1"
            colour = "white" if share > 55 else "#bbbbbb" if text == "0" else "black"
            axis.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
    axis.set_xticks(range(7), SHORT, fontsize=7, rotation=45)
    axis.set_yticks(range(7), SHORT, fontsize=7)
    axis.grid(False)
    axis.set_title(name)
