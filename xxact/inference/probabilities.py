"""From logits to probabilities that agree with each other, and what these are worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS, SPACE_GROUP, crystal_system_index

#: Temperatures are looked for in this range.
_COLDEST, _HOTTEST = 0.05, 20.0
_LEAST = 1e-12
_BINS = 15
#: Crystal system of each space group, and which groups (230, 7) are of which system.
_SYSTEM_OF_GROUP = crystal_system_index(np.arange(1, 231))
_IN_SYSTEM = np.eye(len(CRYSTAL_SYSTEMS))[_SYSTEM_OF_GROUP]


def probabilities(
    logits: Mapping[str, np.ndarray], temperatures: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Probabilities (n, C) of the classes of each target from its logits (n, C).

    Those of space groups add up to those of their crystal system: where a run has a head for
    either, the system comes from its own head and the groups share it out by theirs; where it has
    one for groups alone, systems are sums. Targets that `temperatures` does not name have 1.
    """
    found = {
        name: softmax(values.astype(np.float64) / temperatures.get(name, 1.0), axis=1)
        for name, values in logits.items()
    }
    if SPACE_GROUP.name in found:
        groups = found[SPACE_GROUP.name]
        sums = groups @ _IN_SYSTEM  # (n, 7)
        systems = found.setdefault(CRYSTAL_SYSTEM.name, sums)
        share = groups / np.maximum(sums, _LEAST)[:, _SYSTEM_OF_GROUP]
        found[SPACE_GROUP.name] = share * systems[:, _SYSTEM_OF_GROUP]
    return found


def log_loss(found: np.ndarray, true: np.ndarray) -> float:
    """Mean of -ln p (n, C) of the true classes (n,)."""
    return float(-np.log(np.maximum(found[np.arange(len(true)), true], _LEAST)).mean())


def fit_temperatures(
    logits: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """The temperature of each target with logits that minimises the log loss of its labelled
    samples: C. Guo et al., https://arxiv.org/abs/1706.04599. The crystal system comes first: the
    space groups' probabilities depend on it."""
    temperatures: dict[str, float] = {}
    for name in sorted(logits, key=lambda name: name != CRYSTAL_SYSTEM.name):
        labelled = true[name] >= 0
        part = {key: values[labelled] for key, values in logits.items()}

        def loss(log_temperature: float, name: str = name, part: dict = part) -> float:
            tried = temperatures | {name: float(np.exp(log_temperature))}
            return log_loss(probabilities(part, tried)[name], true[name][true[name] >= 0])

        bounds = (np.log(_COLDEST), np.log(_HOTTEST))
        best = minimize_scalar(loss, bounds=bounds, method="bounded")
        temperatures[name] = float(np.exp(best.x))
    return temperatures


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = _BINS) -> float:
    """Expected calibration error: |share of right answers - mean confidence|, over bins of equal
    width of the confidence (n,), each with the weight of its samples."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def threshold(confidence: np.ndarray, right: np.ndarray, risk: float) -> float:
    """The lowest confidence (n,) at and above which at most the fraction `risk` is wrong, 1.01
    where there is none."""
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order].astype(bool)) / np.arange(1, len(order) + 1)
    sorted_confidence = confidence[order]
    is_last = np.append(sorted_confidence[1:] < sorted_confidence[:-1], True)  # of equal ones
    allowed = np.flatnonzero((wrong <= risk) & is_last)
    return float(sorted_confidence[allowed[-1]]) if allowed.size else 1.01


def half_width(errors: np.ndarray, level: float) -> float:
    """The half-width of an interval that holds a new value with a probability of at least `level`:
    the split-conformal quantile of absolute errors (n,), J. Lei et al.,
    https://arxiv.org/abs/1604.04173; the largest error where there are too few."""
    place = min(int(np.ceil((len(errors) + 1) * level)), len(errors))
    return float(np.sort(np.abs(errors))[place - 1])
