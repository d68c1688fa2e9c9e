"""Every table and figure of one scale, written into folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xxact.analysis import crabnet_check, render, scaling_table
from xxact.analysis.cells import View, view
from xxact.analysis.derived import costs, table4, table5, unseen
from xxact.analysis.plots import FIGURES, Figure
from xxact.analysis.provenance import Tree, ordered_scales
from xxact.analysis.tables import table1, table2, table3
from xxact.errors import UserError

#: Scale that must be complete, and that is shown when there is no result at all.
HOME_SCALE = "mini"


TABLES = (table1, table2, table3, table4, table5, unseen, scaling_table.table)
#: A scale that is a benchmark of its own: it has these tables, no figure and no statement.
BENCHMARKS = {crabnet_check.SCALE: (crabnet_check.table,)}


def figures_of(scale: str) -> tuple[Figure, ...]:
    """The figures that a scale has."""
    return () if scale in BENCHMARKS else FIGURES


@dataclass
class Written:
    """What was written for one scale, and what is missing."""

    scale: str
    views: list[View]
    tables: list[Path] = field(default_factory=list)
    figures: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Cells and figures without data."""
        cells = [cell for v in self.views for cell in v.missing()]
        return cells + [f.title for f in figures_of(self.scale) if not self.figures.get(f.key)]


def trees(committed: Path, yours: Path | None) -> Iterator[tuple[Tree, Tree | None]]:
    """The trees of each scale that the shown one has; at least the home scale."""
    for scale in ordered_scales(yours or committed) or [HOME_SCALE]:
        yield Tree(committed, scale), Tree(yours, scale) if yours else None


def write_scale(committed: Tree, yours: Tree | None, out: Path) -> Written:
    """Write tables and figures of one scale under `out`; figures show `yours` where given."""
    declared = BENCHMARKS.get(committed.scale, TABLES)
    tables = [*(table() for table in declared), costs((committed, yours))]
    written = Written(committed.scale, [view(table, committed, yours) for table in tables])
    folder = out / "tables" / committed.scale
    for filled in written.views:
        written.tables += _write_table(filled, folder)
    shown, beside = (yours, committed) if yours else (committed, None)
    for figure in figures_of(committed.scale):
        folder = out / "figures" / committed.scale
        for suffix in (".png", ".pdf"):
            (folder / f"{figure.key}{suffix}").unlink(missing_ok=True)
        other = beside.root if beside and beside.runs else None
        drawn = figure.draw(shown.root, shown.scale, folder, other) if shown.runs else []
        written.figures[figure.key] = drawn
    return written


def _write_table(filled: View, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        ".md": render.markdown(filled),
        ".csv": render.csv_text(filled),
        ".tex": render.latex(filled),
    }
    paths = []
    for suffix, text in texts.items():
        path = folder / f"{filled.table.key}{suffix}"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def check_complete(written: list[Written]) -> None:
    """`UserError` that lists every missing cell of the home scale."""
    home = next((w for w in written if w.scale == HOME_SCALE), None)
    missing = home.missing if home else ["every cell: there is no result at this scale"]
    if missing:
        lines = "\n  ".join(missing)
        raise UserError(f"{len(missing)} missing at scale {HOME_SCALE}:\n  {lines}")
