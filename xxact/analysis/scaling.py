"""Figure 3: error against the size of the training set, power-law fits, and the gap at each size.

The published sizes are 1 to 4.5 million of 4.5 million; ours are the same fractions of a scale's
training part. A power law is fitted as a straight line in log-log by least squares, over all seeds
and sizes, with the standard errors of slope and intercept.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xxact.analysis import measures as m
from xxact.analysis import style
from xxact.analysis.cells import BEST_NOTE, READINGS, Cell, Section, Table
from xxact.analysis.measures import Measure, Reading
from xxact.analysis.provenance import Tree
from xxact.analysis.published import published
from xxact.experiments.result import Result

#: Size -> training samples in thousands at the paper's scale, as in the names of the runs.
SIZES = {f"{k}k": k / 1000 for k in (1000, 2000, 3000, 4000, 4500)}
MODELS = {"crabnet": "CrabNet (composition)", "xxact": "XxaCT-NN (XRD + composition)"}
CONTROLS = {"": "equal epochs", "_steps": "equal steps"}


#: The runs on the whole training part, at equal epochs and steps alike; other tables train them.
WHOLE = {"crabnet": "table1/crabnet_energy", "xxact": "table2/none"}


def run_name(model: str, size: str, control: str = "") -> str:
    """The run of a model at a size."""
    return WHOLE[model] if size == "4500k" else f"scaling/{model}_{size}{control}"


#: Every run of the experiment, each once.
RUNS = tuple(dict.fromkeys(run_name(m, s, c) for c in CONTROLS for m in MODELS for s in SIZES))


@dataclass(frozen=True)
class Fit:
    """L = prefactor * D^exponent; errors are standard errors, of the prefactor's logarithm too.

    An error is None where the points leave no degree of freedom.
    """

    prefactor: float
    exponent: float
    log_prefactor_error: float | None
    exponent_error: float | None

    def at(self, size: float) -> float:
        """L at a size."""
        return self.prefactor * size**self.exponent


def fit_power_law(sizes: Sequence[float], losses: Sequence[float]) -> Fit | None:
    """Least squares of log L against log D; None with fewer than two different sizes.

    Both in natural logarithms, so the exponent does not depend on the units of either.
    """
    if len(set(sizes)) < 2:
        return None
    x, y = [math.log(size) for size in sizes], [math.log(loss) for loss in losses]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    xx = sum((a - mean_x) ** 2 for a in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / xx
    intercept = mean_y - slope * mean_x
    free = len(x) - 2
    if free == 0:
        return Fit(math.exp(intercept), slope, None, None)
    residual = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True)) / free
    return Fit(
        math.exp(intercept),
        slope,
        math.sqrt(residual * (1 / len(x) + mean_x**2 / xx)),
        math.sqrt(residual / xx),
    )


@dataclass(frozen=True)
class Point:
    """One run: training samples in millions, test MAE in eV/atom."""

    size: str
    seed: int
    samples: float
    mae: float


def points(tree: Tree, model: str, control: str = "", reading: str = "best") -> list[Point]:
    """What was measured of a model, by size and seed.

    Of the sizes that were run; a seed that one of them lacks is left out altogether: it would
    pull at one end of the law.
    """
    measure = m.test_score(m.ENERGY, reading)
    found = []
    for size in SIZES:
        for result in tree.results(run_name(model, size, control)):
            value = measure([result]).value
            if value is not None:
                samples = result.data.n["train"] / 1e6
                found.append(Point(size, result.seed, samples, value / 1000))
    seeds = [{p.seed for p in found if p.size == size} for size in {p.size for p in found}]
    shared = set.intersection(*seeds) if seeds else set()
    return [p for p in found if p.seed in shared]


def fit(measured: Sequence[Point]) -> Fit | None:
    """The power law through all points."""
    return fit_power_law([p.samples for p in measured], [p.mae for p in measured])


def exponents_by_seed(measured: Sequence[Point]) -> dict[int, float]:
    """The exponent of each seed that has at least three sizes: the spread over seeds."""
    exponents = {}
    for seed in sorted({p.seed for p in measured}):
        own = [p for p in measured if p.seed == seed]
        law = fit(own) if len(own) > 2 else None
        if law:
            exponents[seed] = law.exponent
    return exponents


def gap(results: Sequence[Result]) -> Reading:
    """Test MAE of composition alone less that of the bimodal model, best on test, meV/atom."""
    first, second = (m.test_score(m.ENERGY, "best")([result]) for result in results)
    if first.value is None or second.value is None:
        return Reading(None, unit="meV/atom", text=first.text or second.text)
    return Reading(first.value - second.value, first.n, "meV/atom", m.ENERGY)


def _training_samples(results: Sequence[Result]) -> Reading:
    return Reading(results[0].data.n["train"], unit="samples")


def _law(parameter: str) -> Measure:
    """Exponent or prefactor of the power law through the sizes of one seed."""

    def measure(results: Sequence[Result]) -> Reading:
        readings = [m.test_score(m.ENERGY, "best")([result]).value for result in results]
        if any(value is None for value in readings):
            return Reading(None, text=m.NOT_RECORDED)
        sizes = [result.data.n["train"] / 1e6 for result in results]
        law = fit_power_law(sizes, [value / 1000 for value in readings])
        if law is None:
            return Reading(None, text="one size")
        return Reading(getattr(law, parameter), unit="eV/atom" if parameter == "prefactor" else "")

    return measure


def table() -> Table:
    """MAE at each size, gaps, and the fits beside the published ones."""
    sections = []
    for control, label in CONTROLS.items():
        sections += [
            *(_model_section(model, control, label) for model in MODELS),
            _gap_section(control, label),
            _fit_section(control, label),
        ]
    notes = (
        BEST_NOTE,
        "Sizes are the fractions that 1, 2, 3, 4 and 4.5 million are of 4.5 million; the test part "
        "is the same for all. CrabNet is single-target, XxaCT-NN multi-target.",
        "Fits are L = prefactor * D^exponent with L in eV/atom and D in millions of training "
        "samples, as published; per seed, so that ± is the spread over seeds. Our prefactor is an "
        "extrapolation to a million samples and only the exponents can be compared. Standard "
        "errors of the fit through all seeds are in Figure 3.",
        "Equal epochs: fewer samples mean fewer steps, as in the paper. Equal steps: the control, "
        "as many steps on each fraction as on the whole training part. The runs on the whole are "
        f"{WHOLE['crabnet']} and {WHOLE['xxact']} in both.",
    )
    title = "Scaling: error against training-set size (Figure 3)"
    return Table("scaling", title, tuple(sections), notes)


def _size_labels() -> dict[str, str]:
    return {size: f"{k:g} of 4.5 M ({k / 4.5:.0%})" for size, k in SIZES.items()}


def _model_section(model: str, control: str, label: str) -> Section:
    columns = {"samples": "training samples", **READINGS}
    cells = {}
    for size in SIZES:
        run = (run_name(model, size, control),)
        cells[size, "samples"] = Cell(run, _training_samples)
        for reading in READINGS:
            cells[size, reading] = Cell(run, m.test_score(m.ENERGY, reading))
    title = f"{MODELS[model]}, {label}: formation energy, MAE"
    return Section(
        model + control, title, "meV/atom", "training size", _size_labels(), columns, cells
    )


def _gap_section(control: str, label: str) -> Section:
    numbers = published().scaling.gap if not control else {}
    first, last = next(iter(SIZES)), list(SIZES)[-1]
    values = {first: numbers.get("smallest"), last: numbers.get("largest")}
    cells = {
        (size, "gap"): Cell(
            tuple(run_name(model, size, control) for model in MODELS), gap, values.get(size)
        )
        for size in SIZES
    }
    title = f"gap, CrabNet less XxaCT-NN, {label}: formation energy, MAE, best on test"
    return Section(
        f"gap{control}", title, "meV/atom", "training size", _size_labels(), {"gap": "gap"}, cells
    )


def _fit_section(control: str, label: str) -> Section:
    columns = {"prefactor": "prefactor (eV/atom at 1 M)", "exponent": "exponent"}
    cells = {}
    for model in MODELS:
        law = published().scaling.fits[model]
        runs = tuple(run_name(model, size, control) for size in SIZES)
        for column in columns:
            value = None if control else getattr(law, column)
            cells[model, column] = Cell(runs, _law(column), value)
    return Section(f"fit{control}", f"power-law fits, {label}", "", "model", MODELS, columns, cells)


def figure3(tree: Tree, beside: Tree | None, folder: Path) -> list[Path]:
    """MAE and fits against the fraction of the training part, published fits beside them."""
    shown = [c for c in CONTROLS if any(len(_sizes(tree, model, c)) > 1 for model in MODELS)]
    if not shown:
        return []
    size = (4.6 * len(shown) + 0.4, 4.9)
    with style.drawing(1, len(shown), size, sharey=True) as (figure, axes):
        for axis, control in zip(axes[0], shown, strict=True):
            for model, colour in zip(MODELS, (style.THIRD, style.SECOND), strict=True):
                _draw_model(axis, tree, model, control, colour)
                _draw_published(axis, model, colour)
                if beside:
                    _draw_beside(axis, beside, model, control, colour)
            style.decades(axis)
            axis.set_xscale("log")
            shares = [100 * millions / SIZES["4500k"] for millions in SIZES.values()]
            axis.set_xticks(shares, [f"{share:.0f}" for share in shares])
            axis.minorticks_off()
            axis.set_title(CONTROLS[control])
            axis.set_xlabel("share of the training part (%)")
            axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16))
        axes[0, 0].set_ylabel("formation energy, test MAE (meV/atom)")
        style.note_below(figure, _note(tree, beside))
        return style.save(figure, folder, "figure3")


def _sizes(tree: Tree, model: str, control: str) -> list[str]:
    """The sizes at which a model was measured."""
    found = {p.size for p in points(tree, model, control)}
    return [size for size in SIZES if size in found]


def _shares(measured: Sequence[Point]) -> list[float]:
    """Share of the training part in %, of the paper's 4.5 million for its fits."""
    return [100 * SIZES[p.size] / SIZES["4500k"] for p in measured]


