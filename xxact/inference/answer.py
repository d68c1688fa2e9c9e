"""What the models say of one pattern, as data, as text and as a notebook shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP
from xxact.inference.cleanup import Cleaned
from xxact.inference.measured import Measured
from xxact.inference.probabilities import MIRROR_IMAGES

#: So many of the most probable classes are told.
MOST_PROBABLE = 5


@dataclass(frozen=True)
class Classes:
    """Probabilities by class, the most probable first; `doubt` is why they are no answer."""

    probabilities: dict[str, float]
    doubt: str = ""

    @property
    def best(self) -> str:
        """The most probable class."""
        return next(iter(self.probabilities))

    @property
    def known(self) -> bool:
        """Whether the most probable class is an answer."""
        return not self.doubt


@dataclass(frozen=True)
class Value:
    """A number in `unit`, with the interval that holds `level` of the true ones, if known."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    level: float | None = None

    def __str__(self) -> str:
        text = f"{self.value:.3f} {self.unit}".strip()
        if self.low is None:
            return text
        return f"{text} ({self.low:.3f} to {self.high:.3f} in {self.level:.0%} of cases)"


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known of a pattern.

    classes, values: by target; empty where `doubts` say why nothing can be told.
    model: which run answered, together with those that its card names. warnings: what to keep in
    mind.
    windows: change of the probability of the best class of each target without a part of the
    pattern, by the part's ends in degrees, where that was asked for.
    """

    measured: Measured
    cleaned: Cleaned
    formula: str | None
    model: str
    classes: dict[str, Classes] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    windows: dict[str, dict[tuple[float, float], float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The answer in plain types, as `--json` writes it."""
        return {
            "file": self.measured.name,
            "formula": self.formula,
            "known": not self.doubts,
            "why_not": list(self.doubts),
            **{
                name: {
                    "answer": found.best if found.known else None,
                    "why_not": found.doubt,
                    "probabilities": {
                        key: round(p, 6)
                        for key, p in list(found.probabilities.items())[: _shown(name)]
                    },
                }
                for name, found in self.classes.items()
            },
            **{
                name: {
                    "value": found.value,
                    "unit": found.unit,
                    "low": found.low,
                    "high": found.high,
                    "level": found.level,
                }
                for name, found in self.values.items()
            },
            "pattern": {
                "points": len(self.measured.counts),
                "two_theta_deg": [float(self.measured.two_theta_deg[k]) for k in (0, -1)],
                "wavelengths_angstrom": [
                    w
                    for w in (self.measured.radiation.alpha1, self.measured.radiation.alpha2)
                    if w is not None
                ],
                "wavelength_from": self.measured.radiation.learned_from,
                "covered_deg": round(self.cleaned.covered_deg, 2),
                "lines": self.cleaned.n_lines,
                "steps": list(self.cleaned.steps),
            },
            "model": self.model,
            "warnings": list(self.warnings),
        }

    def as_row(self) -> dict[str, Any]:
        """The answer in one line of a table, as `--csv` writes it."""
        row: dict[str, Any] = {"file": self.measured.name, "formula": self.formula or ""}
        for target in (CRYSTAL_SYSTEM.name, SPACE_GROUP.name):
            found = self.classes.get(target)
            row[target] = found.best if found and found.known else ""
            row[f"{target}_best"] = found.best if found else ""
            row[f"{target}_probability"] = f"{found.probabilities[found.best]:.4f}" if found else ""
        for name, found in self.values.items():
            row[name] = f"{found.value:.4f}"
            if found.low is not None:
                row[f"{name}_low"], row[f"{name}_high"] = f"{found.low:.4f}", f"{found.high:.4f}"
        doubts = [*self.doubts, *(found.doubt for found in self.classes.values())]
        row["why_not"] = "; ".join(filter(None, doubts))
        row["warnings"] = "; ".join(self.warnings)
        return row

    def __str__(self) -> str:
        lines = [f"{self.measured.name}" + (f", {self.formula}" if self.formula else "")]
        lines += [f"  I do not know: {doubt}" for doubt in self.doubts]
        for name, found in self.classes.items():
            label = name.replace("_", " ")
            lines.append(f"  {label}: {found.best if found.known else 'I do not know'}")
            if found.doubt:
                lines.append(f"    {found.doubt}")
            for key, p in list(found.probabilities.items())[:MOST_PROBABLE]:
                lines.append(f"    {p:6.1%}  {class_name(name, key)}")
        lines += [f"  {name.replace('_', ' ')}: {found}" for name, found in self.values.items()]
        first, last = self.measured.two_theta_deg[[0, -1]]
        lines.append(
            f"  pattern: {len(self.measured.counts)} points, {first:g} to {last:g} degrees,"
            f" {self.measured.radiation} (from: {self.measured.radiation.learned_from}),"
            f" {self.cleaned.covered_deg:.1f} of 85 degrees seen, {self.cleaned.n_lines} lines"
        )
        lines += [f"    {step}" for step in self.cleaned.steps]
        lines += [f"  note: {warning}" for warning in self.warnings]
        return "\n".join([*lines, f"  model: {self.model}"])

    def _repr_html_(self) -> str:
        from xxact.inference.page import section

        return section(self)


def class_name(target: str, key: str) -> str:
    """A class in words: of a space group, the number and the symbol, and those of the mirror image
    that it stands for too."""
    if target != SPACE_GROUP.name:
        return key
    pair = next((pair for pair in MIRROR_IMAGES if int(key) in pair), (int(key),))
    return " or ".join(f"{number} ({_symbol(number)})" for number in pair)


def _symbol(number: int) -> str:
    import gemmi

    symbol = gemmi.find_spacegroup_by_number(number).short_name()
    return symbol.replace("H", "R")  # H is an older sign for hexagonal axes of R


def _shown(target: str) -> int | None:
    """How many classes are written: all crystal systems, and the most probable of the rest."""
    return None if target == CRYSTAL_SYSTEM.name else MOST_PROBABLE
