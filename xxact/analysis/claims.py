"""The paper's conclusions as statements that our results can contradict.

A statement is a list of comparisons "this is better than that". A comparison is decided only where
the difference of the means exceeds the spread over seeds, the root of the sum of both variances,
and chance alone would give one as large in less than 5 % of cases (Welch's t-test); with a single
seed on either side there is no spread and nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev

from scipy import stats

from xxact.analysis import measures as m
from xxact.analysis import scaling
from xxact.analysis.derived import EMBEDDED_RUNS
from xxact.analysis.measures import Measure
from xxact.analysis.provenance import Tree
from xxact.analysis.tables import PRETRAINING_LABELS
from xxact.data.targets import CRYSTAL_SYSTEMS

HOLDS = "holds"
FAILS = "does not hold"
UNDECIDED = "undecided"
NOT_RUN = "not run"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_RUN)

#: Probability of deciding a comparison, or of refuting a statement, where there is no difference.
LEVEL = 0.05

RULE = (
    "A comparison is decided only where the difference of the means exceeds the spread over seeds "
    "(root of the sum of both variances) and Welch's t-test gives p < 0.05; with one seed on a "
    "side it stays undecided. A statement holds if all its comparisons hold. It does not hold if "
    "one of its k comparisons does not with p < 0.05 / k: of many, some fail by chance."
)


@dataclass(frozen=True)
class Comparison:
    """Is `better` better than `worse`? Both as one number per seed, empty when not run."""

    label: str
    better: tuple[float, ...]
    worse: tuple[float, ...]
    higher_is_better: bool
    unit: str = ""

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        if not self.better or not self.worse:
            return NOT_RUN
        if self.p >= LEVEL or abs(self._difference) <= self._spread:
            return UNDECIDED
        return HOLDS if (self._difference > 0) == self.higher_is_better else FAILS

    @property
    def p(self) -> float:
        """Two-sided p of Welch's t-test; 1 where a side has fewer than two seeds."""
        if len(self.better) < 2 or len(self.worse) < 2:
            return 1.0
        if self._spread == 0:
            return 0.0 if self._difference else 1.0
        sides = ((fmean(side), stdev(side), len(side)) for side in (self.better, self.worse))
        return float(stats.ttest_ind_from_stats(*chain(*sides), equal_var=False).pvalue)

    @property
    def _difference(self) -> float:
        return fmean(self.better) - fmean(self.worse)

    @property
    def _spread(self) -> float:
        return math.hypot(stdev(self.better), stdev(self.worse))


@dataclass(frozen=True)
class Claim:
    """A statement of the paper and the comparisons that it amounts to."""

    key: str
    statement: str
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        """Fails if a comparison fails beyond what one of so many would; holds only if all hold."""
        level = LEVEL / len(self.comparisons)
        if any(c.verdict == FAILS and c.p < level for c in self.comparisons):
            return FAILS
        found = {comparison.verdict for comparison in self.comparisons}
        if NOT_RUN in found:
            return NOT_RUN
        return HOLDS if found == {HOLDS} else UNDECIDED


def _values(tree: Tree, runs: Sequence[str], measure: Measure) -> tuple[float, ...]:
    """One number per seed; empty where a run is missing or a seed has no number."""
    value = m.aggregate([tree.results(run) for run in runs], measure)
    return tuple(value.numbers) if value and value.mean is not None else ()


def _scores(
    tree: Tree, label: str, better: str, worse: str, target: str, measure: Measure
) -> Comparison:
    """Compare one measure of a target between two runs."""
    higher = target == m.SYSTEM
    unit = "%" if higher else "meV/atom"
    values = (_values(tree, [run], measure) for run in (better, worse))
    return Comparison(label, *values, higher, unit)


_TARGET_LABELS = {m.ENERGY: "formation energy", m.SYSTEM: "crystal system"}


def fusion(tree: Tree) -> Iterator[Claim]:
    """Bimodal against each modality alone, best on test."""

    def against(model: str, label: str) -> Iterator[Comparison]:
        for target, suffix in ((m.ENERGY, "energy"), (m.SYSTEM, "system")):
            yield _scores(
                tree,
                f"{_TARGET_LABELS[target]}: bimodal (table2/none) better than {label}",
                "table2/none",
                f"table1/{model}_{suffix}",
                target,
                m.test_score(target, "best"),
            )

    comparisons = (*against("crabnet", "composition alone"), *against("xrd", "XRD alone"))
    yield Claim("fusion", "Fusion beats both unimodal models on both targets", comparisons)


