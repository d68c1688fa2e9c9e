"""The paper's conclusions, as stated in `claims.yaml`, and what our results say of them; and
what the open division aims at, as stated in `aims.yaml`.

A statement is a list of comparisons "this is better than that", each with the uncertainty of seeds
and test samples (see `inference`). Everything is read from the last weights, or at a stated share
of the training: "best on test" would favour whatever fluctuates more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xxact.analysis import scaling
from xxact.analysis.evidence import Evidence
from xxact.analysis.inference import (
    Effect,
    Estimate,
    combined,
    constant,
    difference,
    holm,
    log_slope,
    ratio,
)
from xxact.analysis.published import declared
from xxact.analysis.quantities import ENERGY, SYSTEM
from xxact.analysis.tables import EMBEDDED_RUNS, PRETRAINING_LABELS
from xxact.data.targets import CRYSTAL_SYSTEMS

if TYPE_CHECKING:
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
    f"most {LEVEL:.0%} (Holm). Read from the last weights. Where seeds are too few to say it of "
    "training again, the same rule decides about these runs, with the uncertainty of test samples "
    "alone, and the verdict says so. Where a run did not keep what it predicted, "
    "samples are not paired: accuracies and silhouettes have the largest variance that their mean "
    "allows, absolute errors a spread as large as their mean."
)
#: Target -> in words, in the names of runs, its unit, and whether more of it is better.
TARGETS = {
    ENERGY: ("formation energy", "energy", "meV/atom", False),
    SYSTEM: ("crystal system", "system", "%", True),
}
#: What a statement can be made for each of: name -> label.
EACH = {
    "": {"": ""},
    "pretrainings": {key: label for key, label in PRETRAINING_LABELS.items() if key != "none"},
    "changes": {
        "half": "half of the windows hidden",
        "narrow": "windows of 1 degree",
        "sqrt": "square roots to rebuild",
        "linear": "no ReLU at the end",
        "slow": "the paper's own learning rate",
        "all": "all of these but the last",
    },
    "spaces": {"embedding": "embedding space", "projection": "2-D projection"},
}


@dataclass(frozen=True)
class Comparison:
    """Is `better` better than `worse`? None: not run, or nothing was recorded."""

    label: str
    better: Estimate | None
    worse: Estimate | None
    unit: str = ""
    higher_is_better: bool = True
    against: Estimate | None = None  # what `worse` is a share of

    @cached_property
    def effect(self) -> Effect | None:
        """How much better, in `unit`; negative where it is worse."""
        if self.better is None or self.worse is None:
            return None
        sides = (self.better, self.worse)
        return difference(*(sides if self.higher_is_better else sides[::-1]))

    @property
    def ratio(self) -> tuple[float, float, float] | None:
        """`better` over what it is set against, and its 95 % interval."""
        if self.better is None or self.against is None:
            return None
        return ratio(self.better, self.against)

    @property
    def kept(self) -> bool:
        """Whether both sides kept their predictions."""
        sides = (self.better, self.worse)
        return all(side is not None and side.values is not None for side in sides)


@dataclass(frozen=True)
class Judgement:
    """One-sided p of a statement and of its contrary; `adjusted_p` and `level` (what the smaller
    one has to be below) allow for the other statements."""

    p_holds: float = 1.0
    p_fails: float = 1.0
    adjusted_p: float = 1.0
    level: float = LEVEL / 2

    @property
    def p(self) -> float:
        """Of the likelier of both verdicts, two-sided."""
        return min(1.0, 2 * min(self.p_holds, self.p_fails))


def judged(effects: Sequence[Effect], k: int) -> Judgement:
    """By those of `k` comparisons that were run.

    It holds if all of them do: the weakest one counts. One failing is enough, but of k some do by
    chance.
    """
    holds = max(effect.p(1) for effect in effects) if len(effects) == k else 1.0
    return Judgement(holds, min([1.0, *(k * effect.p(-1) for effect in effects)]))


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the comparisons that it amounts to, and what came out.

    again, of_runs: how sure one can be of it of training again, and of these runs. runs: what it
    was judged by.
    """

    key: str
    statement: str
    comparisons: tuple[Comparison, ...]
    again: Judgement = Judgement()
    of_runs: Judgement = Judgement()
    runs: tuple[str, ...] = ()

    @property
    def effects(self) -> list[Effect]:
        """Of the comparisons that were run."""
        return [c.effect for c in self.comparisons if c.effect is not None]

    @property
    def verdict(self) -> str:
        """`HOLDS`, `FAILS`, `UNDECIDED` or `NOT_RUN`."""
        for found in (self.again, self.of_runs):
            if found.adjusted_p < LEVEL:
                return HOLDS if found.p_holds < found.p_fails else FAILS
        return UNDECIDED if len(self.effects) == len(self.comparisons) else NOT_RUN

    @property
    def remark(self) -> str:
        """What has to be said beside the verdict."""
        if self.verdict == NOT_RUN:
            return ""
        words = []
        if any(effect.one_seed for effect in self.effects):
            words.append("one seed" if self.verdict == UNDECIDED else "these runs: one seed")
        elif self.again.adjusted_p >= LEVEL and self.verdict != UNDECIDED:
            seeds = min(min(effect.seeds) for effect in self.effects)
            words.append(f"these runs: {seeds} seeds; of training again it {self._would_decide()}")
        if self.verdict == UNDECIDED:
            words.append(self._would_decide())
        elif not all(c.kept for c in self.comparisons):
            words.append("no predictions kept")
        return "; ".join(words)

    def _would_decide(self) -> str:
        """The test samples or the seeds that would decide it at the differences seen."""
        level = self.again.level
        against = [effect for effect in self.effects if effect.difference < 0]
        if against:
            return min(effect.would_decide(level / len(self.comparisons)) for effect in against)[1]
        return max(effect.would_decide(level) for effect in self.effects)[1]


