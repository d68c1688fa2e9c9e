"""What the pattern adds: 0 for composition alone, and right by naive formulas."""

import itertools

import fabricate
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xxact.analysis import pattern

FLOORS = pd.DataFrame(
    [{"target": fabricate.ENERGY, "split": "test", "value": 79.5, "unit": "meV/atom", "n": 500}]
)


def _frame(true, predicted, formula, seed=0, **columns):
    n = len(true)
    base = {
        "run": "r",
        "seed": seed,
        "target": fabricate.ENERGY,
        "id": [f"{k:03}" for k in range(n)],
        "true": np.asarray(true, float),
        "predicted": np.asarray(predicted, float),
        "permuted_any": np.nan,
        "permuted_formula": np.nan,
        "formula": formula,
        "formula_in_training": True,
        "origin": "",
        "n_polymorphs": 2,
    }
    return pd.DataFrame(base | columns)


@pytest.fixture
def energies(monkeypatch):
    """Make `pattern.energies` of a frame in eV/atom."""

    def made(frame):
        monkeypatch.setattr(pattern.frame, "load_predictions", lambda *_: frame)
        return pattern.energies("anywhere", "mini")

    return made


def _of(quantities, name):
    rows = quantities[quantities["quantity"] == f"pattern/{name}"]
    return rows["value"].to_numpy(), rows["n"].to_numpy()


def test_composition_alone_has_no_slope_and_no_order(whole):
    found = pattern.quantities(pattern.energies(whole, "mini"), FLOORS)
    crabnet = found[found["run"] == "table1/crabnet_energy"]
    for name in ("slope", "order"):
        values, n = _of(crabnet, name)
        np.testing.assert_allclose(values, 0, atol=1e-6)
        assert list(n) == [500] * 3
    fused = found[found["run"] == "table1/xxact_energy"]
    np.testing.assert_allclose(_of(fused, "slope")[0], 0.25, rtol=1e-4)
    text = crabnet[crabnet["quantity"] == "pattern/permuted_any"]["text"]
    assert set(text) == {"n/a"}


def test_slope_and_order_by_naive_formulas(energies):
    random = np.random.default_rng(0)
    formula = np.repeat([0, 1, 2, 3], [4, 3, 2, 1])
    true = random.normal(size=10)
    predicted = 0.5 * true + random.normal(0, 0.3, 10) + formula
    found = pattern.quantities(energies(_frame(true, predicted, formula)), FLOORS)
    dummies = (formula[:, None] == np.arange(4)).astype(float)
    # a line with an intercept for each formula
    fit = np.linalg.lstsq(np.column_stack([true, dummies]), predicted, rcond=None)[0]
    value, n = _of(found, "slope")
    assert value[0] == pytest.approx(fit[0])
    assert n[0] == 9  # one sample is alone with its formula
    signs = [
        np.sign(true[i] - true[j]) * np.sign(predicted[i] - predicted[j])
        for i, j in itertools.combinations(range(10), 2)
        if formula[i] == formula[j]
    ]
    assert _of(found, "order")[0][0] == pytest.approx(np.mean(signs))
    one = formula == 0
    kendall = stats.kendalltau(true[one], predicted[one]).statistic
    alone = pattern.quantities(energies(_frame(true[one], predicted[one], formula[one])), FLOORS)
    assert _of(alone, "order")[0][0] == pytest.approx(kendall)


def test_the_interval_of_the_slope_holds_it(energies):
    random = np.random.default_rng(1)
    held = 0
    for _ in range(150):
        formula = np.arange(90) // 3
        true = random.normal(size=90)
        frames = [
            _frame(
                true, (0.3 + random.normal(0, 0.05)) * true + random.normal(0, 1, 90), formula, k
            )
            for k in range(3)
        ]
        low, high = pattern.slope_interval(energies(pd.concat(frames)))
        held += low <= 0.3 <= high
    assert 0.89 < held / 150 <= 1


def test_errors_of_parts_by_hand(energies):
    found = pattern.quantities(
        energies(
            _frame(
                [0.0, 0.3, 1.0, 5.0],
                [0.1, 0.1, 1.0, 5.5],
                [0, 0, 0, 1],
                formula_in_training=[True, True, True, False],
                n_polymorphs=[3, 3, 3, 1],
                origin=["", "here", "here", ""],
                permuted_any=[0.2, 0.3, 1.0, 5.1],
                permuted_formula=[0.4, 0.3, 1.0, np.nan],
            )
        ),
        FLOORS,
    )
    wanted = {
        "floor": (0.0795, 500),
        "seen": ((0.1 + 0.2 + 0.0) / 3, 3),
        "unseen": (0.5, 1),
        "origin_here": ((0.2 + 0.0) / 2, 2),
        "polymorphs_1": (0.5, 1),
        "polymorphs_3": (0.1, 3),
        "permuted_any": ((0.2 + 0.0 + 0.0 + 0.1) / 4, 4),
        "with_polymorphs": (0.1, 3),
        "permuted_formula": (0.4 / 3, 3),
    }
    for name, (error, n) in wanted.items():
        values, counts = _of(found, name)
        assert values[0] == pytest.approx(1000 * error), name
        assert counts[0] == n
    assert "pattern/polymorphs_2" not in set(found["quantity"])
