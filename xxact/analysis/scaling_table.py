"""The table of the scaling experiment."""

from __future__ import annotations

from collections.abc import Sequence

from xxact.analysis import measures as m
from xxact.analysis.cells import BEST_NOTE, READINGS, Cell, Section, Table
from xxact.analysis.measures import Measure, Reading
from xxact.analysis.published import published
from xxact.analysis.scaling import CONTROLS, MODELS, SIZES, WHOLE, fit_power_law, run_name, sizes
from xxact.experiments.result import Result


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
        samples = [result.data.n["train"] / 1e6 for result in results]
        law = fit_power_law(samples, [value / 1000 for value in readings])
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


def _size_labels(control: str) -> dict[str, str]:
    return {s: f"{SIZES[s]:.3g} of 4.5 M ({SIZES[s] / 4.5:.0%})" for s in sizes(control)}


def _model_section(model: str, control: str, label: str) -> Section:
    columns = {"samples": "training samples", **READINGS}
    cells = {}
    for size in sizes(control):
        run = (run_name(model, size, control),)
        cells[size, "samples"] = Cell(run, _training_samples)
        for reading in READINGS:
            cells[size, reading] = Cell(run, m.test_score(m.ENERGY, reading))
    title = f"{MODELS[model]}, {label}: formation energy, MAE"
    return Section(
        model + control, title, "meV/atom", "training size", _size_labels(control), columns, cells
    )


def _gap_section(control: str, label: str) -> Section:
    numbers = published().scaling.gap if not control else {}
    first, last = "1000k", "4500k"
    values = {first: numbers.get("smallest"), last: numbers.get("largest")}
    cells = {
        (size, "gap"): Cell(
            tuple(run_name(model, size, control) for model in MODELS), gap, values.get(size)
        )
        for size in sizes(control)
    }
    title = f"gap, CrabNet less XxaCT-NN, {label}: formation energy, MAE, best on test"
    return Section(
        f"gap{control}",
        title,
        "meV/atom",
        "training size",
        _size_labels(control),
        {"gap": "gap"},
        cells,
    )


def _fit_section(control: str, label: str) -> Section:
    columns = {"prefactor": "prefactor (eV/atom at 1 M)", "exponent": "exponent"}
    cells = {}
    for model in MODELS:
        law = published().scaling.fits[model]
        runs = tuple(run_name(model, size, control) for size in sizes(control))
        for column in columns:
            value = None if control else getattr(law, column)
            cells[model, column] = Cell(runs, _law(column), value)
    return Section(f"fit{control}", f"power-law fits, {label}", "", "model", MODELS, columns, cells)
