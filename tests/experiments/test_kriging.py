"""Kriging against the formula written out with SciPy, and as a row of a table."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.distance import cdist

from xxact.data.store import open_store
from xxact.data.targets import CRYSTAL_SYSTEM
from xxact.errors import UserError
from xxact.experiments import suite
from xxact.experiments.kriging import Kriging, Reader, coarse
from xxact.experiments.result import read_result
from xxact.training.trained import Trained

ENERGY = "formation_energy_per_atom"


@pytest.fixture
def samples():
    """Function n -> (inputs, values) of made-up samples: value, embedding (5), pattern (64),
    fractions (100)."""
    random = np.random.default_rng(0)

    def make(n):
        fractions = np.zeros((n, 100))
        fractions[np.arange(n), random.integers(0, 4, n)] = 1
        value, embedding = random.normal(size=(n, 1)), random.normal(size=(n, 5)) * 3
        pattern = np.outer(random.random(n), np.full(64, 0.05))
        wrong = embedding[:, 0] / 3 + 8 * pattern[:, 0]
        return np.hstack([value, embedding, pattern, fractions]), value[:, 0] + wrong

    return make


def naive(inputs, values, asked):
    """Kriged values (n,) of `asked` (n, 1 + 5 + 64 + 100), one by one."""
    deviation = inputs[:, 1:6].std(0)

    def far(a, b):
        embeddings = cdist(a[:, 1:6] / deviation, b[:, 1:6] / deviation, "sqeuclidean") / (0.4 * 5)
        return embeddings + cdist(a[:, 6:70], b[:, 6:70], "sqeuclidean") / 0.18

    def exponent(a, b):
        return far(a, b) + cdist(a[:, 70:], b[:, 70:], "cityblock") / 1.0

    found = []
    for value, distances, exponents in zip(
        asked[:, 0], far(asked, inputs), exponent(asked, inputs), strict=True
    ):
        candidates = np.argsort(distances)[:512]
        near = candidates[np.argsort(exponents[candidates])[:64]]
        covariance = np.exp(-exponent(inputs[near], inputs[near])) + 0.03 * np.eye(len(near))
        residuals = (values - inputs[:, 0])[near]
        found.append(value + np.exp(-exponents[near]) @ np.linalg.solve(covariance, residuals))
    return found


@pytest.mark.parametrize("n", [60, 1000])
def test_residuals_are_kriged_with_the_64_nearest_samples(n, samples):
    (inputs, values), (asked, true) = samples(n), samples(300)
    found = Kriging().fit(inputs, values).predict(asked)
    np.testing.assert_allclose(found, naive(inputs, values, asked), atol=1e-3)
    assert np.abs(found - true).mean() < 0.8 * np.abs(asked[:, 0] - true).mean()


def test_coarse_patterns_are_smoothed_square_roots():
    pattern = np.zeros((2, 4250), np.float32)
    pattern[0, 1000], pattern[1, [500, 3000]] = 100, (25, 100)
    found = coarse(torch.from_numpy(pattern)).numpy()
    angles, centres = 5 + 0.02 * np.arange(4250), np.linspace(5, 89.98, 64)
    naive = [
        gaussian_filter1d(np.sqrt(row.astype(float)), 3.2 / 0.02, mode="constant", truncate=8)
        for row in pattern
    ]
    naive = np.array([np.interp(centres, angles, row) for row in naive])
    naive /= np.linalg.norm(naive, axis=1, keepdims=True)
    np.testing.assert_allclose(found, naive, atol=1e-4)


def test_a_row_kriges_what_another_one_leaves(run, tmp_path, tiny_data):
    done = run("open", "--local", "--jobs", "1", "--only", "closed_energy_kriged")
    assert done.returncode == 0, done.stderr
    runs, store = tmp_path / "runs" / "tiny", open_store(tiny_data)
    found = read_result(runs / "open" / "closed_energy_kriged" / "seed0.json")
    parent = runs / "table1" / "xxact_energy" / "seed0"
    train, test = store.indices("train"), store.indices("test")
    trained = Trained(parent, store)
    read = Reader(parent / "model.safetensors", store, store.targets[ENERGY])
    inputs = read(np.concatenate([train, test]))
    alone = trained.predict(np.concatenate([train, test]))[ENERGY]
    np.testing.assert_allclose(inputs[:, 0], alone, atol=1e-5)
    energy = store.values(ENERGY)
    kriged = Kriging().fit(inputs[: len(train)], energy[train])
    error = 1e3 * np.abs(kriged.predict(inputs[len(train) :]) - energy[test]).mean()
    assert found.metrics.final.test[ENERGY]["mae_mev_per_atom"] == pytest.approx(error, rel=1e-4)
    assert found.init_sha256 is not None
    with np.load(runs / "open" / "closed_energy_kriged" / "seed0.npz") as kept:
        others = kept[f"{ENERGY}.permuted_any"]
        assert np.abs(others - kept[f"{ENERGY}.predicted"]).max() > 0


def test_classes_are_refused(tiny_store, tmp_path):
    with pytest.raises(UserError, match="crystal_system is a class"):
        Reader(tmp_path / "model.safetensors", tiny_store, CRYSTAL_SYSTEM)


def test_a_run_without_patterns_is_refused(run, tmp_path, tiny_data):
    assert run("table1", "--local", "--jobs", "1", "--only", "crabnet_energy").returncode == 0
    weights = tmp_path / "runs/tiny/table1/crabnet_energy/seed0/model.safetensors"
    store = open_store(tiny_data)
    with pytest.raises(UserError, match="reads no patterns"):
        Reader(weights, store, store.targets[ENERGY])


@pytest.mark.parametrize(
    ("row", "lines", "message"),
    [
        ("open/energy_kriged", "init: open/energy", "a kriging needs the run whose residuals"),
        ("table1/constant_energy", None, "a constant starts from none"),
    ],
)
def test_kriging_alone_starts_from_a_run(row, lines, message, experiments):
    path = experiments / f"{row}.yaml"
    text = path.read_text()
    path.write_text(text.replace(lines, "") if lines else f"{text}init: table2/none\n")
    with pytest.raises(UserError, match=message):
        suite.plan([row], "mini", [0], experiments)
