"""What a model can be trained to predict, in which unit, and how its error is reported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xxact.errors import UserError

CRYSTAL_SYSTEMS = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)

# International Tables for Crystallography A: the last space-group number of each crystal system.
_LAST_SPACE_GROUP = np.array([2, 15, 74, 142, 167, 194, 230])


def crystal_system_index(space_group: np.ndarray | int) -> np.ndarray:
    """Index into `CRYSTAL_SYSTEMS` of space-group numbers 1 to 230; -1 where the number is 0."""
    number = np.asarray(space_group)
    return np.where(number == 0, -1, np.searchsorted(_LAST_SPACE_GROUP, number)).astype(np.int64)


@dataclass(frozen=True)
class Target:
    """A property of a material: a regression column with a unit, or a set of classes."""

    name: str
    unit: str = ""
    classes: tuple[str, ...] = ()

    @property
    def is_class(self) -> bool:
        """Whether the target is a class rather than a number."""
        return bool(self.classes)

    @property
    def n_outputs(self) -> int:
        """Outputs of a head: one number, or one logit per class."""
        return len(self.classes) or 1

    @property
    def metric(self) -> str:
        """Key of the error in a result JSON, with its unit, e.g. `mae_mev_per_atom`."""
        if self.is_class:
            return "accuracy_percent"
        unit = self.metric_unit.lower().replace("/", "_per_")
        return "mae_" + re.sub(r"[^a-z0-9]+", "_", unit).strip("_") if unit else "mae"

    @property
    def metric_unit(self) -> str:
        """Unit in which the error is reported; energies per atom are reported in meV."""
        return "%" if self.is_class else {"eV/atom": "meV/atom"}.get(self.unit, self.unit)

    @property
    def metric_factor(self) -> float:
        """Factor from `unit` to `metric_unit`."""
        return 1000.0 if self.unit == "eV/atom" else 1.0

    @property
    def higher_is_better(self) -> bool:
        """True for accuracies, False for errors."""
        return self.is_class

    def known(self, values: np.ndarray) -> np.ndarray:
        """Mask of the values that are there: no NaN, no class -1."""
        return values >= 0 if self.is_class else np.isfinite(values)


CRYSTAL_SYSTEM = Target("crystal_system", classes=CRYSTAL_SYSTEMS)
SPACE_GROUP = Target("space_group", classes=tuple(str(n) for n in range(1, 231)))

#: Units of the regression targets that the suite's own data sets hold.
#: Classes that say where the values of a target come from, where a store has them.
ORIGINS = {"formation_energy_per_atom": "energy_source"}
UNITS = {"formation_energy_per_atom": "eV/atom", "band_gap": "eV", "bulk_modulus": "GPa"}


def find_target(name: str, available: Mapping[str, Target], where: str) -> Target:
    """The target `name` among those of a store; `UserError` that names the others if absent."""
    if name not in available:
        raise UserError(f"{where} has no target '{name}'; it has: {', '.join(sorted(available))}")
    return available[name]
