"""The figures of a scale, each drawn from the tidy frames by a module of its own.

    python -m xxact.analysis.plots figure6 --scale mini

Every function that draws has the same arguments: the tree to show, the scale, the folder to write
into and, if there is one, a committed tree to show beside it. It returns the files that it wrote,
none where the results that it needs are absent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xxact.analysis import scaling as experiment
from xxact.analysis.plots import (
    confusion,
    curves,
    distributions,
    elements,
    embeddings,
    masked,
    pattern_adds,
    scaling,
)
from xxact.analysis.tables import EMBEDDED_RUNS


@dataclass(frozen=True)
class Figure:
    """A figure, what it shows, how it is drawn, and from which runs."""

    key: str
    title: str
    draw: Callable[..., list[Path]]
    runs: tuple[str, ...]


_ANY_RUN = ("table2/none",)
_EMBEDDED = tuple(run for _, run in EMBEDDED_RUNS.values())
_CONFUSED = "Confusion of crystal systems (to Table 4)"
_MASKED = "Masked XRD modelling: explained variance"
FIGURES = (
    Figure("figure2", "Figure 2: embeddings in two dimensions", embeddings.figure2, _EMBEDDED),
    Figure(
        "figure3", "Figure 3: error against training-set size", scaling.figure3, experiment.RUNS
    ),
    Figure("figure4", "Figure 4: crystal systems, train and test", distributions.figure4, _ANY_RUN),
    Figure("figure5", "Figure 5: elements, train and test", elements.figure5, _ANY_RUN),
    Figure("figure6", "Figure 6: training curves", curves.figure6, curves.RUNS),
    Figure("pattern_adds", "What the pattern adds", pattern_adds.figure, pattern_adds.RUNS),
    Figure("confusion", _CONFUSED, confusion.figure, _EMBEDDED),
    Figure(
        "error_by_element",
        "Error by element",
        elements.error_by_element,
        tuple(elements.ERROR_RUNS),
    ),
    Figure("masked", _MASKED, masked.figure, masked.RUNS),
)
