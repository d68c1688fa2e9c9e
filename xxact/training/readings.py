"""The readings of a learning curve, and what the model predicted at each of them.

"final" is the last evaluation; "selected" the one that is best on the validation split;
"best_on_test" the best on the test split, each target on its own, as the paper reads its curves;
and "p05", "p15" and "p25" are those early in the training that its Table 2 has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xxact.data.targets import Target

CRITERION = "smallest geometric mean of the validation errors"

#: Shares of the training after which Table 2 is read, and how far off an evaluation may be.
EARLY = {"p05": 0.05, "p15": 0.15, "p25": 0.25}
EARLY_TOLERANCE = 0.005

#: An evaluation during training: its step, and scores by split and target.
Entry = dict[str, Any]


def select_on_validation(curve: Sequence[Entry], targets: Sequence[Target]) -> Entry:
    """The evaluation whose validation errors have the smallest geometric mean.

    The error of a class target is 100 % less its accuracy, so that targets of different units
    weigh the same. The first of several that are equal.
    """

    def error(entry: Entry) -> float:
        total = 0.0
        for target in targets:
            value = entry["validation"][target.name][target.metric]
            if value is None:
                continue
            total += math.log(max(100 - value if target.is_class else value, 1e-9))
        return total

    return min(curve, key=error)


def best_on_test(curve: Sequence[Entry], target: Target) -> Entry | None:
    """The evaluation with the best test score of `target`; None where no test sample has a label.

    The first of several that are equal.
    """

    def value(entry: Entry) -> float | None:
        return entry["test"][target.name][target.metric]

    scored = [entry for entry in curve if value(entry) is not None]
    pick = max if target.higher_is_better else min
    return pick(scored, key=value) if scored else None


def kept_of_last(
    curve: Sequence[Entry], targets: Sequence[Target], predictions: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Of the test `predictions` (n,) at the last evaluation, those that a reading is of so far.

    By reading and target; a curve has one last evaluation after another, and what is given for
    the same reading and target later takes the place of the earlier.
    """
    last = curve[-1]
    progress = [entry["progress"] for entry in curve]
    place = len(curve) - 1
    kept = {name: predictions for name, share in EARLY.items() if early(progress, share) == place}
    if "validation" in last and select_on_validation(curve, targets) is last:
        kept["selected"] = predictions
    best = {t.name: predictions[t.name] for t in targets if best_on_test(curve, t) is last}
    return kept | ({"best_on_test": best} if best else {})


def early(progress: Sequence[float], share: float) -> int | None:
    """Which evaluation is nearest to a share of the training, by their `progress`; None where
    there is none near to it. The first of several that are equal."""
    nearest = min(range(len(progress)), key=lambda k: abs(progress[k] - share))
    return nearest if abs(progress[nearest] - share) <= EARLY_TOLERANCE else None
