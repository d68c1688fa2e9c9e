"""The paper's conclusions as statements that our results can contradict.

A statement is a list of comparisons "this is better than that", each with the uncertainty of seeds
and test samples (see `inference`). Everything is read from the last weights, or at a stated share
of the training: "best on test" would favour whatever fluctuates more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from xxact.analysis import frame, scaling
from xxact.analysis.inference import (
    Effect,
    Estimate,
    combined,
    difference,
    holm,
    log_slope,
    of_scores,
)
from xxact.analysis.quantities import BASELINE, ENERGY, PROGRESS, SYSTEM
from xxact.analysis.tables import EMBEDDED_RUNS, PRETRAINING_LABELS
from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS, UNITS, Target

if TYPE_CHECKING:
    import pandas as pd

    from xxact.analysis.render import Source

HOLDS = "holds"
FAILS = "does not hold"
UNDECIDED = "undecided"
NOT_RUN = "not run"
#: Probability of one wrong verdict or more among the statements of a scale.
LEVEL = 0.05
RULE = (
    "Each comparison has the uncertainty of seeds and of test samples together (two crossed random "
    "factors; samples paired between the models, samples of one formula drawn together). A "
    "statement holds if every one of its comparisons does, and does not hold if one of its k fails "
    "at 1/k of the level. All statements of a scale together are wrong with a probability of at "
    f"most {LEVEL:.0%} (Holm). Read from the last weights. With one seed on a side a verdict is "
    "about these runs, not about training again. Without kept predictions, as for values during "
    "training, samples are not paired: accuracies and silhouettes have the largest variance that "
    "their mean allows, absolute errors a spread as large as their mean."
)
_TARGETS = {ENERGY: "formation energy", SYSTEM: "crystal system"}


@dataclass(frozen=True)
class Comparison:
    """Is `better` better than `worse`? None: not run, or nothing was recorded."""

    label: str
    better: Estimate | None
    worse: Estimate | None
    unit: str = ""
    higher_is_better: bool = True

    @cached_property
    def effect(self) -> Effect | None:
        """How much better, in `unit`; negative where it is worse."""
        if self.better is None or self.worse is None:
            return None
        sides = (self.better, self.worse)
        return difference(*(sides if self.higher_is_better else sides[::-1]))

    @property
    def kept(self) -> bool:
        """Whether both sides kept their predictions."""
        sides = (self.better, self.worse)
        return all(side is not None and side.values is not None for side in sides)


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the comparisons that it amounts to, and what came out.

    level: what its own p has to be below to be decided, given the other statements. runs: what it
    was judged by.
    """

    key: str
    statement: str
    comparisons: tuple[Comparison, ...]
    adjusted_p: float = 1.0
    level: float = LEVEL / 2
    runs: tuple[str, ...] = ()

    @property
    def effects(self) -> list[Effect]:
        """Of the comparisons that were run."""
        return [c.effect for c in self.comparisons if c.effect is not None]

    @property
    def p_holds(self) -> float:
        """All of them must hold: the weakest one counts. 1 where one was not run."""
        effects = self.effects
        whole = len(effects) == len(self.comparisons)
        return max(effect.p(1) for effect in effects) if whole else 1.0

    @property
    def p_fails(self) -> float:
        """One failing is enough, but of k some do by chance."""
        k = len(self.comparisons)
        return min([1.0, *(k * effect.p(-1) for effect in self.effects)])

    @property
    def p(self) -> float:
        """Of the likelier of both verdicts, two-sided."""
        return min(1.0, 2 * min(self.p_holds, self.p_fails))

    @property
    def verdict(self) -> str:
        """`HOLDS`, `FAILS`, `UNDECIDED` or `NOT_RUN`."""
        if self.adjusted_p < LEVEL:
            return HOLDS if self.p_holds < self.p_fails else FAILS
        return UNDECIDED if len(self.effects) == len(self.comparisons) else NOT_RUN

    @property
    def one_seed(self) -> bool:
        """Whether the verdict is about these runs alone."""
        return any(effect.one_seed for effect in self.effects)

    @property
    def remark(self) -> str:
        """What has to be said beside the verdict."""
        if self.verdict == UNDECIDED:
            return self._would_decide()
        if self.verdict == NOT_RUN:
            return ""
        words = ["these runs: one seed"] if self.one_seed else []
        if not all(c.kept for c in self.comparisons):
            words.append("no predictions kept")
        return "; ".join(words)

    def _would_decide(self) -> str:
        """The test samples or the seeds that would decide it at the differences seen."""
        against = [effect for effect in self.effects if effect.difference < 0]
        if against:
            level = self.level / len(self.comparisons)
            return min(effect.would_decide(level) for effect in against)[1]
        return max(effect.would_decide(self.level) for effect in self.effects)[1]


