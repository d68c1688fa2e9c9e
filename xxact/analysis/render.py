"""Tables as Markdown, CSV, LaTeX, HTML and plain text for a terminal."""

from __future__ import annotations

import csv
import html
import io
import statistics
from collections.abc import Iterator, Sequence
from decimal import Decimal

from xxact.analysis import measures as m
from xxact.analysis.cells import NOT_RUN, REFERENCE_ONLY, Cell, Filled, Section, View
from xxact.analysis.measures import Value
from xxact.analysis.provenance import Tree

NOT_PUBLISHED = "-"
NO_CELL = m.NOT_APPLICABLE
LEGEND = (
    f'"{NOT_PUBLISHED}": the paper prints no such number. "{NOT_RUN}": no result there. '
    f'"{NO_CELL}": nothing to show. ± is the standard deviation over seeds.'
)
_DIGITS = {"meV/atom": 1, "%": 2, "eV": 4, "eV/atom": 4, "GPa": 2, "x": 2, "min": 2, "GiB": 2}
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


def value_text(value: Value | None, section: Section, cell: Cell) -> str:
    """A value as it stands in a cell: mean ± std, its own unit where the column has another."""
    if not cell.runs:
        return REFERENCE_ONLY
    if value is None:
        return NOT_RUN
    if value.mean is None:
        return _without_mean(value)
    text = mean_and_std(value.numbers, value.unit)
    if section.unit and value.target and value.unit != section.unit:
        text += f" {value.unit}"
    if section.n_in_cell:
        text += f" (n {value.n})"
    return text


def _without_mean(value: Value) -> str:
    """Seeds of which at least one has no number, e.g. `not reached (2 of 3 seeds); 1.80`."""
    if value.label:
        return value.label
    failed = [r for r in value.readings if r.value is None]
    text = failed[0].text
    if len(value.readings) > 1:
        text += f" ({len(failed)} of {len(value.readings)} seeds)"
    if value.numbers:
        text += "; " + ", ".join(number(v, value.unit) for v in value.numbers)
    return text


def published_text(cell: Cell) -> str:
    """The published value as it was printed."""
    if cell.published is None:
        return NOT_PUBLISHED
    note = f" ({cell.published_note})" if cell.published_note else ""
    return _decimal(cell.published) + note


def _decimal(value: Decimal) -> str:
    return f"{value:f}"


def sources(view: View) -> dict[str, str]:
    """The columns of values beside the published one."""
    return {"committed": "committed", **({"yours": "yours"} if view.yours else {})}


def _has_published(section: Section, column: str) -> bool:
    return any(c.published is not None for (_, key), c in section.cells.items() if key == column)


def heading(view: View, section: Section) -> str:
    """Title and unit of a section, with the target where ours is another than the paper's."""
    text = section.title + (f" ({section.unit})" if section.unit else "")
    own = view.own_target(section)
    return f"{text}; here: {own}" if own else text


def population(view: View, section: Section) -> str:
    """Number of samples and seeds behind the values of a section."""
    cells = [view.filled(section, row, column) for row, column in section.cells]
    parts = [] if section.n_in_cell else [f"n {_n_text(cells)}"]
    parts += [f"seeds {source} {_seeds_text(cells, source)}" for source in sources(view)]
    return ", ".join(parts)


