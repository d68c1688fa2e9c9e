"""How every figure looks, and how it is saved: the same bytes from the same results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

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


@dataclass(frozen=True)
class Figure:
    """A figure of a scale: what it shows, from which runs, and how it is painted.

    paint(root, scale, beside) gives a figure of matplotlib; None where the results that it needs
    are absent. beside: a committed tree to show beside `root`, if there is one.
    """

    key: str
    title: str
    runs: tuple[str, ...]
    paint: Callable[[Path, str, Path | None], Canvas | None]

    def draw(self, root: Path, scale: str, folder: Path, beside: Path | None = None) -> list[Path]:
        """Write the figure into a folder; the files, none where there is nothing to show."""
        import matplotlib

        with matplotlib.rc_context(_SETTINGS):
            painted = self.paint(root, scale, beside)
            return save(painted, folder, self.key) if painted else []


def figure(key: str, title: str, runs: Iterable[str]) -> Callable[[Callable], Figure]:
    """Make a `Figure` of the function that paints it."""
    return lambda paint: Figure(key, title, tuple(runs), paint)


def panels(rows: int, columns: int, height: float, **subplots) -> tuple:
    """A figure of matplotlib, `height` inches, with an array of `rows` x `columns` axes."""
    from matplotlib.figure import Figure

    canvas = Figure((WIDTH, height), layout="constrained")
    return canvas, canvas.subplots(rows, columns, squeeze=False, **subplots)


def grid(n: int, height: float, margin: float) -> tuple:
    """A figure of matplotlib with n axes, three a row of `height` inches; `margin`: all else."""
    columns = min(3, n)
    rows = -(-n // columns)
    canvas, axes = panels(rows, columns, height * rows + margin)
    for axis in axes.flat[n:]:
        axis.remove()
    return canvas, axes.flat[:n]


def save(figure: Canvas, folder: Path, name: str) -> list[Path]:
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


def note_below(figure: Canvas, *parts: str) -> None:
    """Small lines under the panels, one for each part."""
    figure.supxlabel("\n".join(parts), fontsize=7.5, color="#555555")


def population(root: Path, found: pd.DataFrame) -> str:
    """Data set, n test samples and seeds of the rows that a figure shows."""
    scale = found["scale"].iloc[0]
    return f"{data_set(root, scale)}, n {found['n'].max():,.0f} test samples, {seeds(found)}"


def data_set(root: Path, scale: str) -> str:
    """The data set of a scale in words."""
    names = frame.load_data(root, scale)["data_set"]
    return f"scale {scale}" + (f", data set {names.iloc[0]}" if len(names) else "")


def seeds(found: pd.DataFrame) -> str:
    """The seeds of some rows in words."""
    numbers = sorted(found["seed"].unique())
    return f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def decades(axis: Axis, subs: tuple[int, ...]) -> None:
    """Plain numbers at some multiples of each decade of a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
