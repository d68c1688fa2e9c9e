"""How sure the weights in the package are of measured patterns, and how right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from xxact.analysis.plots import style

INPUTS = {"with_formula": "pattern and formula", "pattern_only": "pattern alone"}
TARGETS = {"crystal_system": "crystal system", "space_group": "space group"}
_BINS = 8


def reliability(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean confidence and share of right answers of bins with as many answers (n,) each."""
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, min(_BINS, len(order)))
    return tuple(np.array([values[some].mean() for some in bins]) for values in (confidence, right))


def risk_at_coverage(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the patterns (n,) that are answered, surest first, and share of wrong ones."""
    wrong = ~right[np.argsort(-confidence, kind="stable")].astype(bool)
    count = np.arange(1, len(wrong) + 1)
    return count / len(wrong), np.cumsum(wrong) / count


@style.figure("reliability", "Confidence and risk on measured patterns", [])
def figure(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Reliability above, risk against coverage below; a column a target."""
    result = json.loads((root / "benchmarks" / "measured.json").read_text(encoding="utf-8"))
    canvas, axes = style.panels(2, len(TARGETS), 5.0)
    for column, (target, title) in enumerate(TARGETS.items()):
        above, below = axes[:, column]
        for (key, label), color in zip(INPUTS.items(), (style.OURS, style.SECOND), strict=True):
            told = result["told"][key][target]
            confidence, right = (np.array(told[name]) for name in ("confidence", "right"))
            above.plot(*reliability(confidence, right), "o-", color=color, label=label)
            below.plot(*risk_at_coverage(confidence, right), color=color, label=label)
        above.plot([0, 1], [0, 1], ":", color=style.BASELINE)
        above.set(title=title, xlabel="mean confidence", ylabel="share right")
        below.set(xlabel="share of the patterns answered, surest first", ylabel="share wrong")
        below.set_ylim(0, None)
        above.legend()
    n = " and ".join(f"{result[key]['all']['n']} ({label})" for key, label in INPUTS.items())
    style.note_below(canvas, f"measured patterns: {n}; those that are not told at all left out")
    return canvas
