"""The card of a bundle: what its runs need, how sure they are, and how that is known.

A bundle is a folder with `card.json` and, for each of its one or two runs, a folder with the run's
`model.safetensors`, in half precision, and `model.json`. One run reads the pattern alone, the other
one also needs the formula; with a formula, both together tell the classes. Every number in a card
but for temperatures comes from samples that the run was not trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, ValidationError

from xxact.errors import UserError
from xxact.files import write_atomically
from xxact.training.spec import Spec

CARD = "card.json"


class ClassCard(Spec):
    """Of a target with classes: how its probabilities are made, and what they are worth.

    Logits are divided by the temperature of their run, by its folder in `temperatures`, and those
    of several runs are added. A most probable class whose probability is below `threshold` is no
    answer; the others are the fraction `coverage`, and the fraction `risk` of them is wrong. `ece`
    is the expected calibration error, `ece_before` that of the plain mean of the logits.
    """

    temperatures: dict[str, PositiveFloat]
    log_loss: float
    accuracy: float = Field(ge=0, le=1)
    ece_before: float
    ece: float
    threshold: float
    coverage: float
    risk: float
    n: int


class ValueCard(Spec):
    """Of a regression: `level` of the errors are at most `half_width`, in the target's unit; on
    the samples that it is scored on the fraction `held` is."""

    unit: str
    level: float = Field(gt=0, lt=1)
    half_width: PositiveFloat
    held: float
    mean_absolute_error: float
    n: int


class RunCard(Spec):
    """One run of a bundle, in the folder of that name. `elements` are those of its training.
    `classes` are as they are told where this run answers: their temperatures name all that counts.
    Temperatures, thresholds and widths come from the split `fitted_on`, all else from `scored_on`;
    of what temperatures are fitted on, `known_share` is from the training besides. `degraded` says
    whether the numbers are of patterns as instruments measure them."""

    folder: str
    needs_formula: bool
    data: str
    data_sha256: str
    fitted_on: str
    known_share: float = Field(0.0, ge=0, lt=1)
    scored_on: str
    degraded: bool
    elements: tuple[str, ...]
    classes: dict[str, ClassCard]
    values: dict[str, ValueCard]


class Notes(Spec):
    """What only words can say of a bundle."""

    data: str
    left_out: str
    licence: str
    limits: str


class Card(Spec):
    """What `card.json` holds."""

    format: Literal[1] = 1
    version: str
    runs: tuple[RunCard, ...] = Field(min_length=1, max_length=2)
    notes: Notes | None = None


def read_card(bundle: Path) -> Card | None:
    """The card in a folder, None where there is none. Raises `UserError` if it is damaged."""
    path = bundle / CARD
    try:
        return Card.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {where or 'it'}: {first['msg']}: make the bundle again") from None


def write_card(bundle: Path, card: Card) -> None:
    """Write the card, which makes the folder a bundle."""
    write_atomically(bundle / CARD, card.model_dump_json(indent=1).encode() + b"\n")
