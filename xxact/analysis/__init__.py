"""Results as data frames, tables, figures, verdicts and the page; no torch.

For a notebook: `from xxact.analysis import load; load("results")`. See `xxact.analysis.frame`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FRAMES = (
    "load",
    "load_classes",
    "load_confusion",
    "load_curves",
    "load_data",
    "load_elements",
    "load_embeddings",
    "load_floors",
    "load_predictions",
    "load_runs",
    "load_silhouettes",
)
__all__ = list(_FRAMES)


def __getattr__(name: str) -> Any:
    """Import pandas only when a frame is asked for."""
    if name in _FRAMES:
        return getattr(import_module("xxact.analysis.frame"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
