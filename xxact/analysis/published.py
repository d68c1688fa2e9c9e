"""The published numbers: `published.yaml`, typed. `Decimal` keeps the digits that were printed."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from xxact.data.targets import CRYSTAL_SYSTEMS
from xxact.errors import UserError

PRETRAININGS = ("none", "contrastive", "mxm", "contrastive_mxm")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Paper(_Strict):
    """What the paper is and what it trained on."""

    title: str
    authors: str
    arxiv: str
    data_set: str
    samples: dict[str, int]
    batch_size: int
    epochs: dict[str, int]


class Table1(_Strict):
    """Row -> column -> value; a transfer is named after the targets it starts from."""

    units: dict[str, str]
    unseen_target: str
    rows: dict[str, dict[str, Decimal]]


class Progress(_Strict):
    """Values at 5, 15 and 25 % of training, and the best."""

    p05: Decimal
    p15: Decimal
    p25: Decimal
    best: Decimal


class Table2(_Strict):
    """Pretraining -> target -> values; speed-ups over no pretraining."""

    units: dict[str, str]
    rows: dict[str, dict[Literal["energy", "system"], Progress]]
    speed_up: dict[str, Decimal]
    speed_up_threshold: dict[str, Decimal]


class Epochs(_Strict):
    """A value after a number of epochs."""

    epochs: int
    value: Decimal


class Table3(_Strict):
    """Run -> epochs and value."""

    units: dict[str, str]
    rows: dict[str, Epochs]


class ClassTable(_Strict):
    """Crystal system (and averages) -> one value per column."""

    columns: list[str]
    rows: dict[str, list[Decimal]]

    @model_validator(mode="after")
    def _complete(self) -> ClassTable:
        for row, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(f"row '{row}' has {len(values)} values for {self.columns}")
        missing = set(CRYSTAL_SYSTEMS) - set(self.rows)
        if missing:
            raise ValueError(f"no row for {', '.join(sorted(missing))}")
        return self

    def value(self, row: str, column: str) -> Decimal | None:
        """The value of a row in a column, None where the paper has none."""
        if row not in self.rows or column not in self.columns:
            return None
        return self.rows[row][self.columns.index(column)]


class PowerLaw(_Strict):
    """L = prefactor * D^exponent, L in eV/atom and D in millions of samples."""

    prefactor: Decimal
    exponent: Decimal


class Scaling(_Strict):
    """Fits and gaps of Figure 3."""

    units: dict[str, str]
    sizes: list[Decimal]
    fits: dict[Literal["crabnet", "xxact"], PowerLaw]
    gap: dict[Literal["smallest", "largest"], Decimal]


class CrabNetCheck(_Strict):
    """Row -> test MAE that CrabNet's authors report."""

    unit: str
    rows: dict[str, Decimal]


class Published(_Strict):
    """The whole of `published.yaml`."""

    paper: Paper
    table1: Table1
    table2: Table2
    table3: Table3
    table4: ClassTable
    table5: ClassTable
    scaling: Scaling
    crabnet_check: CrabNetCheck


def parse(text: str, where: str) -> Published:
    """`Published` from YAML text; `UserError` with `where` and the field that is wrong."""
    try:
        return Published.model_validate(yaml.load(text, Loader=yaml.BaseLoader))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"{where}: {error}") from error


@cache
def published() -> Published:
    """The published numbers that ship with the package."""
    source = resources.files("xxact.analysis") / "published.yaml"
    return parse(source.read_text(encoding="utf-8"), str(source))
