"""Tables filled from result trees, as Markdown, CSV, LaTeX, HTML and text for a terminal.

A `View` is one table at one scale, filled from the committed results and, if there are any, from
one's own; pandas lays it out.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxact.analysis import frame
from xxact.analysis import quantities as q
from xxact.analysis.tables import Cell, Section, Table

if TYPE_CHECKING:
    import pandas as pd

NOT_RUN = "not run"
REFERENCE_ONLY = "reference only"
NOT_PUBLISHED = "-"
NO_CELL = q.NOT_APPLICABLE
LEGEND = (
    f'"{NOT_PUBLISHED}": the paper prints no such number. "{NOT_RUN}": no result there. '
    f'"{NO_CELL}": nothing to show. ± is the standard deviation over seeds.'
)
_DIGITS = {"meV/atom": 1, "%": 2, "eV": 4, "eV/atom": 4, "GPa": 2, "x": 2, "min": 2, "GiB": 2}
_VALUE = ("mean", "std", "seeds", "n", "unit", "target")
_WHOLE = frozenset({"steps", "samples", "samples/s", "parameters", "restarts"})


def number(value: float, unit: str) -> str:
    """A number with the digits its unit deserves."""
    text = f"{value:.{0 if unit in _WHOLE else _DIGITS.get(unit, 3)}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def mean_and_std(values: Sequence[float], unit: str) -> str:
    """`mean ± std`, the latter from two values on; equal counts stand alone."""
    text = number(statistics.fmean(values), unit)
    if len(values) > 1 and not (unit in _WHOLE and len(set(values)) == 1):
        text += f" ± {number(statistics.stdev(values), unit)}"
    return text


class Source:
    """The results of one scale under one root: quantities with seeds made one, and what ran."""

    def __init__(self, root: Path, scale: str) -> None:
        self.root, self.scale = root, scale
        self.values = q.aggregate(q.quantities(root, scale)).to_dict("index")
        runs = frame.load_runs(root, scale)
        by_run = runs.groupby("run")
        self.seeds = by_run["seed"].agg(set).to_dict()
        self.targets, self.commands = (by_run[k].first().to_dict() for k in ("targets", "command"))
        self.minutes = (by_run["wall_s"].min() / 60).to_dict()  # of the quickest seed
        self._origins = by_run["init"].first().dropna().to_dict()
        self.data = runs["data"].iloc[0] if len(runs) else "none"

    def with_origins(self, runs: Iterable[str]) -> set[str]:
        """The runs that are there of `runs`, and those whose weights they start from."""
        found, new = set(), {run for run in runs if run in self.seeds}
        while new:
            found |= new
            new = {self._origins[run] for run in new if run in self._origins} - found
        return found & set(self.seeds)

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """Mean, std, seeds, n, unit, target and text of a cell; None where it was not run."""
        seeds = [self.seeds.get(run, set()) for run in cell.runs]
        shared = sorted(set.intersection(*seeds)) if seeds else []
        if not shared:
            return None
        blank = {"values": [], "seeds": tuple(shared), "n": None, "unit": "", "target": ""}
        blank |= {"mean": float("nan"), "std": float("nan"), "text": [q.NOT_RECORDED]}
        return self.values.get((cell.runs[-1], cell.quantity), blank)


def text_of(value: Mapping[str, Any] | None, section: Section, cell: Cell) -> str:
    """A value as it stands in a cell: mean ± std, its own unit where the column has another."""
    if not cell.runs:
        return REFERENCE_ONLY
    if value is None:
        return NOT_RUN
    if value["mean"] != value["mean"]:
        return _without_mean(value)
    text = mean_and_std(value["values"], value["unit"])
    if section.unit and value["target"] and value["unit"] != section.unit:
        text += f" {value['unit']}"
    return f"{text} (n {value['n']:.0f})" if section.n_in_cell else text


def _without_mean(value: Mapping[str, Any]) -> str:
    """Seeds of which at least one has no number, e.g. `not reached (2 of 3 seeds); 1.80`."""
    numbers = [v for v in value["values"] if v == v]
    texts = [text for text in value["text"] if text]
    text = " / ".join(dict.fromkeys(texts))
    if numbers:
        text += f" ({len(texts)} of {len(value['values'])} seeds); "
        text += ", ".join(number(v, value["unit"]) for v in numbers)
    return text


@dataclass(frozen=True)
class View:
    """A table filled from `sources`: "committed" and, where there is one, "yours"."""

    table: Table
    scale: str
    sources: Mapping[str, Source]

    @property
    def shown(self) -> Source:
        """The source that the table is about: yours where there is one."""
        return list(self.sources.values())[-1]

    @cached_property
    def filled(self) -> pd.DataFrame:
        """A row a cell and source: section, row, column, cell, source, text and the value read."""
        import pandas as pd

        found = []
        for section in self.table.sections:
            for (row, column), cell in section.cells.items():
                place = {"section": section.key, "row": row, "column": column, "cell": cell}
                note = f" ({cell.published_note})" if cell.published_note else ""
                value = NOT_PUBLISHED if cell.published is None else f"{cell.published:f}{note}"
                found.append(place | {"source": "published", "text": value})
                for name, source in self.sources.items():
                    read = source.read(cell)
                    text = text_of(read, section, cell)
                    found.append(place | (read or {}) | {"source": name, "text": text})
        columns = ["section", "row", "column", "cell", "source", *_VALUE, "text"]
        return pd.DataFrame(found, columns=columns)

    @cached_property
    def grids(self) -> dict[str, pd.DataFrame]:
        """Section -> its text as (row, who) x columns, then n and seeds; who: published, .."""
        return {section.key: _grid(self, section) for section in self.table.sections}

    def of(self, section: Section) -> pd.DataFrame:
        """The cells of one section."""
        return self.filled[self.filled["section"] == section.key]

    def missing(self) -> list[str]:
        """Each cell of the shown source that has no value, with the runs it waits for."""
        if self.table.lists_runs:
            return []
        sections = {section.key: section for section in self.table.sections}
        last = list(self.sources)[-1]
        cells = self.filled[self.filled["source"] == last]
        lacking = cells[cells["text"].str.contains(f"{NOT_RUN}|{q.NOT_RECORDED}")]
        return [
            f"{self.table.short_title}, {sections[c.section].title}: "
            f"{sections[c.section].rows[c.row]}, {sections[c.section].columns[c.column]} "
            f"({', '.join(c.cell.runs)})"
            for c in lacking.itertuples()
        ]

    def missing_runs(self) -> set[str]:
        """The runs without a result that some cell of the shown source waits for."""
        awaited = [] if self.table.lists_runs else self.table.runs
        return {run for run in awaited if run not in self.shown.seeds}

    def commands(self) -> list[str]:
        """What trains everything the table reads, with as many seeds as there are."""
        if self.table.lists_runs:
            return []
        own = {run for run in self.table.runs if run.startswith(f"{self.table.key}/")}
        whole = own if self.table.is_whole else set()
        return commands(self.table.runs, self.shown, whole=whole)


def commands(
    runs: Iterable[str], source: Source, seeds: int | None = None, whole: Set[str] = frozenset()
) -> list[str]:
    """What trains these runs again, each with `seeds`, or as many seeds as `source` has of it.

    whole: the runs of an experiment of which these are all: it is trained without naming them.
    """
    alike: dict[tuple[str, int], list[str]] = {}
    for run in sorted(runs):
        wanted = seeds or 1 + max(source.seeds.get(run, {0}))
        alike.setdefault((run.split("/")[0], wanted), []).append(run)
    return [
        f"python experiments/{experiment}/run.py --local --scale {source.scale}"
        + (f" --seeds {wanted}" if wanted > 1 else "")
        + ("" if whole == set(own) else f" --only {' '.join(run.split('/')[1] for run in own)}")
        for (experiment, wanted), own in alike.items()
    ]


def heading(view: View, section: Section) -> str:
    """Title and unit of a section, with the target where ours is another than the paper's."""
    text = section.title + (f" ({section.unit})" if section.unit else "")
    cells = view.of(section)
    targets = cells.loc[cells["unit"] != section.unit, "target"].dropna()
    own = ", ".join(sorted({target.replace("_", " ") for target in targets if target}))
    return f"{text}; here: {own}" if own and section.unit else text