def _draw_model(axis, tree: Tree, model: str, control: str, colour: str) -> None:
    measured = points(tree, model, control)
    if not measured:
        return
    sizes = _sizes(tree, model, control)
    by_size = {s: [p for p in measured if p.size == s] for s in sizes}
    shares = [_shares(by_size[s])[0] for s in sizes]
    means = [1000 * statistics.fmean(p.mae for p in by_size[s]) for s in sizes]
    if len({p.seed for p in measured}) > 1:
        spread = [1000 * statistics.stdev(p.mae for p in by_size[s]) for s in sizes]
        low = [a - b for a, b in zip(means, spread, strict=True)]
        high = [a + b for a, b in zip(means, spread, strict=True)]
        axis.fill_between(shares, low, high, color=colour, alpha=0.2, linewidth=0)
    law = fit(measured)
    label = MODELS[model]
    if law:
        fitted = [1000 * law.at(by_size[s][0].samples) for s in sizes]
        axis.plot(shares, fitted, color=colour)
        label += f": exponent {law.exponent:.3f}"
        if law.exponent_error is not None:
            label += f" ± {law.exponent_error:.3f} (s.e.)"
    axis.plot(shares, means, "o", color=colour, markersize=4.5, label=label)


def _draw_published(axis, model: str, colour: str) -> None:
    law = published().scaling.fits[model]
    shares = [100 * size / SIZES["4500k"] for size in SIZES.values()]
    values = [1000 * float(law.prefactor) * size ** float(law.exponent) for size in SIZES.values()]
    label = f"published: {law.prefactor} D$^{{{law.exponent}}}$"
    axis.plot(shares, values, "--", color=colour, linewidth=1.2, label=label)


def _draw_beside(axis, tree: Tree, model: str, control: str, colour: str) -> None:
    measured = points(tree, model, control)
    if measured:
        values = [1000 * p.mae for p in measured]
        axis.plot(_shares(measured), values, "x", color=colour, markersize=4)


def _note(tree: Tree, beside: Tree | None) -> str:
    found = [p for c in CONTROLS for model in MODELS for p in points(tree, model, c)]
    seeds = ", ".join(str(seed) for seed in sorted({p.seed for p in found}))
    largest = round(1e6 * max(p.samples for p in found))
    return (
        f"scale {tree.scale}, fixed part test, best on test, seeds {seeds}; 100 % is {largest} "
        "training samples here,\n4.5 million in the paper; dashed: published fits (D in millions)"
        + ("; crosses: committed" if beside else "")
    )
