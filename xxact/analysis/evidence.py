"""What the results of one scale say of a run: statistics, and what each sample adds to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xxact.analysis import frame, pattern
from xxact.analysis.inference import Estimate, combined, constant, of_scores
from xxact.analysis.quantities import SYSTEM
from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS, UNITS, Target

if TYPE_CHECKING:
    import pandas as pd

    from xxact.analysis.render import Source


class Evidence:
    """Estimates from the results of one scale: kept predictions where there are, scores elsewhere.

    asked: the runs that something was read of.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: dict[str, dict[str, pd.DataFrame]] = {}
        self._embeddings: pd.DataFrame | None = None
        self.asked: list[str] = []

    def score(self, run: str, quantity: str) -> Estimate | None:
        """A score of `quantities` as a mean over its samples: one by one where they were kept."""
        self.asked.append(run)
        kept = self._kept_samples(run, *quantity.split("/"))
        if kept is not None:
            samples, groups = kept
            return Estimate(samples.mean(1), samples, groups)
        reading = quantity.partition("/")[2]
        value = self._source.values.get((run, quantity))
        if value is None or value["mean"] != value["mean"]:
            return None
        lowest, highest = 0.0, math.inf
        if value["target"] == SYSTEM:
            highest = 100.0
        elif reading == "mean" or "explained_variance" in quantity:
            lowest, highest = -1.0, 1.0
        return of_scores(value["values"], int(value["n"]), lowest, highest)

    def error(self, run: str, quantity: str) -> Estimate | None:
        """A score of which less is better: of an accuracy what is left to 100 %."""
        found = self.score(run, quantity)
        if found is None or not quantity.startswith(SYSTEM):
            return found
        return combined([1, -1], [constant(100.0, found), found])

    def slope(self, run: str) -> Estimate | None:
        """The slope of energy differences within formulas (see `pattern`)."""
        self.asked.append(run)
        found = pattern.energies(self._source.root, self._source.scale, [run])
        return None if found["true_difference"].isna().all() else pattern.slope(found)

    def accuracy(self, run: str, system: str) -> Estimate | None:
        """The accuracy of one crystal system, as a mean over all samples."""
        if SYSTEM not in self._predictions(run):
            return self.score(run, f"accuracy/{system}")
        self.asked.append(run)
        correct, groups, true = self._samples(run, SYSTEM)
        own = true == CRYSTAL_SYSTEMS.index(system)
        if not own.any():
            return None
        mean = correct[:, own].mean(1)
        values = mean[:, None] + own * (correct - mean[:, None]) / own.mean()
        return Estimate(mean, values, groups)

    def _kept_samples(
        self, run: str, target: str, reading: str
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """What each sample adds (K, n) to a score, and its formula (n,); None if not kept."""
        if target in frame.SPACES:
            return self._silhouettes(run, target) if reading == "mean" else None
        column = "predicted" if reading == "final" else reading
        kept = self._predictions(run).get(target)
        if kept is None or column not in frame.PREDICTED or kept[column].isna().any():
            return None
        return self._samples(run, target, column)[:2]

    def _silhouettes(self, run: str, space: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Silhouettes (K, n) of a run's samples, and their formulas (n,); None if not kept."""
        if self._embeddings is None:
            self._embeddings = frame.load_embeddings(self._source.root, self._source.scale)
        kept = self._embeddings[self._embeddings["run"] == run]
        known = self._predictions(run).get(SYSTEM)
        if known is None or kept.empty or kept[space].isna().any():
            return None
        wide = kept.pivot(index="id", columns="seed", values=space).sort_index()
        formula = known.drop_duplicates("id").set_index("id").loc[wide.index, "formula"]
        return wide.to_numpy(float).T, formula.to_numpy()

    def _predictions(self, run: str) -> dict[str, pd.DataFrame]:
        """Target -> what a run predicted, read once."""
        if run not in self._kept:
            loaded = frame.load_predictions(self._source.root, self._source.scale, [run])
            self._kept[run] = dict(iter(loaded.groupby("target", sort=False)))
        return self._kept[run]

    def _samples(
        self, run: str, target: str, column: str = "predicted"
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Errors or correctness (K, n) in the score's unit; formula (n,); truth (n,); by id."""
        kept = self._predictions(run)[target]
        wide = kept.pivot(index="id", columns="seed", values=column).sort_index()
        first = kept.drop_duplicates("id").set_index("id").loc[wide.index]
        predicted, true = wide.to_numpy(float).T, first["true"].to_numpy(float)
        if target == CRYSTAL_SYSTEM.name:
            found = 100.0 * (predicted == true)
        else:
            unit = Target(target, UNITS.get(target, ""))
            found = unit.metric_factor * np.abs(predicted - true)
        return found, first["formula"].to_numpy(), true
