"""What a cell of a table reads from a result, and how seeds become one value.

A measure takes the results a cell derives from (same seed, in the order of the cell's runs) and
gives a `Reading`. Scores are those of the test part.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS, UNITS, Target
from xxact.experiments.result import CurvePoint, Result, Score, Scores

ENERGY = "formation_energy_per_atom"
SYSTEM = "crystal_system"
#: Stands for the one target of a transfer run, whichever it is at that scale.
OWN_TARGET = ""
NOT_RECORDED = "not recorded"
NOT_APPLICABLE = "n/a"
NOT_REACHED = "not reached"
#: How far from the wanted share of training an evaluation may lie, as a share.
PROGRESS_TOLERANCE = 0.005


@dataclass(frozen=True)
class Reading:
    """One number of one seed; without a value, `text` says why, or is the content (`is_label`)."""

    value: float | None
    n: int | None = None
    unit: str = ""
    target: str = ""
    text: str = ""
    is_label: bool = False


@dataclass(frozen=True)
class Value:
    """The readings of all seeds of a cell."""

    seeds: tuple[int, ...]
    readings: tuple[Reading, ...]

    @property
    def numbers(self) -> list[float]:
        """The readings that have a value."""
        return [r.value for r in self.readings if r.value is not None]

    @property
    def mean(self) -> float | None:
        """Mean over seeds; None if any seed has no value."""
        numbers = self.numbers
        return statistics.fmean(numbers) if len(numbers) == len(self.readings) else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None with a single seed."""
        numbers = self.numbers
        whole = len(numbers) == len(self.readings)
        return statistics.stdev(numbers) if whole and len(numbers) > 1 else None

    @property
    def label(self) -> str:
        """Text of readings that have no number by nature (hardware), each once."""
        return " / ".join(dict.fromkeys(r.text for r in self.readings if r.is_label))

    @property
    def n(self) -> int | None:
        """Number of samples behind each reading."""
        return self.readings[0].n

    @property
    def unit(self) -> str:
        """Unit of the readings."""
        return self.readings[0].unit

    @property
    def target(self) -> str:
        """Target that was measured."""
        return self.readings[0].target


Measure = Callable[[Sequence[Result]], Reading]


def unit_of(target: str, metric: str) -> str:
    """The unit that a metric's key states, e.g. `meV/atom` of `mae_mev_per_atom`."""
    known = [Target(name, unit) for name, unit in UNITS.items()] + [CRYSTAL_SYSTEM]
    for candidate in known:
        if candidate.metric == metric:
            return candidate.metric_unit
    return metric.removeprefix("mae_").removeprefix("mae").replace("_per_", "/")


def read_score(score: Score | None, target: str) -> Reading:
    """The one metric of a score."""
    if score is None:
        return Reading(None, target=target, text=NOT_RECORDED)
    metric = next((key for key in score if key != "n"), None)
    value = score[metric] if metric else None
    unit = unit_of(target, metric) if metric else ""
    if value is None:
        return Reading(None, int(score["n"]), unit, target, "no samples")
    return Reading(value, int(score["n"]), unit, target)


def _test_scores(result: Result, reading: str) -> Scores | None:
    """Test scores of one reading; a run without a curve (a forest) has only its final ones."""
    metrics = result.metrics
    if reading == "best" and (metrics.best_on_test is not None or result.curve):
        return metrics.best_on_test
    if reading == "selected" and (metrics.selected is not None or result.curve):
        return metrics.selected.test if metrics.selected else None
    if reading in ("new_formula", "new_chemical_system"):
        return getattr(metrics.final, f"test_{reading}")
    return metrics.final.test


def test_score(target: str, reading: str) -> Measure:
    """A test score: `best` over the curve, `final`, `selected` on validation, or `new_*`."""

    def measure(results: Sequence[Result]) -> Reading:
        name = target or results[0].spec.targets[0]
        return read_score((_test_scores(results[0], reading) or {}).get(name), name)

    return measure


def point_at(result: Result, progress: float) -> CurvePoint | None:
    """The evaluation after a share of the training, None if none was made there."""
    points = sorted(result.curve, key=lambda p: abs(p.progress - progress))
    close = points and abs(points[0].progress - progress) <= PROGRESS_TOLERANCE
    return points[0] if close else None


def score_at(target: str, progress: float) -> Measure:
    """The test score after a share of the training."""

    def measure(results: Sequence[Result]) -> Reading:
        point = point_at(results[0], progress)
        return read_score(((point and point.test) or {}).get(target), target)

    return measure


def class_accuracy(system: str) -> Measure:
    """Accuracy of one crystal system."""

    def measure(results: Sequence[Result]) -> Reading:
        classes = results[0].per_class and results[0].per_class.crystal_system
        return read_score((classes or {}).get(system), SYSTEM)

    return measure


