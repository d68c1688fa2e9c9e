"""Tables that are derived from runs of Tables 1 to 3: 4, 5, unlike samples, and what runs cost."""

from __future__ import annotations

from collections.abc import Iterable

from xxact.analysis import measures as m
from xxact.analysis.cells import Cell, Section, Table
from xxact.analysis.measures import Measure
from xxact.analysis.provenance import Tree
from xxact.analysis.published import PRETRAININGS, published
from xxact.analysis.tables import PRETRAINING_LABELS, TABLE_1_ROWS, TARGET_TITLES, TARGETS
from xxact.data.targets import CRYSTAL_SYSTEMS

#: Column of Tables 4 and 5 and panel of Figure 2 -> label and run, in the paper's order.
EMBEDDED_RUNS: dict[str, tuple[str, str]] = {
    "crabnet": ("CrabNet", "table1/crabnet_system"),
    "xrd": ("XRD transformer", "table1/xrd_system"),
    **{
        key: (f"XxaCT-NN, {'no pretraining' if key == 'none' else label}", f"table2/{key}")
        for key, label in PRETRAINING_LABELS.items()
    },
}
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
    return Table("table4", "Table 4: accuracy by crystal system", (section,), notes)


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
    return Table("table5", "Table 5: silhouettes by crystal system", sections, notes)


def unseen() -> Table:
    """What random splits hide: test samples whose formula or chemical system is new."""
    columns = {
        "final": "all of test",
        "new_formula": "formula not in training",
        "new_chemical_system": "chemical system not in training",
    }

    def section(target: str) -> Section:
        runs = {row: (label, r[target]) for row, (label, r) in TABLE_1_ROWS.items() if target in r}
        for row in PRETRAININGS[1:]:
            label = f"XxaCT-NN multi-task after {PRETRAINING_LABELS[row]} pretraining"
            runs[row] = (label, f"table2/{row}")
        return Section(
            target,
            TARGET_TITLES[target],
            published().table1.units[target],
            "model",
            {row: label for row, (label, _) in runs.items()},
            columns,
            {
                (row, column): Cell((run,), m.test_score(TARGETS[target], column))
                for row, (_, run) in runs.items()
                for column in columns
            },
            n_in_cell=True,
        )

    notes = ("Last weights, test part. The paper reports no such numbers.",)
    title = "What random splits hide: test samples unlike any training sample"
    return Table("unseen", title, tuple(section(t) for t in TARGETS), notes)


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
    return Table("costs", "Costs of every run", (section,), notes, lists_runs=True)
