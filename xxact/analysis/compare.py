"""Does a rerun agree with the committed results? Number by number, within the spread over seeds.

The numbers are the scores of each run by target: of the last weights on validation and test, the
best on test, and those of the evaluation that was best on validation.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from xxact.analysis import measures as m
from xxact.analysis.provenance import Tree, spec_differences
from xxact.analysis.render import mean_and_std
from xxact.experiments.result import Result, Scores

SAME = "identical"
WITHIN = "within spread"
OUTSIDE = "outside spread"
NO_SPREAD = "no spread to judge by"
ABSENT = "not run there"
OTHER_SPEC = "not comparable"

RULE = (
    "Difference: rerun less committed over the seeds that both have (over all if they share none). "
    "Identical: each of these seeds gives the same number. Within spread: the difference is at "
    "most twice the root of the sum of both variances over seeds, where a side with one seed takes "
    "the other's variance. With one seed on both sides there is no spread to judge by, and only a "
    "difference of more than a tenth of the committed number counts as outside."
)
#: Largest difference, of the committed number, that is passed where no spread is known.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Row:
    """One number of one run, on both sides by seed."""

    scale: str
    run: str
    metric: str
    unit: str
    rerun: dict[int, float]
    committed: dict[int, float]
    remark: str = ""

    @property
    def verdict(self) -> str:
        """How far both sides agree."""
        if self.remark:
            return OTHER_SPEC
        if not self.committed:
            return ABSENT
        if self.shared and all(self.rerun[k] == self.committed[k] for k in self.shared):
            return SAME
        sides = (self.rerun.values(), self.committed.values())
        spreads = [statistics.variance(side) for side in sides if len(side) > 1]
        if not spreads:
            far = abs(self.difference) > TOLERANCE * abs(statistics.fmean(self.committed.values()))
            return OUTSIDE if far else NO_SPREAD
        spread = math.sqrt(spreads[0] + spreads[-1])
        return WITHIN if abs(self.difference) <= 2 * spread else OUTSIDE

    @property
    def shared(self) -> list[int]:
        """Seeds that both sides have."""
        return sorted(set(self.rerun) & set(self.committed))

    @property
    def difference(self) -> float:
        """Rerun less committed: over the seeds that both have, over all if they share none."""
        seeds = self.shared
        own = [self.rerun[k] for k in seeds or self.rerun]
        other = [self.committed[k] for k in seeds or self.committed]
        return statistics.fmean(own) - statistics.fmean(other)


def _scores(result: Result) -> Iterator[tuple[str, Scores]]:
    """The scores of a run that are compared, by name."""
    metrics = result.metrics
    yield "final validation", metrics.final.validation or {}
    yield "final test", metrics.final.test or {}
    yield "best on test", metrics.best_on_test or {}
    yield "selected test", (metrics.selected and metrics.selected.test) or {}


def _numbers(results: tuple[Result, ...]) -> dict[tuple[str, str], dict[int, float]]:
    """(name, unit) -> seed -> number."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for result in results:
        for reading, scores in _scores(result):
            for target, score in scores.items():
                for metric, value in score.items():
                    if metric == "n" or value is None:
                        continue
                    trained = target != "objective"
                    name = f"{reading}, {target if trained else metric}"
                    unit = m.unit_of(target, metric) if trained else ""
                    found.setdefault((name, unit), {})[result.seed] = value
    return found


def compare(rerun: Tree, committed: Tree) -> list[Row]:
    """One row per score of the rerun."""
    rows = []
    for run in rerun.runs:
        own, other = rerun.results(run), committed.results(run)
        remark = _remark(own[0], other[0]) if other else ""
        there = _numbers(other)
        for (metric, unit), values in _numbers(own).items():
            row = Row(rerun.scale, run, metric, unit, values, there.get((metric, unit), {}), remark)
            rows.append(row)
    return rows


def _remark(own: Result, other: Result) -> str:
    differing = spec_differences(own, other)
    if own.data.content_sha256 != other.data.content_sha256:
        mine, theirs = own.data.content_sha256[:12], other.data.content_sha256[:12]
        differing.append(f"data ({mine} and {theirs})")
    return ", ".join(differing)


def render(rows: list[Row]) -> str:
    """The comparison as text, one line a number, and a summary."""
    lines, run = [], None
    for row in rows:
        if row.run != run:
            run = row.run
            remark = f": differs in {row.remark}" if row.remark else ""
            lines.append(f"{row.scale} {row.run}{remark}")
        committed = _text(row.committed, row.unit) if row.committed else "-"
        difference = f"{row.difference:+.3g}" if row.committed else "-"
        unit = f" {row.unit}" if row.unit else ""
        lines.append(
            f"  {row.metric:<46} {_text(row.rerun, row.unit):>16} | {committed:>16}{unit:<9}"
            f" {difference:>9}  {row.verdict}"
        )
    counts = {v: sum(row.verdict == v for row in rows) for v in VERDICTS}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return "\n".join([*lines, "", f"{len(rows)} numbers: {summary or 'nothing to compare'}", RULE])


VERDICTS = (SAME, WITHIN, OUTSIDE, NO_SPREAD, ABSENT, OTHER_SPEC)


def _text(values: dict[int, float], unit: str) -> str:
    return mean_and_std(list(values.values()), unit)
