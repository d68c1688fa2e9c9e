"""Bundles: finished runs with a card, fitted on one split of a store and scored on another."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import xxact
from xxact.data.elements import SYMBOLS
from xxact.data.store import SPLITS, Store
from xxact.data.targets import SPACE_GROUP, crystal_system_index
from xxact.errors import UserError
from xxact.inference.card import CARD, Card, ClassCard, Notes, RunCard, ValueCard, write_card
from xxact.inference.probabilities import (
    calibration_error,
    fit_temperatures,
    half_width,
    log_loss,
    probabilities,
    threshold,
)
from xxact.training.evaluation import in_physical_units
from xxact.training.trained import Trained
from xxact.training.weights import DESCRIPTION, WEIGHTS

#: Confidence of the intervals, and how many of the answers that are given may be wrong.
LEVEL, RISK = 0.9, 0.1
#: Splits that temperatures, thresholds and intervals come from, and that they are scored on.
FITTED_ON, SCORED_ON = "validation", "test"
#: Folder of a run in a bundle, by whether it needs a formula.
FOLDERS = {True: "with_formula", False: "pattern_only"}


def calibrate(
    runs: Sequence[Path], store: Store, out: Path, risk: float = RISK, notes: Notes | None = None
) -> Card:
    """Make the bundle `out` of one or two finished runs.

    Raises `UserError` for runs that read no pattern or read the same, for a store without the
    splits or the labels that it takes, and if `out` holds a bundle already.
    """
    if (out / CARD).exists():
        raise UserError(f"{out} holds a bundle already: choose another folder")
    for split in (FITTED_ON, SCORED_ON):
        if not len(store.indices(split)):
            raise UserError(f"{store.path} has no example in the split '{split}'")
    cards: dict[str, RunCard] = {}
    for run in runs:
        card = _run_card(Trained(run, store), risk)
        if card.folder in cards:
            needs = "need a formula" if card.needs_formula else "read the pattern alone"
            raise UserError(f"both runs {needs}: a bundle holds one of either")
        cards[card.folder] = card
    for run, card in zip(runs, cards.values(), strict=True):
        (out / card.folder).mkdir(parents=True, exist_ok=True)
        for file in (DESCRIPTION, WEIGHTS):
            shutil.copyfile(run / file, out / card.folder / file)
    card = Card(version=xxact.__version__, runs=tuple(cards.values()), notes=notes)
    write_card(out, card)
    return card


@dataclass(frozen=True)
class _Told:
    """What a run says of the samples of a split, and what is true, by target."""

    logits: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    true: dict[str, np.ndarray]


def _run_card(run: Trained, risk: float) -> RunCard:
    uses = run.engine.model.uses
    if "xrd" not in uses:
        raise UserError(f"{run.folder} reads no pattern: calibrate a run that does")
    fit, test = (_told(run, split) for split in (FITTED_ON, SCORED_ON))
    needs_formula = "composition" in uses
    return RunCard(
        folder=FOLDERS[needs_formula],
        needs_formula=needs_formula,
        data=run.store.name,
        data_sha256=run.store.content_sha256,
        fitted_on=FITTED_ON,
        scored_on=SCORED_ON,
        degraded=run.degraded,
        elements=_elements(run.store),
        classes=_class_cards(fit, test, risk),
        values={
            t.name: _value_card(
                t.unit, *(told.values[t.name] - told.true[t.name] for told in (fit, test))
            )
            for t in run.targets
            if not t.is_class
        },
    )


def _told(run: Trained, split: str) -> _Told:
    rows = run.store.indices(split)
    true = {target.name: run.true_values(target) for target in run.targets}
    lacking = [name for name, values in true.items() if values is None]
    if lacking:
        raise UserError(f"{run.store.path} has no values of {', '.join(lacking)} to compare with")
    true = {name: values[rows] for name, values in true.items()}
    unlabelled = [t.name for t in run.targets if not t.known(true[t.name]).any()]
    if unlabelled:
        raise UserError(f"no sample of the split '{split}' has a {', '.join(unlabelled)}")
    outputs = run.outputs_of(rows)
    logits = {t.name: outputs[t.name] for t in run.targets if t.is_class}
    return _Told(logits, in_physical_units(outputs, run.standard), true)


def _elements(store: Store) -> tuple[str, ...]:
    """Symbols of the elements that are in the training split."""
    in_training = np.repeat(store.split == SPLITS["train"], np.diff(store.element_offsets))
    return tuple(SYMBOLS[z] for z in np.unique(store.element_z[in_training]))


def _class_cards(fit: _Told, test: _Told, risk: float) -> dict[str, ClassCard]:
    temperatures = fit_temperatures(fit.logits, fit.true)
    fitted = probabilities(fit.logits, temperatures)
    before, after = (probabilities(test.logits, chosen) for chosen in ({}, temperatures))
    cards = {}
    for name in after:
        found, labels = _labelled(fitted[name], _labels(fit, name))
        at = threshold(found.max(1), found.argmax(1) == labels, risk)
        found, labels = _labelled(after[name], _labels(test, name))
        raw, _ = _labelled(before[name], _labels(test, name))
        sure, right = found.max(1), found.argmax(1) == labels
        answered = sure >= at
        cards[name] = ClassCard(
            temperature=temperatures.get(name, 1.0),
            log_loss=log_loss(found, labels),
            accuracy=float(right.mean()),
            ece_before=calibration_error(raw.max(1), raw.argmax(1) == labels),
            ece=calibration_error(sure, right),
            threshold=at,
            coverage=float(answered.mean()),
            risk=float(1 - right[answered].mean()) if answered.any() else 0.0,
            n=len(labels),
        )
    return cards


def _labels(told: _Told, name: str) -> np.ndarray:
    """Indices of classes (n,), -1 where there is none; systems may be those of the groups."""
    if name in told.true:
        return told.true[name]
    return crystal_system_index(told.true[SPACE_GROUP.name] + 1)


def _labelled(found: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return found[labels >= 0], labels[labels >= 0]


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
