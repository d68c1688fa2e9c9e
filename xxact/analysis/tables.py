"""The tables as declared in `tables.yaml`: rows, columns, and what each cell reads.

A new row of a table is a YAML in `experiments/<table>/`: once it has run, it stands at the end of
the sections whose target it was trained on, under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from xxact.analysis.published import declared, printed
from xxact.analysis.quantities import COSTS


@dataclass(frozen=True)
class Cell:
    """The quantity a cell reads and the runs it derives from, itself kept under the last of them.

    Nothing to run where `runs` is empty: a published reference.
    """

    runs: tuple[str, ...]
    quantity: str = ""
    published: Decimal | None = None
    published_note: str = ""


@dataclass(frozen=True)
class Section:
    """Rows x columns of one unit; `key -> label` in the order they are printed."""

    key: str
    title: str
    unit: str
    row_header: str
    rows: Mapping[str, str]
    columns: Mapping[str, str]
    cells: Mapping[tuple[str, str], Cell]
    n_in_cell: bool = False

    def has_published(self, column: str) -> bool:
        """Whether the paper prints any number in this column."""
        return any(c.published is not None for (_, key), c in self.cells.items() if key == column)


@dataclass(frozen=True)
class Table:
    """A table of the paper, or one beside them.

    `lists_runs`: it has a row for each run that is there, so nothing of it can be missing, and
    the command of each run stands in its result. `is_whole`: it has every row of its experiment.
    """

    key: str
    title: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    lists_runs: bool = False
    is_whole: bool = True

    @property
    def short_title(self) -> str:
        """The title up to its colon or bracket."""
        return self.title.split(":")[0].split(" (")[0]

    @property
    def runs(self) -> list[str]:
        """The runs that some cell reads, each once."""
        cells = (cell for section in self.sections for cell in section.cells.values())
        return list(dict.fromkeys(run for cell in cells for run in cell.runs))


#: Column of Tables 4 and 5 and panel of Figure 2 -> label and run, in the paper's order.
EMBEDDED_RUNS: dict[str, tuple[str, str]] = {
    key: (shown["label"], shown["run"]) for key, shown in declared("tables")["embedded"].items()
}
PRETRAINING_LABELS: dict[str, str] = declared("tables")["pretrainings"]


def table(key: str, trained: Mapping[str, Iterable[str]] | None = None) -> Table:
    """The table of that key; trained: run -> targets, of the runs that get a row if none has it."""
    content = declared("tables")["tables"][key]
    named = {
        run
        for section, fields in content["sections"].items()
        for _, _, cell in _cells(fields)
        for run in cell.runs
    }
    others = {
        run.split("/")[1]: (run, targets)
        for run, targets in (trained or {}).items()
        if run not in named and run.startswith(f"{key}/")
    }
    sections = tuple(
        _section(name, _with_rows(fields, others)) for name, fields in content["sections"].items()
    )
    return Table(key, content["title"], sections, tuple(content["notes"]))


def _with_rows(fields: dict[str, Any], others: Mapping[str, tuple]) -> dict[str, Any]:
    """A section with rows for the runs that were trained on its target."""
    new = {
        row: {"label": row.replace("_", " "), "run": run}
        for row, (run, targets) in others.items()
        if fields.get("others") in targets
    }
    return fields | {"rows": fields["rows"] | new}


def _section(key: str, fields: dict[str, Any]) -> Section:
    return Section(
        key,
        fields["title"],
        fields.get("unit", ""),
        fields["of"],
        _labels(fields["rows"]),
        _labels(fields["columns"]),
        {(row, column): cell for row, column, cell in _cells(fields)},
        fields.get("n_in_cell", False),
    )


def _labels(shown: Mapping[str, Any]) -> dict[str, str]:
    return {key: own["label"] if isinstance(own, dict) else own for key, own in shown.items()}


def _cells(fields: dict[str, Any]) -> Iterator[tuple[str, str, Cell]]:
    """Row, column and cell of a section, as `tables.yaml` says."""
    for row, of_row in fields["rows"].items():
        for column, of_column in fields["columns"].items():
            own = dict(fields)
            for more in (of_column, of_row):
                own |= more if isinstance(more, dict) else {}
            if column not in own.get("only", [column]):
                continue
            place = {"row": row, "column": column}
            # the nearest of `run` and `runs` counts
            nearest = next(f for f in (of_row, of_column, fields) if {"run", "runs"} & set(f))
            runs = nearest.get("runs", [nearest.get("run")])
            runs = tuple(run.format(**place) for run in runs)
            beside = own.get("published_in", column) == column
            if not runs and not beside:
                continue
            value = printed(own.get("published", "").format(**place)) if beside else None
            note = own.get("published_note", "") if value is not None else ""
            yield row, column, Cell(runs, own["quantity"].format(**place), value, note)


def without_absent(table: Table, runs: Set[str]) -> Table:
    """The table with the rows and columns that have a cell whose runs are all among `runs`; a note
    names the others."""
    sections, absent = [], []
    for section in table.sections:
        ran = [place for place, cell in section.cells.items() if set(cell.runs) <= runs]
        ran_rows, ran_columns = {row for row, _ in ran}, {column for _, column in ran}
        rows = {key: label for key, label in section.rows.items() if key in ran_rows}
        columns = {key: label for key, label in section.columns.items() if key in ran_columns}
        if rows:
            cells = {
                (row, column): cell
                for (row, column), cell in section.cells.items()
                if row in rows and column in columns
            }
            sections.append(replace(section, rows=rows, columns=columns, cells=cells))
        others = [label for key, label in section.rows.items() if key not in rows]
        others += [label for key, label in section.columns.items() if key not in columns]
        if others:
            absent.append(f"{section.title} ({'; '.join(others) if rows else 'no row'})")
    if not absent:
        return table
    notes = (*table.notes, f"Not run at this scale: {', '.join(absent)}.")
    return replace(table, sections=tuple(sections), notes=notes, is_whole=False)


def costs(runs: Iterable[str]) -> Table:
    """What every one of `runs` cost, and on which hardware."""
    labels = {"wall": "wall time (min)", "memory": "peak memory (GiB)", "rate": "samples/s"}
    columns = {key: labels.get(key, key) for key in (*COSTS, "hardware")}
    rows = {run: run for run in runs}
    cells = {(run, column): Cell((run,), f"cost/{column}") for run in rows for column in columns}
    title = "run time, memory and hardware"
    section = Section("runs", title, "", "run", rows, columns, cells)
    notes = ("Wall time is summed over restarts. Memory is the peak of the process.",)
    return Table("costs", "Costs of every run", (section,), notes, lists_runs=True)
