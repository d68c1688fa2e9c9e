"""How well anyone can do who knows the formula alone: the spread of a target within a formula."""

from __future__ import annotations

import numpy as np

from xxact.data.store import SPLITS, Store


def formula_floors(store: Store) -> dict[str, dict[str, dict[str, float | int]]]:
    """Target -> split -> score of the median of each formula, over all samples that have it.

    Of the targets that are numbers and the splits with labels. A composition-only model cannot do
    better but by chance; a sample that has its formula to itself counts with an error of 0.
    """
    import pandas as pd

    formulas = store.formula_keys()
    floors: dict[str, dict[str, dict[str, float | int]]] = {}
    for name, target in store.targets.items():
        if target.is_class:
            continue
        values = pd.Series(store.values(name), dtype=np.float64)
        errors = (values - values.groupby(formulas).transform("median")).abs()
        labelled = {split: errors[store.indices(split)].dropna() for split in reversed(SPLITS)}
        floors[name] = {
            split: {target.metric: float(found.mean() * target.metric_factor), "n": len(found)}
            for split, found in labelled.items()
            if len(found)
        }
    return floors
