"""Patterns and formulas to answers, with the weights in the package or a run of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from xxact.data.batches import COMPOSITION_SIZES, Batch
from xxact.data.elements import SYMBOLS
from xxact.data.formula import parse_formula
from xxact.data.targets import CRYSTAL_SYSTEM, Target
from xxact.errors import UserError
from xxact.inference.answer import Answer, Classes, Value
from xxact.inference.card import RunCard, read_card
from xxact.inference.cleanup import Cleaned, clean
from xxact.inference.measured import Measured
from xxact.inference.probabilities import as_told, probabilities, with_systems
from xxact.inference.radiation import of_word
from xxact.inference.readers import read_pattern
from xxact.training.evaluation import in_physical_units
from xxact.training.trained import FinishedRun
from xxact.xrd.grid import N_POINTS, TWO_THETA_MIN_DEG, TWO_THETA_STEP_DEG

#: The bundle in the package.
SHIPPED = Path(__file__).parent / "weights"
#: Points of a window that is hidden from the model to see whether it matters: 5 degrees.
WINDOW = 250
#: Change of the probability of each target's best class, by the ends of what is hidden, in degrees.
Windows = Mapping[str, Mapping[tuple[float, float], float]]
_NOTHING: Mapping = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Sample:
    """A pattern ready for a model, and a composition: atomic numbers and atomic fractions (E,)."""

    measured: Measured
    cleaned: Cleaned
    formula: str | None = None
    elements: np.ndarray | None = None
    fractions: np.ndarray | None = None


class Predictor:
    """The runs of a bundle, or one run alone, whose probabilities are then not calibrated.

    With a formula, energy and gap come from the run that reads it, crystal system and space group
    from both; without one, the run for patterns alone answers.

    Runs are loaded when they are first needed. Raises `UserError` for a folder that is neither.
    """

    def __init__(self, model: Path | str | None = None) -> None:
        self.folder = Path(model) if model is not None else SHIPPED
        self.card = read_card(self.folder)
        self._runs: dict[str, _Run] = {}
        if self.card is None:
            if model is None:
                raise UserError("this installation has no weights: name a run with --model RUN")
            self._runs[""] = _Run(self.folder, None)

    def predict(
        self,
        pattern: Path | str | Measured,
        formula: str | None = None,
        wavelength: str | None = None,
        windows: bool = False,
        standard: str | None = None,
    ) -> Answer:
        """The answer to one pattern, in a file or as `measured_pattern` makes it.

        wavelength: as `--wavelength` takes it: `CuKa`, `1.5406`. windows: whether to find out
        which parts of the pattern the answer rests on. standard: what was mixed into the sample,
        `Si` or `LaB6`, of `xxact.inference.standard`.
        Raises `UserError` for what is no pattern or no formula, and for a standard without lines.
        """
        return self.predict_all([self.sample(pattern, formula, wavelength, standard)], windows)[0]

    def sample(
        self,
        pattern: Path | str | Measured,
        formula: str | None = None,
        wavelength: str | None = None,
        standard: str | None = None,
    ) -> Sample:
        """A pattern as `predict_all` takes it."""
        elements = fractions = None
        if formula is not None:
            elements, fractions = composition_of(formula)
            if standard is not None and _is_one(elements, fractions, standard):
                raise UserError(
                    f"{formula} is the standard, whose lines are taken out: leave out one of them"
                )
        if not isinstance(pattern, Measured):
            pattern = read_pattern(pattern, of_word(wavelength) if wavelength else None)
        try:
            cleaned = clean(pattern, standard)
        except UserError as error:
            raise UserError(f"{pattern.name}: {error}") from None
        return Sample(pattern, cleaned, formula, elements, fractions)

    def predict_all(self, samples: Sequence[Sample], windows: bool = False) -> list[Answer]:
        """The answers to some samples, computed together."""
        answers: dict[int, Answer] = {}
        by_run: dict[str, list[int]] = {}
        for k, sample in enumerate(samples):
            by_run.setdefault(self._choose(sample), []).append(k)
        for folder, places in by_run.items():
            run = self._run(folder)
            told = [k for k in places if not samples[k].cleaned.doubts]
            answers |= {k: self._answer(samples[k], run) for k in places}
            found = run.tell([samples[k] for k in told])
            for k, (classes, values) in zip(told, found, strict=True):
                parts = run.windows(samples[k], classes) if windows else {}
                answers[k] = self._answer(samples[k], run, classes, values, parts)
        return [answers[k] for k in range(len(samples))]

    def _choose(self, sample: Sample) -> str:
        """Folder of the run that answers: the one with the formula where its elements are known."""
        if self.card is None:
            run = self._runs[""]
            if run.needs_formula and sample.formula is None:
                raise UserError(f"the model {self.folder} needs a formula: give it with --formula")
            return ""
        folders = {card.needs_formula: card for card in self.card.runs}
        with_formula, alone = folders.get(True), folders.get(False)
        has_formula = sample.formula is not None
        if with_formula and has_formula and (not alone or not _unseen(sample, with_formula)):
            return with_formula.folder
        if alone is None:
            raise UserError(f"the model {self.folder} needs a formula: give it with --formula")
        return alone.folder

    def _run(self, folder: str) -> _Run:
        if folder not in self._runs:
            card = next(card for card in self.card.runs if card.folder == folder)
            counted = {name for found in card.classes.values() for name in found.temperatures}
            others = [self._run(name) for name in sorted(counted - {folder})]
            self._runs[folder] = _Run(self.folder / folder, card, others)
        return self._runs[folder]

    def _answer(
        self,
        sample: Sample,
        run: _Run,
        classes: Mapping[str, Classes] = _NOTHING,
        values: Mapping[str, Value] = _NOTHING,
        windows: Windows = _NOTHING,
    ) -> Answer:
        warnings, doubts = list(sample.measured.remarks), list(sample.cleaned.doubts)
        unseen = [] if self.card is None else _unseen(sample, *self.card.runs)
        if unseen and run.needs_formula:
            doubts.append(f"{', '.join(unseen)}: in no formula of the training")
            classes = values = windows = _NOTHING
        elif unseen:
            warnings.append(
                f"{', '.join(unseen)}: in no formula of the training, so the pattern alone answers"
            )
        elif sample.formula is not None and not run.needs_formula:
            warnings.append("this model reads the pattern alone: the formula was not used")
        if not sample.cleaned.is_whole and not run.reads_unmeasured:
            warnings.append(
                "this model knows whole patterns alone, from 5 to 90 degrees: what was not measured"
                " is zero to it"
            )
        if run.card is None:
            warnings.append(
                "probabilities are not calibrated: `xxact calibrate` makes a bundle of this run"
            )
        return Answer(
            measured=sample.measured,
            cleaned=sample.cleaned,
            formula=sample.formula,
            model=str(run.folder if self.folder != SHIPPED else run.folder.name),
            classes=dict(classes),
            values=dict(values),
            doubts=tuple(doubts),
            warnings=tuple(warnings),
            windows=dict(windows),
        )


def composition_of(formula: str) -> tuple[np.ndarray, np.ndarray]:
    """Ascending atomic numbers (E,) and atomic fractions (E,) of a formula. Raises `UserError` for
    one that cannot be read, or in which an element has the amount 0."""
    elements, amounts = parse_formula(formula)
    if not np.all(amounts > 0):
        raise UserError(f"'{formula:.80}': {SYMBOLS[elements[amounts <= 0][0]]} has the amount 0")
    order = np.argsort(elements)
    return elements[order], (amounts / amounts.sum())[order]


def _is_one(elements: np.ndarray, fractions: np.ndarray, formula: str) -> bool:
    """Whether a composition is that of `formula`."""
    others, of_others = composition_of(formula)
    return np.array_equal(elements, others) and np.allclose(fractions, of_others, atol=1e-6)


def _unseen(sample: Sample, *cards: RunCard) -> list[str]:
    """Elements of a sample that no training formula of these runs has."""
    seen = {symbol for card in cards for symbol in card.elements}
    symbols = [] if sample.elements is None else [SYMBOLS[z] for z in sample.elements]
    return [symbol for symbol in symbols if symbol not in seen]


class _Run:
    """A finished run, its card, if it has one, and the other runs that its classes come from."""

    def __init__(self, folder: Path, card: RunCard | None, others: Sequence[_Run] = ()) -> None:
        self.folder, self.card = folder, card
        self.by_folder = {run.folder.name: run for run in (*others, self)}
        self.finished = FinishedRun(folder)
        self.model = self.finished.engine.model
        if "xrd" not in self.model.uses:
            raise UserError(f"{folder} reads no pattern, only the formula")
        self.needs_formula = "composition" in self.model.uses
        self.reads_unmeasured = self.model.reads_unmeasured

    def tell(self, samples: Sequence[Sample]) -> list[tuple[dict[str, Classes], dict[str, Value]]]:
        """Classes and values, by target, of each sample."""
        if not samples:
            return []
        patterns = np.stack([sample.cleaned.pattern for sample in samples])
        classes, values = self._outputs(patterns, samples)
        return [
            (
                {name: self._class(name, found[k]) for name, found in classes.items()},
                {t.name: self._value(t, values[t.name][k]) for t in self._regressions},
            )
            for k in range(len(samples))
        ]

    def windows(self, sample: Sample, classes: Mapping[str, Classes]) -> Windows:
        """How the probability of the best class of each target changes without each window."""
        pattern = sample.cleaned.pattern
        seen = np.isfinite(pattern)
        starts = [k for k in range(0, N_POINTS, WINDOW) if seen[k : k + WINDOW].any()]
        patterns = np.repeat(pattern[None], len(starts), axis=0)  # (windows, 4250)
        for row, start in zip(patterns, starts, strict=True):
            row[start : start + WINDOW] = np.nan
        without, _ = self._outputs(patterns, [sample] * len(starts))
        places = TWO_THETA_MIN_DEG + TWO_THETA_STEP_DEG * np.array(starts)
        ends = [(place, place + WINDOW * TWO_THETA_STEP_DEG) for place in places.tolist()]
        changes = {}
        for name, found in classes.items():
            best = np.full(len(starts), self._names(name).index(found.best))
            best = as_told(name, without[name], best)
            after = without[name][np.arange(len(starts)), best]
            before = found.probabilities[found.best]
            changes[name] = dict(zip(ends, (after - before).tolist(), strict=True))
        return changes

    @property
    def _regressions(self) -> list[Target]:
        return [target for target in self.finished.targets if not target.is_class]

    def _outputs(
        self, patterns: np.ndarray, samples: Sequence[Sample]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Probabilities (B, C) and values (B,), by target, of patterns (B, 4250)."""
        found = {name: run._own(patterns, samples) for name, run in self.by_folder.items()}
        logits = {name: own for name, (own, _) in found.items()}
        own, values = found[self.folder.name]
        temperatures = {name: {self.folder.name: 1.0} for name in own}
        if self.card:
            temperatures = {name: card.temperatures for name, card in self.card.classes.items()}
        return probabilities(logits, temperatures), values

    def _own(
        self, patterns: np.ndarray, samples: Sequence[Sample]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Logits (B, C) and values (B,) of this run, by target."""
        if not self.reads_unmeasured:
            patterns = np.nan_to_num(patterns)
        device = self.finished.engine.device
        elements, fractions = _padded(samples)
        batch = Batch(*(torch.from_numpy(x).to(device) for x in (elements, fractions, patterns)))

        def gather(part: slice) -> Batch:
            return Batch(batch.elements[part], batch.fractions[part], batch.pattern[part])

        outputs = self.finished.outputs(gather, len(samples))
        logits = {t.name: outputs[t.name] for t in self.finished.targets if t.is_class}
        numbers = {name: x for name, x in outputs.items() if name not in logits}
        return with_systems(logits), in_physical_units(numbers, self.finished.standard)

    def _names(self, target: str) -> tuple[str, ...]:
        own = {t.name: t.classes for run in self.by_folder.values() for t in run.finished.targets}
        return own.get(target, CRYSTAL_SYSTEM.classes)

    def _class(self, name: str, found: np.ndarray) -> Classes:
        order = np.argsort(-found, kind="stable")
        classes = {self._names(name)[k]: float(found[k]) for k in order}
        card = self.card.classes.get(name) if self.card else None
        if card is None or found[order[0]] >= card.threshold:
            return Classes(classes)
        return Classes(
            classes,
            f"{found[order[0]]:.1%} is less than the {card.threshold:.1%} from which on"
            f" {card.risk:.0%} of the answers are wrong"
            if card.coverage
            else "this model is never sure enough of it",
        )

    def _value(self, target: Target, value: float) -> Value:
        card = self.card.values.get(target.name) if self.card else None
        if card is None:
            return Value(float(value), target.unit)
        low, high = float(value - card.half_width), float(value + card.half_width)
        return Value(float(value), target.unit, low, high, card.level)


def _padded(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers (B, E) int64 and fractions (B, E) float32, 0 where padded."""
    longest = max(len(s.elements) if s.elements is not None else 1 for s in samples)
    width = min((size for size in COMPOSITION_SIZES if size >= longest), default=longest)
    elements = np.zeros((len(samples), width), dtype=np.int64)
    fractions = np.zeros((len(samples), width), dtype=np.float32)
    for k, sample in enumerate(samples):
        if sample.elements is not None:
            elements[k, : len(sample.elements)] = sample.elements
            fractions[k, : len(sample.elements)] = sample.fractions
    return elements, fractions
