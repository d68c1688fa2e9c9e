"""Bundles: finished runs with a card, fitted on one split of a store and scored on another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

import xxact
from xxact.data.elements import SYMBOLS
from xxact.data.store import SPLITS, Store
from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP, crystal_system_index
from xxact.errors import UserError
from xxact.inference.card import CARD, Card, ClassCard, Notes, RunCard, ValueCard, write_card
from xxact.inference.probabilities import (
    as_told,
    calibration_error,
    fit_temperatures,
    half_width,
    log_loss,
    probabilities,
    threshold,
    with_systems,
)
from xxact.training.evaluation import in_physical_units
from xxact.training.trained import Trained
from xxact.training.weights import read_weights, save_weights

#: Confidence of the intervals, and how many of the answers that are given may be wrong.
LEVEL, RISK = 0.9, 0.1
#: Splits that temperatures, thresholds and intervals come from, and that they are scored on.
FITTED_ON, SCORED_ON = "validation", "test"
#: Split of the crystals that a model knows.
KNOWN = "train"
#: Folder of a run in a bundle, by whether it needs a formula.
FOLDERS = {True: "with_formula", False: "pattern_only"}


def calibrate(
    runs: Sequence[Path],
    store: Store,
    out: Path,
    risk: float = RISK,
    notes: Notes | None = None,
    known_share: float = 0.0,
) -> Card:
    """Make the bundle `out` of one or two finished runs: their weights in half precision, a card.

    known_share: how much of what temperatures are fitted on is from the training split, in [0, 1):
    a laboratory's samples may well be crystals that the training has, of which a model is surer.
    Thresholds and widths are those for crystals that it has not.

    Raises `UserError` for runs that read no pattern or read the same, for a store without the
    splits or the labels that it takes, for runs that know other classes of a target, and if `out`
    holds a bundle already.
    """
    if (out / CARD).exists():
        raise UserError(f"{out} holds a bundle already: choose another folder")
    for split in (FITTED_ON, SCORED_ON):
        if not len(store.indices(split)):
            raise UserError(f"{store.path} has no example in the split '{split}'")
    trained: dict[str, Trained] = {}
    for run in runs:
        one = Trained(run, store)
        folder = _folder(one)
        if folder in trained:
            needs = "need a formula" if _needs_formula(one) else "read the pattern alone"
            raise UserError(f"both runs {needs}: a bundle holds one of either")
        trained[folder] = one
    _check_classes(list(trained.values()))
    rows = {split: store.indices(split) for split in (FITTED_ON, SCORED_ON)}
    n = len(rows[FITTED_ON])
    rows[KNOWN] = _known_rows(store.indices(KNOWN), n, known_share)
    known_share = len(rows[KNOWN]) / (len(rows[KNOWN]) + n)  # of a small training split less
    told = {
        folder: {split: _told(run, split, some) for split, some in rows.items() if len(some)}
        for folder, run in trained.items()
    }
    cards = []
    for folder, run in trained.items():
        counted = told if _needs_formula(run) else {folder: told[folder]}
        cards.append(_run_card(folder, run, counted, risk, known_share))
    for folder, run in trained.items():
        weights, description = read_weights(run.folder)
        save_weights(out / folder, {name: _halved(x) for name, x in weights.items()}, description)
    card = Card(version=xxact.__version__, runs=tuple(cards), notes=notes)
    write_card(out, card)
    return card


def _known_rows(rows: np.ndarray, n: int, share: float) -> np.ndarray:
    """So many of `rows` that they are `share` of what they are together with `n` others."""
    wanted = min(round(n * share / (1 - share)), len(rows))
    return np.random.default_rng(0).choice(rows, wanted, replace=False)


def _needs_formula(run: Trained) -> bool:
    return "composition" in run.engine.model.uses


def _folder(run: Trained) -> str:
    if "xrd" not in run.engine.model.uses:
        raise UserError(f"{run.folder} reads no pattern: calibrate a run that does")
    return FOLDERS[_needs_formula(run)]


def _check_classes(runs: Sequence[Trained]) -> None:
    """Raises `UserError` where two runs know the same target by other classes."""
    for one, other in itertools.combinations(runs, 2):
        known = {target.name: target.classes for target in one.targets}
        for target in other.targets:
            if known.get(target.name, target.classes) != target.classes:
                raise UserError(f"{one.folder} and {other.folder} differ in classes: {target.name}")


def _halved(values: Tensor) -> Tensor:
    return values.half() if values.is_floating_point() else values


@dataclass(frozen=True)
class _Told:
    """What a run says of the samples of a split, and what is true, by target: logits (n, C) and
    indices of classes (n,), -1 where there is none, or values (n,)."""

    logits: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    true: dict[str, np.ndarray]


def _run_card(
    folder: str,
    run: Trained,
    told: Mapping[str, Mapping[str, _Told]],
    risk: float,
    known_share: float,
) -> RunCard:
    """The card of a run, of what the runs that count say of each split."""
    fit, test = (told[folder][split] for split in (FITTED_ON, SCORED_ON))
    return RunCard(
        folder=folder,
        needs_formula=_needs_formula(run),
        data=run.store.name,
        data_sha256=run.store.content_sha256,
        fitted_on=FITTED_ON,
        known_share=known_share,
        scored_on=SCORED_ON,
        degraded=run.degraded,
        elements=_elements(run.store),
        classes=_class_cards(told, risk),
        values={
            t.name: _value_card(
                t.unit, *(part.values[t.name] - part.true[t.name] for part in (fit, test))
            )
            for t in run.targets
            if not t.is_class
        },
    )


def _told(run: Trained, split: str, rows: np.ndarray) -> _Told:
    true = {target.name: run.true_values(target) for target in run.targets}
    lacking = [name for name, values in true.items() if values is None]
    if lacking:
        raise UserError(f"{run.store.path} has no values of {', '.join(lacking)} to compare with")
    true = {name: values[rows] for name, values in true.items()}
    unlabelled = [t.name for t in run.targets if not t.known(true[t.name]).any()]
    if unlabelled:
        raise UserError(f"no sample of the split '{split}' has a {', '.join(unlabelled)}")
    outputs = run.outputs_of(rows)
    logits = with_systems({t.name: outputs[t.name] for t in run.targets if t.is_class})
    if SPACE_GROUP.name in true:  # a run may have no head for systems
        true.setdefault(CRYSTAL_SYSTEM.name, crystal_system_index(true[SPACE_GROUP.name] + 1))
    return _Told(logits, in_physical_units(outputs, run.standard), true)


def _elements(store: Store) -> tuple[str, ...]:
    """Symbols of the elements that are in the training split."""
    in_training = np.repeat(store.split == SPLITS["train"], np.diff(store.element_offsets))
    return tuple(SYMBOLS[z] for z in np.unique(store.element_z[in_training]))


def _class_cards(told: Mapping[str, Mapping[str, _Told]], risk: float) -> dict[str, ClassCard]:
    (logits, true), (test_logits, test_true) = (
        _joined(told, split) for split in (FITTED_ON, SCORED_ON)
    )
    temperatures = fit_temperatures(*_joined(told, KNOWN, FITTED_ON))
    mean = {name: dict.fromkeys(by_run, len(by_run)) for name, by_run in temperatures.items()}
    fitted = probabilities(logits, temperatures)
    before, after = (probabilities(test_logits, chosen) for chosen in (mean, temperatures))
    cards = {}
    for name in after:
        found, labels = _labelled(name, fitted[name], true[name])
        at = threshold(found.max(1), found.argmax(1) == labels, risk)
        raw, labels = _labelled(name, before[name], test_true[name])
        raw_right = raw.argmax(1) == labels
        found, labels = _labelled(name, after[name], test_true[name])
        sure, right = found.max(1), found.argmax(1) == labels
        answered = sure >= at
        cards[name] = ClassCard(
            temperatures=temperatures[name],
            log_loss=log_loss(found, labels),
            accuracy=float(right.mean()),
            ece_before=calibration_error(raw.max(1), raw_right),
            ece=calibration_error(sure, right),
            threshold=at,
            coverage=float(answered.mean()),
            risk=float(1 - right[answered].mean()) if answered.any() else 0.0,
            n=len(labels),
        )
    return cards


def _joined(
    told: Mapping[str, Mapping[str, _Told]], *splits: str
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Logits by run and target, and what is true by target, of the samples of some splits."""
    logits, true = {}, {}
    for folder, by_split in told.items():
        parts = [by_split[split] for split in splits if split in by_split]
        logits[folder] = {t: np.concatenate([p.logits[t] for p in parts]) for t in parts[0].logits}
        true |= {t: np.concatenate([p.true[t] for p in parts]) for t in parts[0].true}
    return logits, true


def _labelled(target: str, found: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, labels = found[labels >= 0], labels[labels >= 0]
    return found, as_told(target, found, labels)


def _value_card(unit: str, fit_errors: np.ndarray, test_errors: np.ndarray) -> ValueCard:
    fit, test = (
        errors[np.isfinite(errors)].astype(np.float64) for errors in (fit_errors, test_errors)
    )
    width = half_width(fit, LEVEL)
    return ValueCard(
        unit=unit,
        level=LEVEL,
        half_width=width,
        held=float((np.abs(test) <= width).mean()),
        mean_absolute_error=float(np.abs(test).mean()),
        n=len(test),
    )