class Evidence:
    """Estimates from the results of one scale: kept predictions where there are, scores elsewhere.

    asked: the runs that something was read of.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: dict[str, dict[str, pd.DataFrame]] = {}
        self.asked: list[str] = []

    def score(self, run: str, quantity: str) -> Estimate | None:
        """A score of `quantities` as a mean over its samples."""
        self.asked.append(run)
        value = self._source.values.get((run, quantity))
        if value is None or value["mean"] != value["mean"]:
            return None
        lowest, highest = 0.0, math.inf
        if value["target"] == SYSTEM:
            highest = 100.0
        elif quantity.endswith("/mean"):
            lowest, highest = -1.0, 1.0
        return of_scores(value["values"], int(value["n"]), lowest, highest)

    def final(self, run: str, target: str) -> Estimate | None:
        """The test score of the last weights, sample by sample where predictions were kept."""
        if target not in self._predictions(run):
            return self.score(run, f"{target}/final")
        errors, groups, _ = self._samples(run, target)
        return Estimate(errors.mean(1), errors, groups)

    def accuracy(self, run: str, system: str) -> Estimate | None:
        """The accuracy of one crystal system, as a mean over all samples."""
        if SYSTEM not in self._predictions(run):
            return self.score(run, f"accuracy/{system}")
        correct, groups, true = self._samples(run, SYSTEM)
        own = true == CRYSTAL_SYSTEMS.index(system)
        if not own.any():
            return None
        mean = correct[:, own].mean(1)
        values = mean[:, None] + own * (correct - mean[:, None]) / own.mean()
        return Estimate(mean, values, groups)

    def _predictions(self, run: str) -> dict[str, pd.DataFrame]:
        """Target -> what a run predicted, read once."""
        self.asked.append(run)
        if run not in self._kept:
            loaded = frame.load_predictions(self._source.root, self._source.scale, [run])
            self._kept[run] = dict(iter(loaded.groupby("target", sort=False)))
        return self._kept[run]

    def _samples(self, run: str, target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Errors or correctness (K, n) in the score's unit; formula (n,); truth (n,); by id."""
        kept = self._predictions(run)[target]
        wide = kept.pivot(index="id", columns="seed", values="predicted").sort_index()
        first = kept.drop_duplicates("id").set_index("id").loc[wide.index]
        predicted, true = wide.to_numpy(float).T, first["true"].to_numpy(float)
        if target == CRYSTAL_SYSTEM.name:
            found = 100.0 * (predicted == true)
        else:
            unit = Target(target, UNITS.get(target, ""))
            found = unit.metric_factor * np.abs(predicted - true)
        return found, first["formula"].to_numpy(), true


def _scores(label: str, target: str, better: Estimate | None, worse: Estimate | None) -> Comparison:
    is_class = target == SYSTEM
    label = f"{_TARGETS[target]}: {label}"
    return Comparison(label, better, worse, "%" if is_class else "meV/atom", is_class)


def fusion(evidence: Evidence) -> Iterator[Claim]:
    """Bimodal against each modality alone."""
    comparisons = tuple(
        _scores(
            f"bimodal ({BASELINE}) better than {label}",
            target,
            evidence.final(BASELINE, target),
            evidence.final(f"table1/{model}_{suffix}", target),
        )
        for model, label in {"crabnet": "composition alone", "xrd": "XRD alone"}.items()
        for target, suffix in {ENERGY: "energy", SYSTEM: "system"}.items()
    )
    yield Claim("fusion", "Fusion beats both unimodal models on both targets", comparisons)


def pretraining(evidence: Evidence) -> Iterator[Claim]:
    """Each pretraining against none, early in training and at its end."""
    pretrained = {key: label for key, label in PRETRAINING_LABELS.items() if key != "none"}
    for key, label in pretrained.items():
        early = tuple(
            _scores(
                f"at {share:.0%} of training better than none",
                target,
                *(evidence.score(run, f"{target}/{at}") for run in (f"table2/{key}", BASELINE)),
            )
            for at, share in PROGRESS.items()
            for target in _TARGETS
        )
        yield Claim(
            f"early_{key}", f"{label} pretraining beats none at 5, 15 and 25 % of training", early
        )
    for key, label in pretrained.items():
        late = tuple(
            _scores(
                "better than none",
                target,
                *(evidence.final(run, target) for run in (f"table2/{key}", BASELINE)),
            )
            for target in _TARGETS
        )
        yield Claim(f"final_{key}", f"{label} pretraining also improves the final value", late)


