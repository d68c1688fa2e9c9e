"""What is measured beside the scales, for the page: speed, and answers to measured patterns.

Reads what benchmarks/*.py and experiments/open/measured/run.py wrote (`results/benchmarks/*.json`);
what is shown of it is declared in `benchmarks.yaml`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from xxact.analysis.plots import pipeline, reliability
from xxact.analysis.published import declared

if TYPE_CHECKING:
    import pandas as pd

#: The figures that a part may name.
_FIGURES = {"pipeline": pipeline.figure, "reliability": reliability.figure}


@dataclass(frozen=True)
class Benchmark:
    """One measurement: words, a table of text, perhaps a figure, and how to measure it again.

    table: None where it has not been run.
    """

    title: str
    command: str
    words: str = ""
    table: pd.DataFrame | None = None
    figure: Path | None = None


def benchmarks(results: Path, figures: Path) -> dict[str, list[Benchmark]]:
    """Heading -> measurements; draws their figures into the folder `figures`."""
    return {
        heading: [found for part in parts for found in _measured(part, results, figures)]
        for heading, parts in declared("benchmarks").items()
    }


def _measured(part: dict[str, Any], results: Path, figures: Path) -> Iterator[Benchmark]:
    """A table, or where the rows say their hardware one a machine."""
    import pandas as pd

    path = results / "benchmarks" / part["file"]
    if not path.exists():
        yield Benchmark(part["title"], part["command"])
        return
    result = json.loads(path.read_text(encoding="utf-8"))
    rows = result[part["rows"]]
    if isinstance(rows, dict):
        rows = [{"name": name} | row for name, row in rows.items()]
    machines: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        machines.setdefault(row.get("hardware", {}).get("name", ""), []).append(row)
    figure = _FIGURES.get(part.get("figure"))
    drawn = figure.draw(results, "", figures) if figure else []
    for k, own in enumerate(machines.values()):
        table = pd.DataFrame(
            {
                label: [_filled(t, result | row) for row in own]
                for label, t in part["columns"].items()
            },
            index=[_filled(part["row"], result | row) for row in own],
        )
        title = _filled(part.get("machine", part["title"]), result | {"rows": own})
        words = "" if k else _filled(part["words"], result)
        yield Benchmark(title, part["command"], words, table, *drawn[:1])


def _filled(template: str, fields: dict[str, Any]) -> str:
    return jinja2.Template(template, undefined=jinja2.StrictUndefined).render(fields)
