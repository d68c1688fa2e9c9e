"""Bundles: finished runs with a card, whose numbers come from the validation split of a store."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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
SPLIT = "validation"
#: Folder of a run in a bundle, by whether it needs a formula.
FOLDERS = {True: "with_formula", False: "pattern_only"}


def calibrate(
    runs: Sequence[Path], store: Store, out: Path, risk: float = RISK, notes: Notes | None = None
) -> Card:
    """Make the bundle `out` of one or two finished runs. Raises `UserError` for runs that read no
    pattern or read the same, and if `out` holds a bundle already."""
    if (out / CARD).exists():
        raise UserError(f"{out} holds a bundle already: choose another folder")
    rows = store.indices(SPLIT)
    if not len(rows):
        raise UserError(f"{store.path} has no example in the split '{SPLIT}'")
    cards: dict[str, RunCard] = {}
    for run in runs:
        card = _run_card(Trained(run, store), rows, risk)
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


def _run_card(run: Trained, rows: np.ndarray, risk: float) -> RunCard:
    uses = run.engine.model.uses
    if "xrd" not in uses:
        raise UserError(f"{run.folder} reads no pattern: calibrate a run that does")
    true = {target.name: run.true_values(target) for target in run.targets}
    lacking = [name for name, values in true.items() if values is None]
    if lacking:
        raise UserError(f"{run.store.path} has no values of {', '.join(lacking)} to compare with")
    true = {name: values[rows] for name, values in true.items()}
    unlabelled = [t.name for t in run.targets if not t.known(true[t.name]).any()]
    if unlabelled:
        raise UserError(f"no sample of the split '{SPLIT}' has a {', '.join(unlabelled)}")
    outputs = run.outputs_of(rows)
    values = in_physical_units(outputs, run.standard)
    needs_formula = "composition" in uses
    return RunCard(
        folder=FOLDERS[needs_formula],
        needs_formula=needs_formula,
        data=run.store.name,
        data_sha256=run.store.content_sha256,
        split=SPLIT,
        degraded=run.degraded,
        elements=_elements(run.store),
        classes=_class_cards(
            {t.name: outputs[t.name] for t in run.targets if t.is_class}, true, risk
        ),
        values={
            t.name: _value_card(t.unit, values[t.name], true[t.name])
            for t in run.targets
            if not t.is_class
        },
    )


def _elements(store: Store) -> tuple[str, ...]:
    """Symbols of the elements that are in the training split."""
    in_training = np.repeat(store.split == SPLITS["train"], np.diff(store.element_offsets))
    return tuple(SYMBOLS[z] for z in np.unique(store.element_z[in_training]))


def _class_cards(
    logits: dict[str, np.ndarray], true: dict[str, np.ndarray], risk: float
) -> dict[str, ClassCard]:
    temperatures = fit_temperatures(logits, true)
    before, after = probabilities(logits, {}), probabilities(logits, temperatures)
    cards = {}
    for name in after:
        labels = true.get(name)
        if labels is None:  # systems that are sums of the run's space groups
            labels = crystal_system_index(true[SPACE_GROUP.name] + 1)
        labelled = labels >= 0
        labels = labels[labelled]
        found, raw = after[name][labelled], before[name][labelled]
        right = found.argmax(1) == labels
        at, coverage, wrong = threshold(found.max(1), right, risk)
        cards[name] = ClassCard(
            temperature=temperatures.get(name, 1.0),
            log_loss=log_loss(found, labels),
            accuracy=float(right.mean()),
            ece_before=calibration_error(raw.max(1), raw.argmax(1) == labels),
            ece=calibration_error(found.max(1), right),
            threshold=at,
            coverage=coverage,
            risk=wrong,
            n=len(labels),
        )
    return cards


def _value_card(unit: str, found: np.ndarray, true: np.ndarray) -> ValueCard:
    known = np.isfinite(true)
    errors = found[known].astype(np.float64) - true[known]
    return ValueCard(
        unit=unit,
        level=LEVEL,
        half_width=half_width(errors, LEVEL),
        mean_absolute_error=float(np.abs(errors).mean()),
        n=len(errors),
    )
