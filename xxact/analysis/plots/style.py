"""How every figure looks, and how it is saved: the same bytes from the same results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

#: Width of every figure in inches: that of a page's text, so that fonts keep their size in print.
WIDTH = 7.2
# Okabe and Ito's colours, told apart with any colour vision.
BASELINE = "#555555"
OURS = "#0072B2"
SECOND = "#D55E00"
THIRD = "#009E73"
SYSTEM_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#555555")
#: The model that reads compositions alone, and the one that reads patterns too, in every figure.
MODEL_COLOURS = {"CrabNet (composition)": THIRD, "XxaCT-NN (XRD + composition)": SECOND}

_SETTINGS = {
    "figure.dpi": 180,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
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
def drawing(rows: int, columns: int, height: float, **subplots) -> Iterator[tuple]:
    """A figure with `rows` x `columns` axes in the house style, `height` inches; closed after."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(_SETTINGS):
        figure, axes = plt.subplots(
            rows, columns, figsize=(WIDTH, height), squeeze=False, layout="constrained", **subplots
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


def note_below(figure: Figure, *parts: str) -> None:
    """Small lines under the panels, one for each part."""
    figure.supxlabel("\n".join(parts), fontsize=7.5, color="#555555")


def population(root: Path, found: pd.DataFrame) -> str:
    """Data set, n test samples and seeds of the rows that a figure shows."""
    scale = found["scale"].iloc[0]
    return f"{data_set(root, scale)}, n {found['n'].max():,.0f} test samples, {seeds(found)}"


def data_set(root: Path, scale: str) -> str:
    """The data set of a scale in words."""
    described = frame.load_data(root)
    names = described.loc[described["scale"] == scale, "data_set"]
    return f"scale {scale}" + (f", data set {names.iloc[0]}" if len(names) else "")


def seeds(found: pd.DataFrame) -> str:
    """The seeds of some rows in words."""
    numbers = sorted(found["seed"].unique())
    return f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def one_panel_each(axes, panels) -> Iterator[tuple]:
    """Pairs of an axis and a panel; the axes that are left over are removed."""
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    return zip(axes.flat, panels, strict=False)


def decades(axis: Axis, subs: tuple[int, ...]) -> None:
    """Plain numbers at some multiples of each decade of a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