def scaling_claims(evidence: Evidence) -> Iterator[Claim]:
    """Exponents and gaps, at equal epochs as in the paper and at equal steps."""
    for control, label in scaling.CONTROLS.items():
        sizes = scaling.sizes(control)
        millions = [scaling.SIZES[size] for size in sizes]
        slopes = {}
        for model in scaling.MODELS:
            runs = [scaling.run_name(model, size, control) for size in sizes]
            losses = _shared([evidence.final(run, ENERGY) for run in runs])
            slopes[model] = log_slope(millions, losses) if losses else None
        yield Claim(
            f"exponent{control}",
            f"The bimodal model gains more from data: its scaling exponent is steeper ({label})",
            (
                Comparison(
                    "scaling exponent: bimodal more negative than composition alone",
                    slopes["xxact"],
                    slopes["crabnet"],
                    higher_is_better=False,
                ),
            ),
        )
        gaps = []
        for size in ("4500k", "1000k"):
            runs = [scaling.run_name(model, size, control) for model in ("crabnet", "xxact")]
            both = _shared([evidence.final(run, ENERGY) for run in runs])
            gaps.append(combined([1, -1], both) if both else None)
        yield Claim(
            f"gap{control}",
            f"The gap between composition alone and bimodal widens with data ({label})",
            (Comparison("gap at full size larger than at 1/4.5", *gaps, "meV/atom"),),
        )


def _shared(estimates: Sequence[Estimate | None]) -> list[Estimate] | None:
    """The estimates over the seeds that all have (the first ones); None where one is missing."""
    if any(estimate is None for estimate in estimates):
        return None
    k = min(len(estimate.by_seed) for estimate in estimates)
    return [
        replace(e, by_seed=e.by_seed[:k], values=None if e.values is None else e.values[:k])
        for e in estimates
    ]


def silhouettes(evidence: Evidence) -> Iterator[Claim]:
    """Unimodal, bimodal, pretrained, in both spaces."""
    pairs = [("none", "crabnet"), ("none", "xrd")]
    pairs += [(key, "none") for key in PRETRAINING_LABELS if key != "none"]
    for space, label in {"embedding": "embedding space", "projection": "2-D projection"}.items():
        comparisons = tuple(
            Comparison(
                f"{EMBEDDED_RUNS[better][0]} above {EMBEDDED_RUNS[worse][0]}",
                *(evidence.score(EMBEDDED_RUNS[k][1], f"{space}/mean") for k in (better, worse)),
            )
            for better, worse in pairs
        )
        statement = f"Silhouettes rise from unimodal to bimodal to pretrained ({label})"
        yield Claim(f"silhouette_{space}", statement, comparisons)


def cubic(evidence: Evidence) -> Iterator[Claim]:
    """Cubic against the system that comes closest, for each model of Table 4."""
    comparisons = []
    for key, (name, run) in EMBEDDED_RUNS.items():
        if key == "crabnet":
            continue
        others = {s: evidence.accuracy(run, s) for s in CRYSTAL_SYSTEMS if s != "cubic"}
        measured = {system: found for system, found in others.items() if found}
        closest = max(measured, key=lambda s: measured[s].mean, default=None)
        label = f"{name}: cubic above every other system (closest: {closest})"
        sides = evidence.accuracy(run, "cubic"), measured.get(closest)
        comparisons.append(Comparison(label, *sides, "%"))
    yield Claim("cubic", "Cubic crystals are the easiest to classify", tuple(comparisons))


GROUPS: tuple[Callable[[Evidence], Iterator[Claim]], ...] = (
    fusion,
    pretraining,
    scaling_claims,
    silhouettes,
    cubic,
)


def claims(source: Source) -> list[Claim]:
    """Every statement, decided together on the results of one scale."""
    evidence = Evidence(source)
    found = []
    for claim in chain.from_iterable(group(evidence) for group in GROUPS):
        # a group is a generator: what was asked for since the last claim is this one's
        found.append(replace(claim, runs=tuple(dict.fromkeys(evidence.asked))))
        evidence.asked.clear()
    return decided(found)


def decided(found: Sequence[Claim]) -> list[Claim]:
    """The statements with the p and the level that they have together (Holm).

    What has nothing to test takes nothing from the others.
    """
    tested = sorted((claim.p, k) for k, claim in enumerate(found) if claim.effects)
    together = list(found)
    adjusted = holm([p for p, _ in tested])
    for rank, (p, (_, k)) in enumerate(zip(adjusted, tested, strict=True)):
        level = LEVEL / 2 / (len(tested) - rank)
        together[k] = replace(found[k], adjusted_p=p, level=level)
    return together