def by_scores(evidence: Evidence, stated: dict[str, Any], name: str) -> Iterator[Comparison]:
    """A quantity of one run against that of another, on both targets where it is of a target."""
    for own in stated["comparisons"]:
        for target in TARGETS if "{target}" in own["quantity"] else [""]:
            words, short, unit, higher = TARGETS.get(target, ("", "", "", True))
            place = {"name": name, "target": target, "words": words, "short": short}
            filled = {key: text.format(**place) for key, text in own.items()}
            sides = (evidence.score(filled[s], filled["quantity"]) for s in ("better", "worse"))
            yield Comparison(filled["label"], *sides, unit, higher)


def by_ratios(evidence: Evidence, stated: dict[str, Any], name: str) -> Iterator[Comparison]:
    """The error of a run against a share of another's; on both targets where `{target}` says so."""
    for own in stated["comparisons"]:
        for target in TARGETS if "{target}" in own["quantity"] else [""]:
            words, _, unit, _ = TARGETS.get(
                target or own["quantity"].split("/")[0], ("", "", "", 0)
            )
            quantity = own["quantity"].format(target=target)
            better, worse = (evidence.error(own[side], quantity) for side in ("better", "worse"))
            share = worse and combined([own["factor"]], [worse])
            label = own["label"].format(words=words)
            yield Comparison(label, better, share, unit, higher_is_better=False, against=worse)


def by_least(evidence: Evidence, stated: dict[str, Any], name: str) -> Iterator[Comparison]:
    """A quantity of a run against the least that is wanted of it."""
    for own in stated["comparisons"]:
        slope = own["quantity"] == "pattern/slope"
        found = evidence.slope(own["run"]) if slope else evidence.score(own["run"], own["quantity"])
        yield Comparison(own["label"], found, found and constant(own["least"], found))


def by_exponents(evidence: Evidence, stated: dict[str, Any], name: str) -> Iterator[Comparison]:
    """The scaling exponent of the bimodal model against that of composition alone."""
    control, slopes = stated["control"], {}
    millions = [scaling.SIZES[size] for size in scaling.sizes(control)]
    for model in scaling.MODELS:
        runs = [scaling.run_name(model, size, control) for size in scaling.sizes(control)]
        losses = _losses(evidence, runs)
        slopes[model] = log_slope(millions, losses) if losses else None
    label = "scaling exponent: bimodal more negative than composition alone"
    yield Comparison(label, slopes["xxact"], slopes["crabnet"], higher_is_better=False)


