"""Write the results of README.md from `results/`: python tools/readme_results.py

What stands between the two comments there is what this prints; a test holds one against the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from xxact.analysis.cells import View, view
from xxact.analysis.provenance import Tree
from xxact.analysis.render import published_text, source_text
from xxact.analysis.tables import table1, table2
from xxact.experiments.suite import REPOSITORY, row_names

README = REPOSITORY / "README.md"
BLOCK = re.compile(r"(?<=<!-- begin results -->\n).*(?=<!-- end results -->)", re.DOTALL)
SCALES = ("mini", "mp-small")
#: Table (1 or 2) and row there -> label.
ROWS = {
    (0, "crabnet"): "CrabNet, composition",
    (0, "xrd"): "XRD transformer, pattern",
    (0, "fcn"): "PXRDPIAYN FCN, pattern",
    (0, "fcn_mlp"): "PXRDPIAYN FCN+MLP, both",
    (0, "xxact_single"): "XxaCT-NN, single-task",
    (1, "none"): "XxaCT-NN, multi-task",
    (1, "contrastive"): "after contrastive pretraining",
    (1, "mxm"): "after MXM pretraining",
    (1, "contrastive_mxm"): "after contrastive + MXM",
    (0, "forest_composition"): "random forest, composition (not the paper's)",
    (0, "forest_both"): "random forest, both (not the paper's)",
}
#: Experiment -> what it is in the paper, and the command.
EXPERIMENTS = {
    "table1": ("Table 1", "`python experiments/table1/run.py --local`"),
    "table2": ("Table 2, Figure 6", "`python experiments/table2/run.py --local`"),
    "table3": ("Table 3", "`make reproduce-table3`"),
    "scaling": ("Figure 3", "`python experiments/scaling/run.py --local`"),
}


def block(results: Path) -> str:
    """The two tables, as Markdown."""
    trees = [Tree(results, scale) for scale in SCALES]
    return "\n".join([*_results(trees), "", *_costs(trees), ""])


def _results(trees: Sequence[Tree]) -> Iterator[str]:
    views = [[view(table, tree) for tree in trees] for table in (table1(), table2())]
    header = ["", "published", *(f"`{t.scale}` (n = {t.data.n['test']:,})" for t in trees)]
    yield from _head(header)
    for (table, row), label in ROWS.items():
        cells = [label, _both(views[table][0], row, "published")]
        cells += [_both(filled, row, "committed") for filled in views[table]]
        yield _line(cells)


def _both(filled: View, row: str, source: str) -> str:
    """Energy / system of a row: published, or committed."""
    texts = []
    for section in filled.table.sections[:2]:
        cell = filled.filled(section, row, "best")
        if source == "published":
            texts.append(published_text(cell.cell))
        else:
            texts.append(source_text(cell, source, section))
    return " / ".join(texts) if len(set(texts)) > 1 else texts[0]


def _costs(trees: Sequence[Tree]) -> Iterator[str]:
    yield from _head(["in the paper", "command", *(f"cost at `{tree.scale}`" for tree in trees)])
    for experiment, (name, command) in EXPERIMENTS.items():
        rows = row_names(experiment)
        yield _line([name, command, *(_cost(tree, rows) for tree in trees)])
    yield _line(["Tables 4, 5, Figures 2, 4, 5", "derived: `make figures RESULTS=runs`", "-", "-"])


def _cost(tree: Tree, rows: list[str]) -> str:
    """Minutes of one core for seed 0 of the rows that were run."""
    first = [result[0] for row in rows if (result := tree.results(row))]
    if not first:
        return "not run"
    text = f"{sum(result.cost.wall_s for result in first) / 60:.0f} min"
    return text if len(first) == len(rows) else f"{text} for {len(first)} of {len(rows)} rows"


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    content = block(REPOSITORY / "results")
    README.write_text(BLOCK.sub(lambda _: content, text), encoding="utf-8")