def mean_class_accuracy(results: Sequence[Result]) -> Reading:
    """Macro average: the mean over the crystal systems that occur, each counting the same."""
    classes = results[0].per_class and results[0].per_class.crystal_system
    readings = [read_score((classes or {}).get(system), SYSTEM) for system in CRYSTAL_SYSTEMS]
    values = [r.value for r in readings if r.value is not None]
    if not values:
        return Reading(None, unit="%", target=SYSTEM, text=NOT_RECORDED)
    return Reading(statistics.fmean(values), sum(r.n or 0 for r in readings), "%", SYSTEM)


def silhouette(space: str, name: str) -> Measure:
    """Silhouette (-1 to 1) of a crystal system, or `mean`, in `embedding` or `projection`."""

    def measure(results: Sequence[Result]) -> Reading:
        embedding = results[0].embedding
        value = embedding and embedding.silhouette.get(space, {}).get(name)
        if value is None:
            return Reading(None, text=NOT_RECORDED)
        n = embedding.n if name == "mean" else embedding.crystal_system.count(name)
        return Reading(value, n)

    return measure


@dataclass(frozen=True)
class Threshold:
    """What counts as reached: the baseline's own test scores at 25 % of its training."""

    energy: float
    system: float


def threshold(baseline: Result, progress: float = 0.25) -> Threshold | None:
    """The baseline's test MAE and accuracy at `progress`, None where they were not recorded."""
    energy = score_at(ENERGY, progress)([baseline]).value
    system = score_at(SYSTEM, progress)([baseline]).value
    return None if energy is None or system is None else Threshold(energy, system)


def steps_to_reach(result: Result, wanted: Threshold) -> int | None:
    """The first evaluated step at which both targets are at least as good as `wanted`."""
    for point in sorted(result.curve, key=lambda p: p.step):
        energy = read_score((point.test or {}).get(ENERGY), ENERGY).value
        system = read_score((point.test or {}).get(SYSTEM), SYSTEM).value
        if energy is None or system is None:
            continue
        if energy <= wanted.energy and system >= wanted.system:
            return point.step
    return None


def needed_steps(results: Sequence[Result]) -> Reading:
    """Steps until the threshold of the baseline `results[0]` is reached by `results[-1]`."""
    wanted = threshold(results[0])
    if wanted is None:
        return Reading(None, unit="steps", text=NOT_RECORDED)
    steps = steps_to_reach(results[-1], wanted)
    return Reading(steps, unit="steps", text=NOT_REACHED if steps is None else "")


def speed_up(results: Sequence[Result]) -> Reading:
    """Steps the baseline needs over steps the pretrained model needs.

    `results` is (baseline, pretrained) or (baseline, pretrained, pretraining); with the third, the
    pretraining's own steps count as well.
    """
    baseline, pretrained = needed_steps(results[:1]), needed_steps(results[:2])
    if baseline.value is None or pretrained.value is None:
        return Reading(None, unit="x", text=baseline.text or pretrained.text)
    extra = results[2].cost.steps if len(results) > 2 else 0
    return Reading(baseline.value / (pretrained.value + extra), unit="x")


def resolution(results: Sequence[Result]) -> Reading:
    """Steps between two evaluations: how finely a step count can be known."""
    steps = sorted(point.step for point in results[-1].curve)
    if len(steps) < 2:
        return Reading(None, unit="steps", text=NOT_RECORDED)
    return Reading(max(b - a for a, b in pairwise(steps)), unit="steps")


def of_cost(field: str, unit: str, factor: float = 1.0) -> Measure:
    """A field of a result's cost, times `factor`; what is not trained in steps may lack it."""

    def measure(results: Sequence[Result]) -> Reading:
        value = getattr(results[0].cost, field)
        if value is None:
            trained = results[0].cost.steps > 0
            return Reading(None, unit=unit, text=NOT_RECORDED if trained else NOT_APPLICABLE)
        return Reading(value * factor, unit=unit)

    return measure


def hardware(results: Sequence[Result]) -> Reading:
    """What a run ran on, in words."""
    used = results[0].hardware
    count = f"{used.processes} x " if (used.processes or 1) > 1 else ""
    cores = f", {used.cores} cores" if used.cores and used.device == "cpu" else ""
    precision = f", {used.precision}" if used.precision else ""
    return Reading(None, text=f"{count}{used.name}{cores}{precision}", is_label=True)


def aggregate(runs: Sequence[Sequence[Result]], measure: Measure) -> Value | None:
    """The measure over the seeds that all of `runs` have; None if there is none ("not run")."""
    by_seed = [{result.seed: result for result in run} for run in runs]
    seeds = sorted(set.intersection(*(set(run) for run in by_seed))) if by_seed else []
    if not seeds:
        return None
    return Value(tuple(seeds), tuple(measure([run[s] for run in by_seed]) for s in seeds))
