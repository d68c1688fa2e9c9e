"""The figures of a scale, each drawn from the tidy frames by a module of its own.

python -m xxact.analysis.plots figure6 --scale mini
"""

from __future__ import annotations

from xxact.analysis.plots import (
    confusion,
    curves,
    distributions,
    elements,
    embeddings,
    labels,
    masked,
    pattern_adds,
    scaling,
)

FIGURES = (
    embeddings.figure2,
    scaling.figure3,
    distributions.figure4,
    elements.figure5,
    curves.figure6,
    pattern_adds.figure,
    confusion.figure,
    elements.error_by_element,
    masked.figure,
    labels.figure,
)
