"""Does a rerun agree with what is committed? Judged score by score by the spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.analysis.provenance import read_tree, spec_differences
from xxact.analysis.render import mean_and_std
from xxact.experiments.result import Result

if TYPE_CHECKING:
    import pandas as pd

SAME = "identical"
WITHIN = "within spread"
OUTSIDE = "outside spread"
NO_SPREAD = "no spread to judge by"
ABSENT = "not run there"
OTHER_SPEC = "not comparable"
VERDICTS = (SAME, WITHIN, OUTSIDE, NO_SPREAD, ABSENT, OTHER_SPEC)
SIDES = ["rerun", "committed"]

RULE = (
    "Difference: rerun less committed over the seeds that both have (over all if they share none). "
    "Identical: each of these seeds gives the same number. Within spread: the difference is at "
    "most twice the root of the sum of both variances over seeds, where a side with one seed takes "
    "the other's variance. With one seed on both sides there is no spread to judge by, and only a "
    "difference of more than a tenth of the committed number counts as outside."
)
#: Largest difference, of the committed number, that is passed where no spread is known.
TOLERANCE = 0.1


def compare(rerun: Path, committed: Path) -> pd.DataFrame:
    """A row a score of the rerun: scale, run, score, unit, both sides, difference and verdict.

    rerun, committed: mean and spread as text; remark: in what the specs or the data differ.
    """
    import pandas as pd

    keys = ["scale", "run", "score", "unit"]
    sides = zip(SIDES, (rerun, committed), strict=True)
    scores = pd.concat([_scores(root).assign(side=side) for side, root in sides])
    remarks = _remarks(rerun, committed)
    found = []
    for key, own in scores.groupby(keys, sort=False):
        by_seed = own.pivot(index="seed", columns="side", values="value").reindex(columns=SIDES)
        if by_seed["rerun"].notna().any():
            remark = remarks.get(key[:2], "")
            verdict = OTHER_SPEC if remark else judged(by_seed)
            numbers = [list(by_seed[side].dropna()) for side in SIDES]
            texts = [mean_and_std(own, key[-1]) if own else "-" for own in numbers]
            found.append((*key, *texts, difference(by_seed), verdict, remark))
    return pd.DataFrame(found, columns=[*keys, *SIDES, "difference", "verdict", "remark"])


def difference(by_seed: pd.DataFrame) -> float:
    """Rerun less committed: over the seeds that both have, over all if they share none."""
    shared = by_seed.dropna()
    means = (shared if len(shared) else by_seed).mean()
    return means["rerun"] - means["committed"]


def judged(by_seed: pd.DataFrame) -> str:
    """How far both sides agree, by `RULE`; a row a seed, NaN where a side has not run it."""
    shared, far = by_seed.dropna(), abs(difference(by_seed))
    if math.isnan(far):
        return ABSENT
    if len(shared) and (shared["rerun"] == shared["committed"]).all():
        return SAME
    spreads = by_seed.var().dropna()
    if spreads.empty:
        return OUTSIDE if far > TOLERANCE * abs(by_seed["committed"].mean()) else NO_SPREAD
    return WITHIN if far <= 2 * math.sqrt(spreads.iloc[0] + spreads.iloc[-1]) else OUTSIDE


def _scores(root: Path) -> pd.DataFrame:
    """The scores on validation and test, each with its name in words."""
    found = frame.load(root).dropna(subset="value")
    found = found[found["split"].isin(["validation", "test"])]
    reading = (found["reading"] + " " + found["split"]).replace("best_on_test test", "best on test")
    what = found["target"].where(found["target"] != "objective", found["metric"])
    return found.assign(score=reading + ", " + what)


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


def render(rows: pd.DataFrame) -> str:
    """The comparison as text, one line a number, and a summary."""
    shown = rows.set_index(["scale", "run", "score"])[[*SIDES, "unit", "difference", "verdict"]]
    shown["difference"] = [
        f"{value:+.3g}" if value == value else "-" for value in rows["difference"]
    ]
    differing = rows[rows["remark"] != ""].drop_duplicates(["scale", "run"]).itertuples()
    remarks = [f"{row.scale} {row.run} differs in {row.remark}" for row in differing]
    counts = rows["verdict"].value_counts()
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts)
    total = f"{len(rows)} numbers: {summary or 'nothing to compare'}"
    table = shown.rename_axis([None] * 3).to_string() if len(rows) else ""
    return "\n".join([table, *remarks, "", total, RULE])
