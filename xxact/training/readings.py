"""The three readings of a learning curve, and what the model predicted at each of them.

"final" is the last evaluation; "selected" the one that is best on the validation split; and
"best_on_test" the best on the test split, each target on its own, as the paper reads its curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xxact.data.targets import Target

CRITERION = "smallest geometric mean of the validation errors"

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
) -> dict[str, dict[str, Tensor]]:
    """Of the test `predictions` (n,) at the last evaluation, those that a reading is of so far.

    By reading and target; a curve has one last evaluation after another, and what is given for
    the same reading and target later takes the place of the earlier.
    """
    last, kept = curve[-1], {}
    own = {name: torch.from_numpy(np.asarray(values)) for name, values in predictions.items()}
    if "validation" in last and select_on_validation(curve, targets) is last:
        kept["selected"] = own
    best = {t.name: own[t.name] for t in targets if best_on_test(curve, t) is last}
    return kept | ({"best_on_test": best} if best else {})
