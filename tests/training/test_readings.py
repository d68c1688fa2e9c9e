"""The readings of a learning curve."""

import numpy as np

from xxact.data.targets import CRYSTAL_SYSTEM, Target
from xxact.training import readings

ENERGY = Target("formation_energy_per_atom", "eV/atom")
TARGETS = [ENERGY, CRYSTAL_SYSTEM]


def entry(step, energy, accuracy):
    scores = {
        "formation_energy_per_atom": {"mae_mev_per_atom": energy, "n": 10},
        "crystal_system": {"accuracy_percent": accuracy, "n": 10},
    }
    return {"step": step, "progress": step / 4, "validation": scores, "test": scores}


CURVE = [entry(1, 100.0, 90.0), entry(2, 90.0, 80.0), entry(3, 95.0, 91.0), entry(4, 96.0, 91.0)]


def test_selection_and_best_on_test():
    assert readings.select_on_validation(CURVE, TARGETS)["step"] == 3  # 95 * 9 is the smallest
    assert readings.best_on_test(CURVE, ENERGY)["step"] == 2
    assert readings.best_on_test(CURVE, CRYSTAL_SYSTEM)["step"] == 3  # the first of two
    no_label = {"test": {"crystal_system": {"accuracy_percent": None, "n": 0}}}
    assert readings.best_on_test([no_label], CRYSTAL_SYSTEM) is None


def test_predictions_are_kept_of_the_evaluation_that_a_reading_is_of():
    kept = {}
    for k in range(len(CURVE)):
        guess = {target.name: np.array([CURVE[k]["step"]]) for target in TARGETS}
        for reading, own in readings.kept_of_last(CURVE[: k + 1], TARGETS, guess).items():
            kept.setdefault(reading, {}).update(own)
    steps = {(reading, name): int(v[0]) for reading, own in kept.items() for name, v in own.items()}
    assert steps == {
        ("selected", ENERGY.name): 3,
        ("selected", CRYSTAL_SYSTEM.name): 3,
        ("best_on_test", ENERGY.name): 2,
        ("best_on_test", CRYSTAL_SYSTEM.name): 3,
        ("p25", ENERGY.name): 1,
        ("p25", CRYSTAL_SYSTEM.name): 1,
    }


def test_an_early_reading_is_of_the_nearest_evaluation_if_that_is_near():
    progress = [0.04, 0.046, 0.0545, 0.2, 0.24, 0.251, 0.2485]
    assert readings.early(progress, 0.05) == 1
    assert readings.early(progress, 0.15) is None
    assert readings.early(progress, 0.25) == 5
