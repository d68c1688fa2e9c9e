"""From logits to probabilities that agree with each other, and what these are worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS, SPACE_GROUP, crystal_system_index

#: Temperatures are looked for in this range.
_COLDEST, _HOTTEST = 0.05, 20.0
_LEAST = 1e-12
_BINS = 15
#: Crystal system of each space group, and which groups (230, 7) are of which system.
_SYSTEM_OF_GROUP = crystal_system_index(np.arange(1, 231))
_IN_SYSTEM = np.eye(len(CRYSTAL_SYSTEMS))[_SYSTEM_OF_GROUP]
#: Space groups that are mirror images of each other: powder patterns do not tell them apart.
MIRROR_IMAGES = ((76, 78), (91, 95), (92, 96), (144, 145), (151, 153), (152, 154), (169, 170))
MIRROR_IMAGES += ((171, 172), (178, 179), (180, 181), (212, 213))
#: Index (230,) of the mirror image of each, of most the group itself.
_MIRROR = np.arange(230)
for _one, _other in MIRROR_IMAGES:
    _MIRROR[[_one - 1, _other - 1]] = _other - 1, _one - 1


def with_systems(logits: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits (n, C) of a run by target, and where it has those of space groups alone also those of
    crystal systems: of the sums of the groups' probabilities."""
    found = {name: values.astype(np.float64) for name, values in logits.items()}
    if SPACE_GROUP.name in found:
        groups = log_softmax(found[SPACE_GROUP.name], axis=1)
        sums = np.exp(groups) @ _IN_SYSTEM  # (n, 7)
        found.setdefault(CRYSTAL_SYSTEM.name, np.log(np.maximum(sums, _LEAST)))
    return found


def probabilities(
    logits: Mapping[str, Mapping[str, np.ndarray]], temperatures: Mapping[str, Mapping[str, float]]
) -> dict[str, np.ndarray]:
    """Probabilities (n, C) of the classes of each target, of the logits that `with_systems` makes,
    by run and target, and of temperatures by target and run.

    Logits of a run are divided by its temperature, and those of several runs added: the geometric
    mean of their probabilities, each with a weight of its own (C. Genest and J. Zidek,
    https://doi.org/10.1214/ss/1177013825). The space groups of a crystal system share out its
    probability, so that they add up to it; of two that are mirror images of each other the likelier
    one stands for both.
    """
    found = {
        target: softmax(sum(logits[run][target] / t for run, t in by_run.items()), axis=1)
        for target, by_run in temperatures.items()
    }
    if SPACE_GROUP.name in found:
        groups, systems = found[SPACE_GROUP.name], found[CRYSTAL_SYSTEM.name]
        share = groups / np.maximum(groups @ _IN_SYSTEM, _LEAST)[:, _SYSTEM_OF_GROUP]
        found[SPACE_GROUP.name] = _in_pairs(share * systems[:, _SYSTEM_OF_GROUP])
    return found


def _in_pairs(groups: np.ndarray) -> np.ndarray:
    """Probabilities (n, 230) in which the likelier of two mirror images has those of both."""
    images = groups[:, _MIRROR]
    is_first = np.arange(230) < _MIRROR
    is_likelier = np.where(is_first, groups >= images, groups > images)
    pairs = np.where(is_likelier, groups + images, 0.0)
    return np.where(np.arange(230) == _MIRROR, groups, pairs)


def as_told(target: str, found: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Indices of classes (n,), of mirror images those that `probabilities` (n, C) tells of."""
    if target != SPACE_GROUP.name:
        return classes
    rows, images = np.arange(len(classes)), _MIRROR[classes]
    return np.where(found[rows, images] > found[rows, classes], images, classes)


def log_loss(found: np.ndarray, true: np.ndarray) -> float:
    """Mean of -ln p (n, C) of the true classes (n,)."""
    return float(-np.log(np.maximum(found[np.arange(len(true)), true], _LEAST)).mean())


def fit_temperatures(
    logits: Mapping[str, Mapping[str, np.ndarray]], true: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """The temperatures of `probabilities` at which the log loss of the labelled samples is least:
    for one run, C. Guo et al., https://arxiv.org/abs/1706.04599.

    logits: (n, C) by run and target. true: classes (n,) by target, -1 where there is no label. The
    crystal system comes first: the space groups' probabilities depend on it.
    """
    temperatures: dict[str, dict[str, float]] = {}
    targets = dict.fromkeys(target for by_target in logits.values() for target in by_target)
    for target in sorted(targets, key=lambda name: name != CRYSTAL_SYSTEM.name):
        labelled = true[target] >= 0
        part = {
            run: {name: values[labelled] for name, values in by_target.items()}
            for run, by_target in logits.items()
        }
        temperatures[target] = _fitted(target, part, true[target][labelled], temperatures)
    return temperatures


def _fitted(
    target: str,
    logits: Mapping[str, Mapping[str, np.ndarray]],
    true: np.ndarray,
    temperatures: Mapping[str, Mapping[str, float]],
) -> dict[str, float]:
    """The temperatures of a target by run, at those that are known of others."""
    runs = [run for run, by_target in logits.items() if target in by_target]

    def by_run(logs: np.ndarray) -> dict[str, float]:
        return dict(zip(runs, np.exp(logs).tolist(), strict=True))

    def loss(logs: np.ndarray) -> float:
        found = probabilities(logits, {**temperatures, target: by_run(logs)})
        return log_loss(found[target], as_told(target, found[target], true))

    start = np.full(len(runs), np.log(len(runs)))  # the mean of the runs' logits
    bounds = [(np.log(_COLDEST), np.log(_HOTTEST))] * len(runs)
    return by_run(minimize(loss, start, bounds=bounds, method="L-BFGS-B").x)


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = _BINS) -> float:
    """Expected calibration error: |share of right answers - mean confidence|, over bins of equal
    width of the confidence (n,), each with the weight of its samples."""
    gaps = np.bincount(_places(confidence, bins), right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def calibration_error_by_chance(confidence: np.ndarray, bins: int = _BINS) -> float:
    """The mean of `calibration_error` for answers that are right exactly as often as their
    confidence (n,) says: what so few of them leave. The gap of a bin is a sum of as many
    independent terms and taken for normal."""
    variance = np.bincount(_places(confidence, bins), confidence * (1 - confidence), minlength=bins)
    return float(np.sqrt(2 / np.pi * variance).sum() / len(confidence))


def _places(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The bin (n,) of each confidence."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


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