def provenance(view: View) -> str:
    """Scale, split, data and where the values come from."""
    parts = [f"Scale {view.scale}, split test."]
    for name, source in view.sources.items():
        parts.append(f"{name.title()}: {source.root.name}/{view.scale}, data {source.data}.")
    if len({source.data for source in view.sources.values() if source.seeds}) > 1:
        parts.append("The data differ: another release, other settings, or other data.")
    return " ".join(parts)


def _population(cells: pd.DataFrame) -> tuple[str, str]:
    """Samples and seeds behind some cells."""
    n = " / ".join(f"{n:.0f}" for n in sorted(set(cells["n"].dropna())))
    seeds = {", ".join(map(str, seeds)) for seeds in cells["seeds"] if isinstance(seeds, tuple)}
    return n or NOT_PUBLISHED, " / ".join(sorted(seeds)) or NOT_PUBLISHED


def _grid(view: View, section: Section) -> pd.DataFrame:
    cells = view.of(section)
    who = [*view.sources]
    if any(section.has_published(column) for column in section.columns):
        who.insert(0, "published")
    places = [(row, name) for row in section.rows for name in who]
    wide = cells.pivot(index=["row", "source"], columns="column", values="text")
    wide = wide.reindex(index=places, columns=list(section.columns)).fillna(NO_CELL)
    behind = {place: _population(part) for place, part in cells.groupby(["row", "source"])}
    if not section.n_in_cell:
        wide["n"] = [behind[place][0] for place in places]
    wide["seeds"] = [behind[place][1] for place in places]
    wide = wide.rename(index=section.rows, level=0).rename(columns=section.columns)
    return wide.rename_axis(index=[None, None], columns=section.row_header)


