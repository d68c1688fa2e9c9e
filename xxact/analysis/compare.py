"""Does a rerun agree with what is committed? Judged score by score by the spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xxact.analysis import frame
from xxact.analysis.provenance import read_tree, spec_differences
from xxact.analysis.render import mean_and_std
from xxact.experiments.result import Result

SAME = "identical"
WITHIN = "within spread"
OUTSIDE = "outside spread"
NO_SPREAD = "no spread to judge by"
ABSENT = "not run there"
OTHER_SPEC = "not comparable"
VERDICTS = (SAME, WITHIN, OUTSIDE, NO_SPREAD, ABSENT, OTHER_SPEC)

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


def compare(rerun: Path, committed: Path) -> list[Row]:
    """One row per score of the rerun."""
    there = dict(_numbers(committed))
    remarks = _remarks(rerun, committed)
    return [
        Row(*key, values, there.get(key, {}), remarks.get(key[:2], ""))
        for key, values in _numbers(rerun)
    ]


def _numbers(root: Path) -> Iterator[tuple[tuple[str, str, str, str], dict[int, float]]]:
    """(scale, run, name, unit) and the number of each seed."""
    scores = frame.load(root).dropna(subset="value")
    scores = scores[scores["split"].isin(["validation", "test"])]
    keys = ["scale", "run", "reading", "split", "target", "metric", "unit"]
    for (scale, run, reading, split, target, metric, unit), own in scores.groupby(keys, sort=False):
        what = metric if target == "objective" else target
        name = f"{reading} {split}" if reading != "best_on_test" else "best on test"
        yield (
            (scale, run, f"{name}, {what}", unit),
            dict(zip(own["seed"], own["value"], strict=True)),
        )


def _remarks(rerun: Path, committed: Path) -> dict[tuple[str, str], str]:
    """(scale, run) -> in what the spec or the data of both sides differ."""
    others = {(result.scale, result.run): result for result in reversed(read_tree(committed))}
    found = {}
    for own in reversed(read_tree(rerun)):
        key = own.scale, own.run
        if key in others:
            found[key] = ", ".join(_differences(own, others[key]))
    return found


def _differences(own: Result, other: Result) -> Iterator[str]:
    yield from spec_differences(own, other)
    if own.data.content_sha256 != other.data.content_sha256:
        mine, theirs = own.data.content_sha256[:12], other.data.content_sha256[:12]
        yield f"data ({mine} and {theirs})"


def render(rows: list[Row]) -> str:
    """The comparison as text, one line a number, and a summary."""
    lines, run = [], None
    for row in rows:
        if (row.scale, row.run) != run:
            run = row.scale, row.run
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


def _text(values: dict[int, float], unit: str) -> str:
    return mean_and_std(list(values.values()), unit)