def pretraining(tree: Tree) -> Iterator[Claim]:
    """Each pretraining against none, at 5, 15 and 25 % of training and at the best."""
    for key, label in PRETRAINING_LABELS.items():
        if key == "none":
            continue
        comparisons = tuple(
            _scores(
                tree,
                f"{_TARGET_LABELS[target]} at {progress:.0%} of training: better than none",
                f"table2/{key}",
                "table2/none",
                target,
                m.score_at(target, progress),
            )
            for progress in (0.05, 0.15, 0.25)
            for target in _TARGET_LABELS
        )
        statement = f"{label} pretraining beats none at 5, 15 and 25 % of training"
        yield Claim(f"early_{key}", statement, comparisons)
    for key, label in PRETRAINING_LABELS.items():
        if key == "none":
            continue
        comparisons = tuple(
            _scores(
                tree,
                f"{name}, best on test: better than none",
                f"table2/{key}",
                "table2/none",
                target,
                m.test_score(target, "best"),
            )
            for target, name in _TARGET_LABELS.items()
        )
        statement = f"{label} pretraining also improves the best value"
        yield Claim(f"best_{key}", statement, comparisons)


def scaling_claims(tree: Tree) -> Iterator[Claim]:
    """Exponents and gaps, at equal epochs as in the paper and at equal steps."""
    for control, label in scaling.CONTROLS.items():
        exponents = [
            tuple(scaling.exponents_by_seed(scaling.points(tree, model, control)).values())
            for model in ("xxact", "crabnet")
        ]
        comparison = Comparison(
            "scaling exponent: bimodal more negative than composition alone", *exponents, False
        )
        yield Claim(
            f"exponent{control}",
            f"The bimodal model gains more from data: its scaling exponent is steeper ({label})",
            (comparison,),
        )
        gaps = [
            _values(tree, [scaling.run_name(k, size, control) for k in scaling.MODELS], scaling.gap)
            for size in ("4500k", "1000k")
        ]
        comparison = Comparison("gap at full size larger than at 1/4.5", *gaps, True, "meV/atom")
        yield Claim(
            f"gap{control}",
            f"The gap between composition alone and bimodal widens with data ({label})",
            (comparison,),
        )


def silhouettes(tree: Tree) -> Iterator[Claim]:
    """Unimodal, bimodal, pretrained, in both spaces."""

    def compare(space: str, better: str, worse: str) -> Comparison:
        measure = m.silhouette(space, "mean")
        values = (_values(tree, [EMBEDDED_RUNS[k][1]], measure) for k in (better, worse))
        label = f"{EMBEDDED_RUNS[better][0]} above {EMBEDDED_RUNS[worse][0]}"
        return Comparison(label, *values, True)

    for space, label in {"embedding": "embedding space", "projection": "2-D projection"}.items():
        pairs = [("none", "crabnet"), ("none", "xrd")]
        pairs += [(key, "none") for key in PRETRAINING_LABELS if key != "none"]
        yield Claim(
            f"silhouette_{space}",
            f"Silhouettes rise from unimodal to bimodal to pretrained ({label})",
            tuple(compare(space, *pair) for pair in pairs),
        )


def cubic(tree: Tree) -> Iterator[Claim]:
    """Cubic against the system that comes closest, for each model of Table 4."""

    def accuracy(run: str, system: str) -> tuple[float, ...]:
        return _values(tree, [run], m.class_accuracy(system))

    comparisons = []
    for key, (name, run) in EMBEDDED_RUNS.items():
        if key == "crabnet":
            continue
        others = {s: accuracy(run, s) for s in CRYSTAL_SYSTEMS if s != "cubic"}
        measured = {s: values for s, values in others.items() if values}
        label = f"{name}: cubic above every other system"
        closest: tuple[float, ...] = ()
        if measured:
            system = max(measured, key=lambda s: fmean(measured[s]))
            closest = measured[system]
            label += f" (closest: {system})"
        comparisons.append(Comparison(label, accuracy(run, "cubic"), closest, True, "%"))
    yield Claim("cubic", "Cubic crystals are the easiest to classify", tuple(comparisons))


GROUPS: tuple[Callable[[Tree], Iterator[Claim]], ...] = (
    fusion,
    pretraining,
    scaling_claims,
    silhouettes,
    cubic,
)


def claims(tree: Tree) -> list[Claim]:
    """Every statement, evaluated on one tree."""
    return [claim for group in GROUPS for claim in group(tree)]