def markdown(view: View) -> str:
    """The table in GitHub Markdown."""
    parts = [f"# {view.table.title}", provenance(view)]
    for section in view.table.sections:
        laid_out = view.grids[section.key].rename_axis(index=[section.row_header, ""], columns=None)
        laid_out = laid_out.reset_index().map(lambda text: text.replace("|", "\\|"))
        parts += [f"## {heading(view, section)}"]
        parts += [laid_out.to_markdown(index=False, tablefmt="github", disable_numparse=True)]
    parts.append("\n".join(f"- {note}" for note in (*view.table.notes, LEGEND)))
    again = ", ".join(f"`{command}`" for command in view.commands())
    return "\n\n".join([*parts, *([f"Again: {again}"] if again else [])]) + "\n"


def csv_text(view: View) -> str:
    """The table as tidy CSV: a line a cell and source, numbers unrounded."""
    cells = view.filled[view.filled["source"] != "published"]
    units = {section.key: section.unit for section in view.table.sections}
    lines = cells[["section", "row", "column", "source", *_VALUE, "text"]].copy()
    lines.insert(0, "table", view.table.key)
    lines.insert(1, "scale", view.scale)
    lines["seeds"] = [" ".join(map(str, s)) if isinstance(s, tuple) else "" for s in lines["seeds"]]
    lines["n"] = lines["n"].astype("Int64")
    lines["column_unit"] = lines["section"].map(units)
    printed = [cell.published for cell in cells["cell"]]
    lines["published"] = ["" if value is None else f"{value:f}" for value in printed]
    lines["runs"] = [" ".join(cell.runs) for cell in cells["cell"]]
    return lines.to_csv(index=False, lineterminator="\n")


#: What LaTeX cannot print as it stands, after Styler's own escapes.
_TEX = str.maketrans({"±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "<": r"$<$", ">": r"$>$"})


def latex(view: View) -> str:
    r"""The table in LaTeX (booktabs, multirow), one `table` a section."""
    parts = [f"% {view.table.title}. {provenance(view)}"]
    for section in view.table.sections:
        styler = view.grids[section.key].style.format(escape="latex")
        styler = styler.format_index(escape="latex", axis=0).format_index(escape="latex", axis=1)
        parts.append(
            styler.to_latex(
                hrules=True,
                position="htbp",
                position_float="centering",
                caption=_tex(f"{view.table.title}; {heading(view, section)}"),
                label=f"tab:{view.table.key}-{section.key}-{view.scale}",
                multirow_align="t",
            )
        )
    return "\n".join(parts).translate(_TEX)


def _tex(text: str) -> str:
    from pandas.io.formats.style_render import _escape_latex

    return _escape_latex(text)


def html(view: View, section: Section) -> str:
    """A section as an HTML table; the lines of a row are published, committed and yours."""
    laid_out = view.grids[section.key]
    key = f"{view.scale}-{view.table.key}-{section.key}"
    return styled(laid_out, key, laid_out.apply(_classes, axis=1))


def _classes(line: pd.Series) -> pd.Series:
    """The CSS classes of the cells of one line, after who they are of and what they lack."""
    who = line.name[1]
    missing = line.str.contains(f"{NOT_RUN}|{q.NOT_RECORDED}").map({True: " missing", False: ""})
    aside = (line == REFERENCE_ONLY).map({True: " aside", False: ""})
    return who + missing + aside


def styled(laid_out: pd.DataFrame, key: str, classes: pd.DataFrame | None = None) -> str:
    """A frame of text as an HTML table whose bytes depend on nothing else; `key` names it."""
    styler = laid_out.style.set_uuid(key).format(escape="html")
    styler = styler.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    if classes is not None:
        styler = styler.set_td_classes(classes)
    styler.cell_ids = False
    return styler.to_html()


def terminal(view: View) -> str:
    """The table for a terminal: a line a cell, published | committed | yours."""
    lines = [view.table.title, provenance(view)]
    for section in view.table.sections:
        cells = view.of(section)
        wide = cells.pivot(index=["column", "row"], columns="source", values="text")
        index = [(c, r) for c in section.columns for r in section.rows if (r, c) in section.cells]
        wide = wide.reindex(index=index, columns=["published", *view.sources])
        wide = wide.rename(index=section.columns, level=0).rename(index=section.rows, level=1)
        names = ["", section.row_header]
        n, seeds = _population(cells)
        lines += ["", f"{heading(view, section)} (n {n}, seeds {seeds})"]
        lines.append(wide.rename_axis(index=names, columns=None).to_string())
    return "\n".join(lines)
