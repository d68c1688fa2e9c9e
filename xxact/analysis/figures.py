"""Every table, figure and verdict of every scale, written into folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from xxact.analysis import render, tables
from xxact.analysis.claims import Claim, claims
from xxact.analysis.plots import FIGURES
from xxact.analysis.plots.style import Figure
from xxact.analysis.provenance import ordered_scales, read_tree, tree_root
from xxact.analysis.render import Source, View
from xxact.errors import UserError
from xxact.files import write_atomically

#: Scale that must be complete.
HOME_SCALE = "mini"
TABLES = ("table1", "table2", "table3", "table4", "table5", "pattern", "unseen", "scaling", "open")
#: A scale with an end of its own: it has these tables, no figure and no statement.
BENCHMARKS = {"mp-amcsd": ("shipped",), "aflow": ("crabnet_check",)}
#: How a table is written -> its text.
FORMATS = {".md": render.markdown, ".csv": render.csv_text, ".tex": render.latex}


@dataclass
class Written:
    """What was written for one scale, and what is missing."""

    scale: str
    views: list[View]
    claims: list[Claim]
    aims: list[Claim]
    tables: list[Path] = field(default_factory=list)
    figures: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def declared_figures(self) -> tuple[Figure, ...]:
        """The figures that the scale has."""
        return () if self.scale in BENCHMARKS else FIGURES

    @property
    def shown(self) -> Source:
        """The results that figures and verdicts are about."""
        return self.views[0].shown

    @cached_property
    def missing(self) -> list[str]:
        """Cells and figures without data."""
        cells = [cell for view in self.views for cell in view.missing()]
        return cells + [f.title for f in self.declared_figures if not self.figures.get(f.key)]

    @property
    def missing_runs(self) -> list[str]:
        """The runs without a result that some cell waits for."""
        return sorted(set().union(*(view.missing_runs() for view in self.views)))


def write_all(committed: Path, yours: Path | None, out: Path) -> Iterator[Written]:
    """Write the tables and figures of each scale that the shown results have.

    Figures and verdicts are about `yours` where it is given.
    """
    roots = {"committed": committed} | ({"yours": yours} if yours else {})
    shown = list(roots.values())[-1]
    for root in roots.values():
        read_tree(root)
    for scale in ordered_scales(tree_root(shown)):
        sources = {name: Source(root, scale) for name, root in roots.items()}
        views = [View(table, scale, sources) for table in _tables(scale, sources)]
        judged = [] if scale in BENCHMARKS else ["claims", "aims"]
        found = {name: claims(list(sources.values())[-1], name) for name in judged}
        written = Written(scale, views, found.get("claims", []), found.get("aims", []))
        for view in views:
            for suffix, text in FORMATS.items():
                path = out / "tables" / scale / f"{view.table.key}{suffix}"
                write_atomically(path, text(view).encode("utf-8"))
                written.tables.append(path)
        beside = committed if yours else None
        for figure in written.declared_figures:
            folder = out / "figures" / scale
            for suffix in (".png", ".pdf"):
                (folder / f"{figure.key}{suffix}").unlink(missing_ok=True)
            written.figures[figure.key] = figure.draw(shown, scale, folder, beside)
        yield written


def _tables(scale: str, sources: dict[str, Source]) -> Iterator[tables.Table]:
    """The tables of a scale, with rows for the runs that only these results have."""
    targets = {run: names for source in sources.values() for run, names in source.targets.items()}
    for key in BENCHMARKS.get(scale, TABLES):
        table = tables.table(key, targets)
        is_whole = scale == HOME_SCALE or key != "open"
        yield table if is_whole else tables.without_absent(table, targets.keys())
    yield tables.costs(sorted(targets))


def check_complete(written: list[Written]) -> None:
    """`UserError` that lists every missing cell of the home scale."""
    home = next((w for w in written if w.scale == HOME_SCALE), None)
    missing = home.missing if home else ["every cell: there is no result at this scale"]
    if missing:
        lines = "\n  ".join(missing)
        raise UserError(f"{len(missing)} missing at scale {HOME_SCALE}:\n  {lines}")
