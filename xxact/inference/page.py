"""Answers as a page of HTML that needs no other file, and as a notebook shows one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np

import xxact
from xxact.files import write_atomically
from xxact.inference.answer import MOST_PROBABLE, Answer, class_name
from xxact.xrd.grid import TWO_THETA_MAX_DEG, TWO_THETA_MIN_DEG, two_theta_grid

#: Size of a drawing, in its own units; angles go from left to right.
WIDTH, HEIGHT = 1000, 200
_COLUMNS = 1000  # of a curve: each shows the lowest and the highest value of its stretch


def write_page(path: Path, answers: Sequence[Answer]) -> None:
    """Write one page of all answers."""
    text = (
        _environment().get_template("page.html").render(answers=answers, version=xxact.__version__)
    )
    write_atomically(path, text.encode())


def section(answer: Answer) -> str:
    """One answer as a piece of HTML."""
    return _environment().get_template("section.html").render(answer=answer)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("xxact.inference"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    called = (class_name, curve, model_curve, unmeasured, window_bars, ticks)
    environment.globals |= {function.__name__: function for function in called}
    environment.globals |= {"width": WIDTH, "height": HEIGHT, "most": MOST_PROBABLE}
    return environment


def curve(answer: Answer) -> str:
    """The pattern as measured, as the points of an SVG polyline."""
    x, y = answer.measured.two_theta_deg, answer.measured.counts
    return _points(_across(x, x[0], x[-1]), (y - min(0.0, y.min())) / np.ptp([0.0, *y]))


def model_curve(answer: Answer) -> list[str]:
    """The pattern as the model sees it: a polyline for each range that was measured."""
    pattern = answer.cleaned.pattern
    x = _across(two_theta_grid(), TWO_THETA_MIN_DEG, TWO_THETA_MAX_DEG)
    edges = np.flatnonzero(np.diff(np.isfinite(pattern), prepend=False, append=False))
    return [_points(x[a:b], pattern[a:b] / 100) for a, b in edges.reshape(-1, 2)]


def unmeasured(answer: Answer) -> list[tuple[float, float]]:
    """Left end and width of the ranges that the model is told nothing of."""
    missing = ~np.isfinite(answer.cleaned.pattern)
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False)).reshape(-1, 2)
    scale = WIDTH / len(missing)
    return [(round(a * scale, 1), round((b - a) * scale, 1)) for a, b in edges]


def window_bars(answer: Answer, target: str) -> list[tuple[float, float, float, str]]:
    """Left end, width, strength in [0, 1] and words of each window that speaks for an answer."""
    found = answer.windows.get(target, {})
    largest = max((abs(change) for change in found.values()), default=0.0) or 1.0
    left = functools.partial(_across, low=TWO_THETA_MIN_DEG, high=TWO_THETA_MAX_DEG)
    return [
        (
            round(float(left(start)), 1),
            round(float(left(stop) - left(start)), 1),
            round(max(0.0, -change) / largest, 3),
            f"{start:g} to {stop:g} degrees: without them {change:+.1%}",
        )
        for (start, stop), change in found.items()
    ]


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Place and text of marks every ten degrees."""
    marks = np.arange(np.ceil(low / 10) * 10, high + 0.01, 10)
    return [(round(float(_across(mark, low, high)), 1), f"{mark:g}") for mark in marks]


def _across(angle, low: float, high: float):
    return (np.asarray(angle) - low) / (high - low) * WIDTH


def _points(x: np.ndarray, y: np.ndarray) -> str:
    """Points of a polyline of values in [0, 1]: of many, the extremes of each column."""
    if len(x) > 2 * _COLUMNS:
        parts = [part for part in np.array_split(np.arange(len(x)), _COLUMNS) if len(part)]
        kept = [sorted((p[y[p].argmin()], p[y[p].argmax()])) for p in parts]
        chosen = np.unique(np.concatenate(kept))
        x, y = x[chosen], y[chosen]
    height = HEIGHT * (1 - np.clip(y, 0, 1))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, height, strict=True))