def by_gaps(evidence: Evidence, stated: dict[str, Any], name: str) -> Iterator[Comparison]:
    """Composition alone less bimodal, on the whole training split against a part of it."""
    gaps = []
    for size in ("4500k", "1000k"):
        runs = [scaling.run_name(model, size, stated["control"]) for model in scaling.MODELS]
        losses = _losses(evidence, runs)
        gaps.append(combined([1, -1], losses) if losses else None)
    yield Comparison("gap at full size larger than at 1/4.5", *gaps, "meV/atom")


def _losses(evidence: Evidence, runs: Sequence[str]) -> list[Estimate] | None:
    """Energy errors of runs over the seeds that all have (the first ones); None without one."""
    estimates = [evidence.score(run, f"{ENERGY}/final") for run in runs]
    if any(estimate is None for estimate in estimates):
        return None
    k = min(len(estimate.by_seed) for estimate in estimates)
    return [
        replace(e, by_seed=e.by_seed[:k], values=None if e.values is None else e.values[:k])
        for e in estimates
    ]


def by_systems(evidence: Evidence, stated: dict[str, Any], name: str) -> Iterator[Comparison]:
    """Cubic against the system that comes closest, for each model of Table 4 with a pattern."""
    for key, (model, run) in EMBEDDED_RUNS.items():
        if key == "crabnet":
            continue
        others = {s: evidence.accuracy(run, s) for s in CRYSTAL_SYSTEMS if s != "cubic"}
        measured = {system: found for system, found in others.items() if found}
        closest = max(measured, key=lambda s: measured[s].mean, default=None)
        label = f"{model}: cubic above every other system (closest: {closest})"
        yield Comparison(label, evidence.accuracy(run, "cubic"), measured.get(closest), "%")


COMPARED = {
    "scores": by_scores,
    "ratios": by_ratios,
    "least": by_least,
    "exponents": by_exponents,
    "gaps": by_gaps,
    "systems": by_systems,
}


def claims(source: Source, stated_in: str = "claims") -> list[Claim]:
    """Every statement of a YAML, decided together on the results of one scale."""
    evidence, found = Evidence(source), []
    for key, stated in declared(stated_in).items():
        for name, label in EACH[stated.get("each", "")].items():
            evidence.asked.clear()
            comparisons = tuple(COMPARED[stated["by"]](evidence, stated, name))
            label = scaling.CONTROLS.get(stated.get("control"), label)
            statement = stated["statement"].format(label=label)
            runs = tuple(dict.fromkeys(evidence.asked))
            found.append(Claim(key.format(name=name), statement, comparisons, runs=runs))
    return decided(found)


def decided(found: Sequence[Claim]) -> list[Claim]:
    """The statements with how sure one can be of each, given the others (Holm).

    What has nothing to test takes nothing from the others.
    """
    again = [judged(claim.effects, len(claim.comparisons)) for claim in found]
    of_runs = [judged([e.of_runs for e in c.effects], len(c.comparisons)) for c in found]
    tested = [k for k, claim in enumerate(found) if claim.effects]
    sure = zip(found, _together(again, tested), _together(of_runs, tested), strict=True)
    return [replace(claim, again=a, of_runs=runs) for claim, a, runs in sure]


def _together(judgements: Sequence[Judgement], tested: Sequence[int]) -> list[Judgement]:
    """The judgements, of which those at the places `tested` allow for one another."""
    together = list(judgements)
    order = sorted(tested, key=lambda k: judgements[k].p)
    adjusted = holm([judgements[k].p for k in order])
    for rank, (k, p) in enumerate(zip(order, adjusted, strict=True)):
        level = LEVEL / 2 / (len(order) - rank)
        together[k] = replace(judgements[k], adjusted_p=p, level=level)
    return together