def _grid(view: View, section: Section) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a section: each column as published | committed | yours, then n, seeds."""
    groups = [
        (column, source, f"{label}: {source}")
        for column, label in section.columns.items()
        for source in (["published"] if _has_published(section, column) else [])
        + list(sources(view))
    ]
    header = [section.row_header, *(g[2] for g in groups)]
    with_n = not section.n_in_cell
    header += [*(["n"] if with_n else []), *(f"seeds {s}" for s in sources(view))]
    rows = []
    for row, label in section.rows.items():
        cells = [view.filled(section, row, column) for column in section.columns]
        line = [label]
        for column, source, _ in groups:
            filled = view.filled(section, row, column)
            line.append(source_text(filled, source, section))
        line += [_n_text(cells)] if with_n else []
        line += [_seeds_text(cells, source) for source in sources(view)]
        rows.append(line)
    return header, rows


def source_text(filled: Filled | None, source: str, section: Section) -> str:
    """One of published | committed | yours of a cell."""
    if filled is None:
        return NO_CELL
    if source == "published":
        return published_text(filled.cell)
    return value_text(getattr(filled, source), section, filled.cell)


def _n_text(cells: list[Filled | None]) -> str:
    counts = {
        value.n
        for filled in cells
        if filled
        for value in (filled.committed, filled.yours)
        if value and value.n is not None
    }
    return " / ".join(str(n) for n in sorted(counts)) or NOT_PUBLISHED


def _seeds_text(cells: list[Filled | None], source: str) -> str:
    seeds = {
        ", ".join(map(str, value.seeds))
        for filled in cells
        if filled and (value := getattr(filled, source))
    }
    return " / ".join(sorted(seeds)) or NOT_PUBLISHED


def provenance_lines(view: View) -> list[str]:
    """Scale, part, data and where the values come from."""

    def line(label: str, tree: Tree) -> str:
        data = tree.content_sha256
        return f"{label}: {tree.root}/{tree.scale}, data {data[:12] if data else 'none'}"

    lines = [f"Scale {view.scale}, part test.", line("Committed", view.committed) + "."]
    if view.yours:
        lines.append(line("Yours", view.yours) + ".")
        both = view.yours.content_sha256, view.committed.content_sha256
        if all(both) and both[0] != both[1]:
            lines.append(
                "The data hashes differ: other versions, another processor, or other data."
            )
    return lines


def markdown(view: View) -> str:
    """The table in GitHub Markdown."""
    parts = [f"# {view.table.title}", " ".join(provenance_lines(view))]
    for section in view.table.sections:
        header, rows = _grid(view, section)
        lines = [header, ["---"] * len(header), *rows]
        grid = "\n".join("| " + " | ".join(_md(cell) for cell in line) + " |" for line in lines)
        parts += [f"## {heading(view, section)}", grid]
    parts.append("\n".join(f"- {note}" for note in (*view.table.notes, LEGEND)))
    commands = [f"`{command}`" for command in view.table.commands(view.shown)]
    parts += [f"Again: {', '.join(commands)}"] if commands else []
    return "\n\n".join(parts) + "\n"


def _md(text: str) -> str:
    return text.replace("|", "\\|")


_CSV_FIELDS = ("", "_std", "_seeds", "_n", "_unit", "_target")


def csv_text(view: View) -> str:
    """The table as tidy CSV, one line a cell, numbers unrounded."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    values = [source + suffix for source in sources(view) for suffix in _CSV_FIELDS]
    lead = ["table", "section", "row", "column", "unit", "published"]
    writer.writerow([*lead, *values, "scale", "part", "runs"])
    for section in view.table.sections:
        for (row, column), cell in section.cells.items():
            filled = view.filled(section, row, column)
            line = [view.table.key, section.key, row, column, section.unit]
            line.append("" if cell.published is None else _decimal(cell.published))
            for source in sources(view):
                line += _csv_value(getattr(filled, source), cell)
            writer.writerow([*line, view.scale, "test", " ".join(cell.runs)])
    return file.getvalue()


def _csv_value(value: Value | None, cell: Cell) -> list[str]:
    if value is None:
        return [NOT_RUN if cell.runs else REFERENCE_ONLY, "", "", "", "", ""]
    mean = _without_mean(value) if value.mean is None else repr(value.mean)
    std = "" if value.std is None else repr(value.std)
    seeds = " ".join(map(str, value.seeds))
    n = "" if value.n is None else str(value.n)
    return [mean, std, seeds, n, value.unit, value.target]


_TEX = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "_": r"\_",
        "#": r"\#",
        "±": r"$\pm$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "<": r"$<$",
        ">": r"$>$",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
    }
)


def latex(view: View) -> str:
    r"""The table in LaTeX (booktabs, graphicx), one `tabular` a section."""
    parts = [f"% {view.table.title}. {' '.join(provenance_lines(view))}"]
    parts += [_latex_section(view, section) for section in view.table.sections]
    return "\n\n".join(parts) + "\n"


