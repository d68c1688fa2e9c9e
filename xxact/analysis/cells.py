"""What a table is: cells that name the runs they read, and how they are filled from result trees.

A cell names the runs it derives from, what it reads from them and the published value. `view` fills
the declarations from one or two result trees; `render` prints what `view` gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from xxact.analysis import measures as m
from xxact.analysis.measures import Measure, Value
from xxact.analysis.provenance import Tree

NOT_RUN = "not run"
REFERENCE_ONLY = "reference only"

#: How a value is read besides the paper's reading, which is the best over the curve on test.
READINGS = {
    "best": "best on test",
    "final": "final",
    "selected": "selected on validation",
}
BEST_NOTE = (
    "The paper has no validation split, so its best value is read here as the best on test over "
    "the evaluations during training, each target on its own. Beside it stand the value of the "
    "last weights and the value at the evaluation that was best on the validation part."
)


@dataclass(frozen=True)
class Cell:
    """What a cell reads: nothing to run where `runs` is empty (a published reference)."""

    runs: tuple[str, ...]
    measure: Measure | None = None
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


@dataclass(frozen=True)
class Table:
    """A table of the paper, or one beside them.

    `lists_runs`: it has a row for each run that is there, so nothing of it can be missing, and
    the command of each run stands in its result.
    """

    key: str
    title: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    lists_runs: bool = False

    @property
    def short_title(self) -> str:
        """The title up to its colon or bracket."""
        return self.title.split(":")[0].split(" (")[0]

    @property
    def runs(self) -> list[str]:
        """The runs that some cell reads, each once."""
        cells = (cell for section in self.sections for cell in section.cells.values())
        return list(dict.fromkeys(run for cell in cells for run in cell.runs))

    def commands(self, tree: Tree) -> list[str]:
        """What trains everything the table reads: its own rows, and rows of others."""
        if self.lists_runs:
            return []
        own = {run for run in self.runs if run.startswith(f"{self.key}/")}
        whole = len({_seeds(tree, run) for run in own}) == 1
        return [
            *([_command(self.key, tree.scale, _seeds(tree, min(own)))] if whole else []),
            *commands([run for run in self.runs if not (whole and run in own)], tree),
        ]


@dataclass(frozen=True)
class Filled:
    """A cell with its values; None stands for "not run"."""

    cell: Cell
    committed: Value | None
    yours: Value | None


@dataclass(frozen=True)
class View:
    """A table filled from a committed tree and, if there is one, a second tree."""

    table: Table
    scale: str
    committed: Tree
    yours: Tree | None
    values: Mapping[tuple[str, str, str], Filled] = field(repr=False)

    def filled(self, section: Section, row: str, column: str) -> Filled | None:
        """The filled cell, None where the table has no such cell."""
        return self.values.get((section.key, row, column))

    def own_target(self, section: Section) -> str:
        """The target that was measured where its unit is not the published one, else empty."""
        found = {
            value.target
            for (key, *_), filled in self.values.items()
            for value in (filled.committed, filled.yours)
            if key == section.key and value and section.unit and value.unit != section.unit
        }
        return ", ".join(sorted(target.replace("_", " ") for target in found if target))

    def missing(self) -> list[str]:
        """Each cell of the shown tree that has no value, with the runs it waits for."""
        if self.table.lists_runs:
            return []
        return [
            f"{self.table.short_title}, {section.title}: {section.rows[row]}, "
            f"{section.columns[column]} ({', '.join(filled.cell.runs)})"
            for section in self.table.sections
            for (row, column) in section.cells
            if (filled := self.filled(section, row, column)) and self._is_missing(filled)
        ]

    @property
    def shown(self) -> Tree:
        """The tree that the table is about: yours where there is one."""
        return self.yours or self.committed

    def missing_runs(self) -> set[str]:
        """The runs without a result that some cell of the shown tree waits for."""
        runs = {run for filled in self.values.values() for run in filled.cell.runs}
        return {run for run in runs if not self.shown.results(run)}

    def _is_missing(self, filled: Filled) -> bool:
        value = filled.yours if self.yours else filled.committed
        if not filled.cell.runs:
            return False
        return value is None or any(r.text == m.NOT_RECORDED for r in value.readings)


def commands(runs: Iterable[str], tree: Tree) -> list[str]:
    """What trains these runs again, each with as many seeds as `tree` has of it."""
    alike: dict[tuple[str, int], list[str]] = {}
    for run in sorted(runs):
        experiment, row = run.split("/")
        alike.setdefault((experiment, _seeds(tree, run)), []).append(row)
    return [
        f"{_command(experiment, tree.scale, seeds)} --only {' '.join(rows)}"
        for (experiment, seeds), rows in alike.items()
    ]


def _command(experiment: str, scale: str, seeds: int) -> str:
    words = f"python experiments/{experiment}/run.py --local --scale {scale}"
    return words + (f" --seeds {seeds}" if seeds > 1 else "")


def _seeds(tree: Tree, run: str) -> int:
    """What `--seeds` has to say for all seeds of a run that are there."""
    return 1 + max((result.seed for result in tree.results(run)), default=0)


def view(table: Table, committed: Tree, yours: Tree | None = None) -> View:
    """Read every cell of `table`."""

    def read(tree: Tree | None, cell: Cell) -> Value | None:
        if tree is None or cell.measure is None:
            return None
        return m.aggregate([tree.results(run) for run in cell.runs], cell.measure)

    values = {
        (section.key, *place): Filled(cell, read(committed, cell), read(yours, cell))
        for section in table.sections
        for place, cell in section.cells.items()
    }
    return View(table, committed.scale, committed, yours, values)


def by_reading(
    key: str,
    title: str,
    unit: str,
    rows: Iterable[tuple[str, str, str | None, str, Decimal | None, str]],
    published_beside: str = "best",
) -> Section:
    """A section whose columns are the three readings.

    rows: key, label, run, target, published value and a note on it, which stand beside the reading
    `published_beside`.
    """
    labels, cells = {}, {}
    for row, label, run, target, value, note in rows:
        labels[row] = label
        for reading in READINGS:
            shown = (value, note) if reading == published_beside else (None, "")
            if run is not None:
                cells[row, reading] = Cell((run,), m.test_score(target, reading), *shown)
            elif reading == published_beside:
                cells[row, reading] = Cell((), None, *shown)
    return Section(key, title, unit, "model", labels, READINGS, cells)
