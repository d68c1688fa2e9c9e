"""The floor of the formula against a loop over samples."""

import statistics
from types import SimpleNamespace

import numpy as np
import pytest

from xxact.data.floors import formula_floors
from xxact.data.targets import CRYSTAL_SYSTEM, Target


def test_floors_are_the_errors_of_medians():
    random = np.random.default_rng(0)
    n = 60
    formulas = random.integers(0, 20, n).astype(np.uint64)
    energies = random.normal(-1, 0.3, n).astype(np.float32)
    energies[[3, 8]] = np.nan
    splits = np.array(["train", "test", "validation"])[np.arange(n) % 3]
    store = SimpleNamespace(
        formula_keys=lambda: formulas,
        targets={
            "formation_energy_per_atom": Target("formation_energy_per_atom", "eV/atom"),
            "crystal_system": CRYSTAL_SYSTEM,
        },
        values=lambda name: energies,
        indices=lambda split: np.flatnonzero(splits == split),
    )

    def naive(split: str) -> list[float]:
        errors = []
        for k in np.flatnonzero((splits == split) & np.isfinite(energies)):
            same = energies[(formulas == formulas[k]) & np.isfinite(energies)]
            errors.append(1000 * abs(float(energies[k]) - statistics.median(map(float, same))))
        return errors

    floors = formula_floors(store)
    assert list(floors) == ["formation_energy_per_atom"]
    found = floors["formation_energy_per_atom"]
    assert set(found) == {"train", "validation", "test"}  # nothing is in the audit split
    for split, score in found.items():
        wanted = naive(split)
        assert score == {
            "mae_mev_per_atom": pytest.approx(statistics.fmean(wanted)),
            "n": len(wanted),
        }


def test_a_formula_of_its_own_has_no_floor():
    store = SimpleNamespace(
        formula_keys=lambda: np.arange(4, dtype=np.uint64),
        targets={"band_gap": Target("band_gap", "eV")},
        values=lambda name: np.array([0.0, 1, 2, 3], np.float32),
        indices=lambda split: np.arange(4) if split == "train" else np.zeros(0, int),
    )
    assert formula_floors(store) == {"band_gap": {"train": {"mae_ev": 0.0, "n": 4}}}