def _latex_section(view: View, section: Section) -> str:
    header, rows = _grid(view, section)
    first, *lines = [
        " & ".join(cell.translate(_TEX) for cell in line) + r" \\" for line in (header, *rows)
    ]
    caption = f"{view.table.title}; {heading(view, section)}".translate(_TEX)
    return "\n".join(
        [
            r"\begin{table}[htbp]\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{view.table.key}-{section.key}-{view.scale}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            first,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def terminal(view: View, width: int = 100) -> str:
    """The table for a terminal: one line a cell, published | committed | yours."""
    lines = [view.table.title, *provenance_lines(view)]
    names = ["published", *sources(view)]
    for section in view.table.sections:
        entries = list(_entries(view, section))
        first = max(len(e[0]) for e in entries)
        first = min(max(first, len(section.row_header)), width // 3)
        cells = [max(len(n), *(len(e[1][i]) for e in entries)) for i, n in enumerate(names)]
        lines += ["", heading(view, section), f"({population(view, section)})"]
        lines.append(_line(section.row_header, names, first, cells))
        column = None
        for label, texts, entry_column in entries:
            if entry_column != column:
                lines.append(f" {entry_column}")
                column = entry_column
            lines.append(_line(label, texts, first, cells))
    return "\n".join(lines)


def _entries(view: View, section: Section) -> Iterator[tuple[str, list[str], str]]:
    for column, column_label in section.columns.items():
        for row, label in section.rows.items():
            filled = view.filled(section, row, column)
            if filled is None:
                continue
            texts = [source_text(filled, s, section) for s in ("published", *sources(view))]
            yield f"  {label}", texts, column_label


def _line(label: str, texts: list[str], first: int, widths: list[int]) -> str:
    cells = (f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
    return f"{label:<{first}} | " + " | ".join(cells)


def html_table(view: View, section: Section) -> str:
    """A section as an HTML table; the lines of a row are published, committed and yours."""
    names = list(sources(view))
    if any(_has_published(section, column) for column in section.columns):
        names.insert(0, "published")
    who = [""] if len(names) > 1 else []
    header = [section.row_header, *who, *section.columns.values()]
    header += [*([] if section.n_in_cell else ["n"]), "seeds"]
    lines = ["".join(f"<th>{html.escape(text)}</th>" for text in header)]
    for row, label in section.rows.items():
        cells = [view.filled(section, row, column) for column in section.columns]
        texts = [[source_text(filled, name, section) for name in names] for filled in cells]
        texts = [
            line if line[-1] != NO_CELL else [NO_CELL, *[""] * len(line[1:])] for line in texts
        ]
        seeds = ["" if name == "published" else _seeds_text(cells, name) for name in names]
        parts = [f"<th>{html.escape(label)}</th>"]
        parts += [_html_cell(names, names, "who")] if who else []
        parts += [
            _html_cell(_without_empty_published(section, column, names, text), names)
            for column, text in zip(section.columns, texts, strict=True)
        ]
        parts += [] if section.n_in_cell else [f"<td class=n>{_n_text(cells)}</td>"]
        lines.append("".join([*parts, _html_cell(seeds, names, "n")]))
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=scroll><table>\n{body}\n</table></div>"


def _without_empty_published(
    section: Section, column: str, names: list[str], texts: list[str]
) -> list[str]:
    """Leave the published line of a column blank when the paper has no such column."""
    if names[0] != "published" or _has_published(section, column):
        return texts
    return ["", *texts[1:]]


def _html_cell(texts: list[str], names: list[str], kind: str = "") -> str:
    parts = []
    for text, name in zip(texts, names, strict=True):
        missing = text == NOT_RUN or m.NOT_RECORDED in text
        name += " missing" if missing else " aside" if text == REFERENCE_ONLY else ""
        parts.append(f'<div class="{name}">{html.escape(text) or "&nbsp;"}</div>')
    return f'<td class="{kind}">{"".join(parts)}</td>' if kind else f"<td>{''.join(parts)}</td>"
