"""Write the model card of the weights in the package: python tools/model_card.py

Its numbers are those of the bundle's `card.json` and of `results/benchmarks/measured.json`; a test
holds one against the other.
"""

from __future__ import annotations

import json
from pathlib import Path

import jinja2

from xxact.experiments.suite import RESULTS
from xxact.inference.card import read_card
from xxact.inference.predictor import SHIPPED

TEMPLATE = Path(__file__).with_suffix(".md")
CARD = SHIPPED / "README.md"
MEASURED = RESULTS / "benchmarks" / "measured.json"


def text() -> str:
    """The card, as Markdown."""
    card = read_card(SHIPPED)
    level = next(value.level for run in card.runs for value in run.values.values())
    template = jinja2.Template(
        TEMPLATE.read_text(encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    return template.render(card=card, level=level, measured=measured, shown=_shown)


def _shown(value: float | None, form: str, times: float = 1) -> str:
    return "n/a" if value is None else form % (times * value)


if __name__ == "__main__":
    CARD.write_text(text(), encoding="utf-8")
