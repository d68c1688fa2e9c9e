"""Tables 1 to 5 and their companions, each as one declaration of rows, columns and what they read.

A cell names the runs it derives from, what it reads from them and the published value. `view` fills
the declarations from one or two result trees; `render` prints what `view` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from xxact.analysis import measures as m
from xxact.analysis.measures import Measure, Value
from xxact.analysis.provenance import Tree
from xxact.analysis.published import PRETRAININGS, published
from xxact.data.targets import CRYSTAL_SYSTEMS

NOT_RUN = "not run"
REFERENCE_ONLY = "reference only"

PRETRAINING_LABELS = {
    "none": "none",
    "contrastive": "contrastive",
    "mxm": "MXM",
    "contrastive_mxm": "contrastive + MXM",
}
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
    """A table of the paper, or one beside them."""

    key: str
    title: str
    sections: tuple[Section, ...]
    experiments: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def short_title(self) -> str:
        """The title up to its colon or bracket."""
        return self.title.split(":")[0].split(" (")[0]

    def commands(self, scale: str) -> list[str]:
        """What trains everything the table reads."""
        return [
            f"python experiments/{name}/run.py --local --scale {scale}" for name in self.experiments
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
        """Each cell of the shown tree that has no value, with the runs it waits for.

        The table of costs has a row for each run that is there, so nothing of it can be missing.
        """
        if not self.table.experiments:
            return []
        return [
            f"{self.table.short_title}, {section.title}: {section.rows[row]}, "
            f"{section.columns[column]} ({', '.join(filled.cell.runs)})"
            for section in self.table.sections
            for (row, column) in section.cells
            if (filled := self.filled(section, row, column)) and self._is_missing(filled)
        ]

    def missing_runs(self) -> set[str]:
        """The runs without a result that some cell of the shown tree waits for."""
        tree = self.yours or self.committed
        runs = {run for filled in self.values.values() for run in filled.cell.runs}
        return {run for run in runs if not tree.results(run)}

    def _is_missing(self, filled: Filled) -> bool:
        value = filled.yours if self.yours else filled.committed
        if not filled.cell.runs:
            return False
        return value is None or any(r.text == m.NOT_RECORDED for r in value.readings)


def run_command(experiment: str, scale: str) -> str:
    """What trains the runs of an experiment at a scale."""
    return f"python experiments/{experiment}/run.py --local --scale {scale}"


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


def _by_reading(
    key: str,
    title: str,
    unit: str,
    rows: Iterable[tuple[str, str, str | None, str, Decimal | None, str]],
) -> Section:
    """A section whose columns are the three readings; rows: key, label, run, target, published."""
    labels, cells = {}, {}
    for row, label, run, target, value, note in rows:
        labels[row] = label
        for reading in READINGS:
            shown = (value, note) if reading == "best" else (None, "")
            if run is not None:
                cells[row, reading] = Cell((run,), m.test_score(target, reading), *shown)
            elif reading == "best":
                cells[row, reading] = Cell((), None, *shown)
    return Section(key, title, unit, "model", labels, READINGS, cells)


# Row of Table 1 -> label, and its runs by target; `table2/none` is the multi-task row's one home.
_TABLE_1_ROWS: dict[str, tuple[str, dict[str, str]]] = {
    "fcn_mlp": (
        "PXRDPIAYN FCN+MLP (XRD + composition)",
        {"energy": "table1/fcn_mlp_energy", "system": "table1/fcn_mlp_system"},
    ),
    "xxact_single": (
        "XxaCT-NN single-task (XRD + composition)",
        {"energy": "table1/xxact_energy", "system": "table1/xxact_system"},
    ),
    "xxact_multi": (
        "XxaCT-NN multi-task (XRD + composition)",
        {"energy": "table2/none", "system": "table2/none"},
    ),
    "crabnet": (
        "CrabNet (composition)",
        {"energy": "table1/crabnet_energy", "system": "table1/crabnet_system"},
    ),
    "fcn": (
        "PXRDPIAYN FCN (XRD)",
        {"energy": "table1/fcn_energy", "system": "table1/fcn_system"},
    ),
    "xrd": (
        "XRD transformer (XRD)",
        {"energy": "table1/xrd_energy", "system": "table1/xrd_system"},
    ),
    "alignn": ("ALIGNN (structure; other splits)", {}),
    "constant": (
        "mean or majority class (nothing)",
        {"energy": "table1/constant_energy", "system": "table1/constant_system"},
    ),
    **{
        f"forest_{key}": (
            f"random forest ({label})",
            {"energy": f"table1/forest_{key}_energy", "system": f"table1/forest_{key}_system"},
        )
        for key, label in {
            "composition": "composition",
            "xrd": "binned XRD",
            "both": "binned XRD + composition",
        }.items()
    },
}
_TARGETS = {"energy": m.ENERGY, "system": m.SYSTEM}
_TARGET_TITLES = {"energy": "formation energy, MAE", "system": "crystal system, accuracy"}
_SHORT_TARGETS = {"energy": "formation energy", "system": "crystal system", "both": "both"}

# Row of Table 1, the target it was trained on first -> run of the transfer to the unseen target.
_TRANSFERS = {
    ("xxact_single", "energy"): "table1/xxact_energy_transfer",
    ("xxact_single", "system"): "table1/xxact_system_transfer",
    ("xxact_multi", "both"): "table1/xxact_multi_transfer",
    ("crabnet", "energy"): "table1/crabnet_energy_transfer",
    ("crabnet", "system"): "table1/crabnet_system_transfer",
    ("xrd", "energy"): "table1/xrd_energy_transfer",
    ("xrd", "system"): "table1/xrd_system_transfer",
}


def table1() -> Table:
    """Every model on both targets, and the transfer of its embedding to an unseen target."""
    numbers = published().table1

    def target_rows(target: str):
        for row, (label, runs) in _TABLE_1_ROWS.items():
            value = numbers.rows.get(row, {}).get(target)
            if target in runs or value is not None:
                yield row, label, runs.get(target), _TARGETS[target], value, ""

    def transfer_rows():
        for (row, source), run in _TRANSFERS.items():
            label = f"{_TABLE_1_ROWS[row][0].split(' (')[0]}, from {_SHORT_TARGETS[source]}"
            value = numbers.rows[row].get(f"transfer_{source}")
            unstated = numbers.rows[row].get("transfer_unstated")
            note = "source not stated" if value is None and unstated is not None else ""
            yield f"{row}_{source}", label, run, m.OWN_TARGET, value or unstated, note

    sections = [
        _by_reading(t, _TARGET_TITLES[t], numbers.units[t], target_rows(t)) for t in _TARGETS
    ]
    transfer = _by_reading(
        "transfer", "transfer to the unseen target, MAE", numbers.units["transfer"], transfer_rows()
    )
    notes = (
        BEST_NOTE,
        "Transfer: everything frozen but a new linear head. The paper's unseen target is the band "
        "gap in eV; where a scale has another one, heading and values name it and cannot be "
        "compared with the published ones.",
        "The multi-task row is the run table2/none. Mean, majority class and forests are ours, not "
        "the paper's; they have no curve, so all three readings are their one value.",
    )
    return Table("table1", "Table 1: models and targets", (*sections, transfer), ("table1",), notes)


def table2() -> Table:
    """Training after each pretraining, and the speed-ups."""
    columns = {
        "p05": "5 % of training",
        "p15": "15 %",
        "p25": "25 %",
        **READINGS,
    }
    sections = [_table2_target(target, columns) for target in _TARGETS]
    notes = (
        BEST_NOTE,
        "Speed-up: steps the baseline needs to reach its own test MAE and accuracy at 25 % of its "
        "training, both at once, over the steps the pretrained model needs to reach the same "
        "values. Counted in optimiser steps at the first evaluation that reaches them, so a step "
        "count is known to within the evaluation interval shown; seed k against seed k.",
        "Counting the pretraining's own steps: the same with the steps of the pretraining added to "
        "those of the pretrained model. Steps, not time: a contrastive pretraining step leaves the "
        "fusion module out and is the cheaper one.",
    )
    return Table(
        "table2", "Table 2: pretraining", (*sections, _table2_speed_ups()), ("table2",), notes
    )


def _table2_target(target: str, columns: Mapping[str, str]) -> Section:
    progress = {"p05": 0.05, "p15": 0.15, "p25": 0.25}
    numbers = published().table2
    cells = {}
    for row in PRETRAININGS:
        for column in columns:
            name = _TARGETS[target]
            measure = (
                m.score_at(name, progress[column])
                if column in progress
                else m.test_score(name, column)
            )
            value = getattr(numbers.rows[row][target], column, None)
            cells[row, column] = Cell((f"table2/{row}",), measure, value)
    title = _TARGET_TITLES[target]
    unit = numbers.units[target]
    return Section(target, title, unit, "pretraining", PRETRAINING_LABELS, columns, cells)


def _table2_speed_ups() -> Section:
    numbers = published().table2
    columns = {
        "speed_up": "speed-up (x)",
        "with_pretraining": "counting the pretraining's own steps (x)",
        "steps": "steps needed",
        "resolution": "evaluation interval (steps)",
    }
    cells = {}
    for row in PRETRAININGS:
        run = f"table2/{row}"
        pair = ("table2/none", run)
        cells[row, "steps"] = Cell(pair, m.needed_steps)
        cells[row, "resolution"] = Cell((run,), m.resolution)
        if row in numbers.speed_up:
            cells[row, "speed_up"] = Cell(pair, m.speed_up, numbers.speed_up[row])
            pretraining = f"table2/pretrain_{row}"
            cells[row, "with_pretraining"] = Cell((*pair, pretraining), m.speed_up)
    wanted = numbers.speed_up_threshold
    title = (
        f"speed-up to the baseline's values at 25 % (published: MAE ≤ {wanted['energy']} meV/atom "
        f"and accuracy ≥ {wanted['system']} %)"
    )
    labels = {**PRETRAINING_LABELS, "none": "none (the baseline)"}
    return Section("speed_up", title, "", "pretraining", labels, columns, cells)


def table3() -> Table:
    """The PXRDPIAYN baselines after 1, 2 and 4 times the training epochs."""
    numbers = published().table3
    models = {"fcn_mlp": "FCN+MLP (XRD + composition)", "fcn": "FCN (XRD)"}

    def rows(target: str):
        for run, value in numbers.rows.items():
            model, name, multiple = run.rsplit("_", 2)
            if name == target:
                label = f"{models[model]}, {multiple}x the epochs (paper: {value.epochs})"
                yield run, label, f"table3/{run}", _TARGETS[target], value.value, ""

    sections = tuple(_by_reading(t, _TARGET_TITLES[t], numbers.units[t], rows(t)) for t in _TARGETS)
    title = "Table 3: PXRDPIAYN baselines by training length"
    return Table("table3", title, sections, ("table3",), (BEST_NOTE,))


#: Column of Tables 4 and 5 and panel of Figure 2 -> label and run, in the paper's order.
EMBEDDED_RUNS = {
    "crabnet": ("CrabNet", "table1/crabnet_system"),
    "xrd": ("XRD transformer", "table1/xrd_system"),
    **{
        key: (f"XxaCT-NN, {'no pretraining' if key == 'none' else label}", f"table2/{key}")
        for key, label in PRETRAINING_LABELS.items()
    },
}
_DERIVED_FROM = ("table1", "table2")
_DERIVED = (
    "Derived from runs of Tables 1 and 2 (crystal-system XRD transformer and CrabNet, and the "
    "multi-target runs of Table 2); nothing of its own is trained."
)


def table4() -> Table:
    """Accuracy by crystal system."""
    numbers = published().table4
    readers: dict[str, Measure] = {s: m.class_accuracy(s) for s in CRYSTAL_SYSTEMS}
    readers["micro"] = m.test_score(m.SYSTEM, "final")
    readers["macro"] = m.mean_class_accuracy
    rows = {s: s for s in CRYSTAL_SYSTEMS}
    rows |= {
        "micro": 'all samples (micro; the paper\'s "Mean")',
        "macro": "mean of systems (macro)",
    }
    columns = {key: EMBEDDED_RUNS[key][0] for key in numbers.columns}
    cells = {
        (row, column): Cell((EMBEDDED_RUNS[column][1],), readers[row], numbers.value(row, column))
        for row in rows
        for column in columns
    }
    section = Section(
        "system", "crystal system, accuracy", "%", "crystal system", rows, columns, cells
    )
    notes = (
        _DERIVED,
        "Ours are the last weights. The paper prints the overall (micro) accuracy as the mean; the "
        "macro average counts each crystal system the same.",
    )
    return Table("table4", "Table 4: accuracy by crystal system", (section,), _DERIVED_FROM, notes)


def table5() -> Table:
    """Silhouettes by crystal system, in the embedding space and in its 2-D projection."""
    numbers = published().table5
    rows = {**{s: s for s in CRYSTAL_SYSTEMS}, "mean": "mean over samples"}
    columns = {key: EMBEDDED_RUNS[key][0] for key in numbers.columns}
    sections = tuple(
        Section(
            space,
            f"silhouette, {label}",
            "",
            "crystal system",
            rows,
            columns,
            {
                (row, column): Cell(
                    (EMBEDDED_RUNS[column][1],),
                    m.silhouette(space, row),
                    numbers.value(row, column),
                )
                for row in rows
                for column in columns
            },
        )
        for space, label in {
            "embedding": "in the embedding space",
            "projection": "in the 2-D projection (PCA)",
        }.items()
    )
    notes = (
        _DERIVED,
        "The paper does not say in which space it measured: its numbers stand beside both. "
        "Ours are of a fixed, seeded sample of the test part and of the last weights.",
    )
    return Table("table5", "Table 5: silhouettes by crystal system", sections, _DERIVED_FROM, notes)


def unseen() -> Table:
    """What random splits hide: test samples whose formula or chemical system is new."""
    columns = {
        "final": "all of test",
        "new_formula": "formula not in training",
        "new_chemical_system": "chemical system not in training",
    }

    def section(target: str) -> Section:
        runs = {row: (label, r[target]) for row, (label, r) in _TABLE_1_ROWS.items() if target in r}
        for row in PRETRAININGS[1:]:
            label = f"XxaCT-NN multi-task after {PRETRAINING_LABELS[row]} pretraining"
            runs[row] = (label, f"table2/{row}")
        return Section(
            target,
            _TARGET_TITLES[target],
            published().table1.units[target],
            "model",
            {row: label for row, (label, _) in runs.items()},
            columns,
            {
                (row, column): Cell((run,), m.test_score(_TARGETS[target], column))
                for row, (_, run) in runs.items()
                for column in columns
            },
            n_in_cell=True,
        )

    notes = ("Last weights, test part. The paper reports no such numbers.",)
    title = "What random splits hide: test samples unlike any training sample"
    return Table("unseen", title, tuple(section(t) for t in _TARGETS), _DERIVED_FROM, notes)


def costs(trees: Iterable[Tree | None]) -> Table:
    """What every run of the trees cost, and on which hardware."""
    runs = sorted({run for tree in trees if tree for run in tree.runs})
    readers: dict[str, tuple[str, Measure]] = {
        "wall": ("wall time (min)", m.of_cost("wall_s", "min", 1 / 60)),
        "memory": ("peak memory (GiB)", m.of_cost("peak_memory_bytes", "GiB", 2.0**-30)),
        "rate": ("samples/s", m.of_cost("samples_per_s", "samples/s")),
        "steps": ("steps", m.of_cost("steps", "steps")),
        "parameters": ("parameters", m.of_cost("parameters", "parameters")),
        "restarts": ("restarts", m.of_cost("restarts", "restarts")),
        "hardware": ("hardware", m.hardware),
    }
    cells = {
        (run, column): Cell((run,), measure)
        for run in runs
        for column, (_, measure) in readers.items()
    }
    columns = {column: label for column, (label, _) in readers.items()}
    rows = {run: run for run in runs}
    section = Section("runs", "run time, memory and hardware", "", "run", rows, columns, cells)
    notes = ("Wall time is summed over restarts. Memory is the peak of the process.",)
    return Table("costs", "Costs of every run", (section,), (), notes)


#: Table 1 to 5 and their companion, in the order they are shown.
TABLES: tuple[Callable[[], Table], ...] = (table1, table2, table3, table4, table5, unseen)
