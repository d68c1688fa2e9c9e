"""`report.html`: one self-contained page with every verdict, table and figure of every scale."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2

from xxact.analysis import claims, render
from xxact.analysis.benchmarks import benchmarks
from xxact.analysis.figures import Written, write_all
from xxact.analysis.frame import load_data
from xxact.analysis.published import declared, published
from xxact.files import write_atomically

#: The page opens with the first of these that could be drawn.
OPENING = ("pattern_adds", "figure3", "figure6")
NOTES = {
    "disagreements": "Where the paper does not agree with itself",
    "choices": "What the paper leaves open, and what is done here",
}


def write_report(committed: Path, yours: Path | None, out: Path) -> tuple[Path, list[Written]]:
    """Write tables and figures of every scale and the page that holds them all."""
    written = list(write_all(committed, yours, out))
    measured = benchmarks(committed, out / "figures" / "benchmarks")
    path = out / "report.html"
    write_atomically(path, page(written, measured).encode("utf-8"))
    return path, written


def page(written: Sequence[Written], measured: dict[str, Any]) -> str:
    """The whole page: verdicts, then each scale, then what is about no scale."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("xxact.analysis"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    called = (image, data_set, cost, side, between, ratio, render.commands, render.heading)
    called += (render.provenance, render.html, render.styled)
    environment.globals |= {function.__name__: function for function in called}
    environment.filters["sentence"] = lambda text: text[0].upper() + text[1:]
    judged = [scale for scale in written if scale.claims]
    return environment.get_template("report.html").render(
        paper=published()["paper"],
        scales=written,
        yours=any(len(scale.views[0].sources) > 1 for scale in written),
        judged=judged,
        statements=list(zip(*(scale.claims for scale in judged), strict=True)),
        opening=opening(judged),
        legend=render.LEGEND,
        rule=claims.RULE,
        measured=measured,
        notes={title: declared("notes")[key] for key, title in NOTES.items()},
    )


def opening(judged: Sequence[Written]) -> tuple[str, Path] | None:
    """Title and file of the figure that the page opens with, at the largest scale that has it."""
    for key in OPENING:
        for scale in reversed(judged):
            paths = scale.figures.get(key)
            if paths:
                title = next(f.title for f in scale.declared_figures if f.key == key)
                return f"{title}, scale {scale.scale}", paths[0]
    return None


def image(path: Path) -> str:
    """A PNG as the source of an image that needs no file."""
    data = base64.b64encode(path.with_suffix(".png").read_bytes()).decode("ascii")
    return f"data:image/png;base64,{data}"


def cost(runs: Iterable[str], scale: Written) -> str:
    """Time of one core for one seed of some runs and of what they start from, as measured."""
    minutes = sum(scale.shown.minutes[run] for run in scale.shown.with_origins(runs))
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def side(estimate: Any, unit: str) -> str:
    """One side of a comparison."""
    if estimate is None:
        return render.NOT_RUN
    n = len(estimate.by_seed)
    text = f"{render.mean_and_std(list(estimate.by_seed), unit)} {unit}".strip()
    return f"{text} ({n} seed{'s' * (n > 1)})"


def between(effect: Any, unit: str) -> str:
    """A difference with its 95 % interval."""
    if effect is None:
        return render.NOT_RUN
    texts = [render.number(v, unit) for v in (effect.difference, *effect.interval())]
    return f"{texts[0]} ({texts[1]} to {texts[2]}) {unit}".strip()


def ratio(found: tuple[float, float, float] | None) -> str:
    """A ratio with its 95 % interval, or that there is none."""
    return "{:.2f} ({:.2f} to {:.2f})".format(*found) if found else render.NO_CELL


def data_set(scale: Written) -> str:
    """The data set of a scale and the samples of each split, in words."""
    counts = load_data(scale.shown.root, scale.scale).query("kind == 'split' and n > 0")
    if counts.empty:
        return "No description of the data set (data.json) is there."
    splits = ", ".join(f"{row.split} {row.n:,}" for row in counts.itertuples())
    name, data = counts["data_set"].iloc[0], scale.shown.data
    return f"Data set {name}: {splits} samples; data {data}."
