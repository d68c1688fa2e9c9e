"""How every figure looks, and how it is saved: the same bytes from the same results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision: orange, sky, green, blue, red, pink.
BASELINE = "#555555"
OURS = "#0072B2"
SECOND = "#D55E00"
THIRD = "#009E73"
PUBLISHED = "#000000"
SYSTEM_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#555555")

_SETTINGS = {
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "pdf.fonttype": 42,
}


@contextmanager
def drawing(rows: int, columns: int, size: tuple[float, float], **subplots) -> Iterator[tuple]:
    """A figure with `rows` x `columns` axes in the house style, closed afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(_SETTINGS):
        figure, axes = plt.subplots(
            rows, columns, figsize=size, squeeze=False, layout="constrained", **subplots
        )
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name`.png and `name`.pdf without a time in them.

    The canvases are called directly: `savefig` would draw everything twice for each file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    folder.mkdir(parents=True, exist_ok=True)
    png, pdf = folder / f"{name}.png", folder / f"{name}.pdf"
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    figure.set_layout_engine("none")  # laid out while the first file was drawn
    unstamped = {"CreationDate": None, "Creator": None, "Producer": None}
    FigureCanvasPdf(figure).print_pdf(pdf, metadata=unstamped)
    return [png, pdf]


def note_below(figure: Figure, text: str) -> None:
    """A small line under the panels: scale, part, n, seeds, reading."""
    figure.supxlabel(text, fontsize=7.5, color="#555555")


def decades(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers at 1, 2, 3, 5, 7 of each decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
