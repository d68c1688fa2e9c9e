"""Scores against scikit-learn and hand-made counts."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    mean_absolute_error,
    recall_score,
    silhouette_samples,
    silhouette_score,
)

from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS, Target
from xxact.training import evaluation

ENERGY = Target("formation_energy_per_atom", "eV/atom")


def test_scores_are_in_physical_units_and_leave_out_what_has_no_label():
    true = np.array([1.0, np.nan, -0.5, 0.25], dtype=np.float32)
    predicted = np.array([1.5, 7.0, -0.5, 0.0], dtype=np.float32)
    assert evaluation.score(ENERGY, predicted, true) == {
        "mae_mev_per_atom": pytest.approx(
            1000 * mean_absolute_error(true[[0, 2, 3]], predicted[[0, 2, 3]])
        ),
        "n": 3,
    }
    system, guess = np.array([0, -1, 6, 6]), np.array([0, 3, 6, 5])
    assert evaluation.score(CRYSTAL_SYSTEM, guess, system) == {
        "accuracy_percent": pytest.approx(100 * accuracy_score([0, 6, 6], [0, 6, 5])),
        "n": 3,
    }
    assert evaluation.score(ENERGY, predicted[:0], true[:0]) == {"mae_mev_per_atom": None, "n": 0}


def test_accuracy_by_system_equals_scikit_learn():
    random = np.random.default_rng(0)
    true, predicted = random.integers(7, size=300), random.integers(7, size=300)
    found = evaluation.accuracy_by_system(predicted, true)
    assert found["confusion"] == confusion_matrix(true, predicted, labels=range(7)).tolist()
    recall = recall_score(true, predicted, labels=range(7), average=None)
    for name, value in zip(CRYSTAL_SYSTEMS, recall, strict=True):
        assert found["crystal_system"][name]["accuracy_percent"] == pytest.approx(100 * value)


def test_error_by_element_equals_a_loop(tiny_store):
    rows = tiny_store.indices("test")
    true = tiny_store.values(ENERGY.name)[rows]
    predicted = true + np.linspace(0, 1, len(rows), dtype=np.float32)
    found = evaluation.error_by_element(ENERGY, predicted, tiny_store, rows)
    names = [identifier.decode() for identifier in tiny_store.ids[rows]]
    oxides = [k for k, name in enumerate(names) if "O-" in name]
    assert found["O"]["n"] == len(oxides)
    assert found["O"]["mae_mev_per_atom"] == pytest.approx(
        1000 * np.mean(np.abs(predicted - true)[oxides]), rel=1e-5
    )


def test_unseen_rows_are_those_whose_key_is_not_in_training():
    keys = np.array([1, 2, 3, 2, 4, 1])
    unseen = evaluation.not_in(keys, np.array([0, 1]), np.array([2, 3, 4, 5]))
    assert unseen.tolist() == [True, False, True, False]


def test_silhouettes_equal_scikit_learn(tiny_store):
    rows = np.arange(tiny_store.n)
    system = tiny_store.values("crystal_system")
    embedding = np.random.default_rng(0).normal(size=(tiny_store.n, 8)) + system[:, None]
    found = evaluation.summarise_embedding(tiny_store, rows, embedding)
    assert found["n"] == tiny_store.n
    silhouette = found["silhouette"]
    expected = silhouette_score(embedding, system)
    assert silhouette["embedding"]["mean"] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(
        found["silhouette_of_sample"]["embedding"], silhouette_samples(embedding, system), atol=1e-5
    )
    assert silhouette["projection"]["mean"] == pytest.approx(
        silhouette_score(np.array(found["pca"]), system), abs=1e-3
    )


def test_crystals_of_one_system_have_no_silhouettes(tiny_store):
    system = tiny_store.values("crystal_system")
    (rows,) = np.nonzero(system == np.bincount(system[system >= 0]).argmax())
    embedding = np.random.default_rng(0).normal(size=(len(rows), 8))
    found = evaluation.summarise_embedding(tiny_store, rows, embedding)
    assert found["silhouette"] == found["silhouette_of_sample"] == {}
    assert np.shape(found["pca"]) == (len(rows), 2)
