"""Baselines against numbers by hand and against scikit-learn called directly."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from xxact.data.batches import DeviceStore
from xxact.data.store import open_store
from xxact.errors import UserError
from xxact.experiments import baselines, suite
from xxact.experiments.baselines import BASELINES, BaselineSpec, Forest, fit_and_score
from xxact.experiments.result import read_result
from xxact.training.progress import Progress
from xxact.training.signals import Stopped

ENERGY, SYSTEM = "formation_energy_per_atom", "crystal_system"


@pytest.fixture
def score(tiny_store, tmp_path):
    """Function (model, target, seed) -> what a baseline scores on the tiny store."""

    def fit(model, target, seed=0, store=tiny_store):
        spec = BaselineSpec(model=model, targets=[target])
        progress = Progress(tmp_path, show=False)
        return fit_and_score(spec, store, store.indices("train"), seed, progress)[0]

    return fit


@pytest.fixture
def plain(tiny_store):
    """Inputs of the tiny store, put together sample by sample."""
    patterns = DeviceStore(tiny_store).gather(np.arange(tiny_store.n)).pattern.numpy()
    composition = np.zeros((tiny_store.n, 100), np.float32)
    windows = np.zeros((tiny_store.n, 17), np.float32)
    for row in range(tiny_store.n):
        start, stop = tiny_store.element_offsets[row : row + 2]
        for z, share in zip(
            tiny_store.element_z[start:stop], tiny_store.element_fraction[start:stop], strict=True
        ):
            composition[row, z - 1] = share
        for k in range(17):
            windows[row, k] = patterns[row, 250 * k : 250 * (k + 1)].mean()
    return {"composition": composition, "xrd": windows}


def test_a_constant_is_the_mean_or_the_most_frequent_class_of_training(score, tiny_store):
    train, test = (tiny_store.indices(split) for split in ("train", "test"))
    energy = tiny_store.values(ENERGY)
    found = score(BASELINES["constant"], ENERGY)["metrics"]["final"]["test"][ENERGY]
    wanted = 1000 * np.abs(energy[test] - energy[train].mean()).mean()
    assert found == {"mae_mev_per_atom": pytest.approx(wanted, rel=1e-5), "n": len(test)}

    system = tiny_store.values(SYSTEM)
    most = np.bincount(system[train]).argmax()
    result = score(BASELINES["constant"], SYSTEM)
    found = result["metrics"]["final"]["test"][SYSTEM]
    assert found["accuracy_percent"] == pytest.approx(100 * (system[test] == most).mean())
    confusion = np.array(result["per_class"]["confusion"])
    assert confusion[:, most].sum() == confusion.sum() == len(test)


@pytest.mark.parametrize("inputs", [("composition",), ("xrd",), ("composition", "xrd")])
def test_a_forest_is_scikit_learns_on_these_inputs(inputs, score, plain, tiny_store):
    train, test = (tiny_store.indices(split) for split in ("train", "test"))
    x = np.hstack([plain[name] for name in inputs])
    data = DeviceStore(tiny_store)
    given = baselines.features(Forest(inputs=inputs), data, np.arange(tiny_store.n))
    np.testing.assert_allclose(given, x, rtol=1e-5, atol=1e-5)

    # grown tree by tree, it is the forest that one call of scikit-learn gives
    model = Forest(inputs=inputs, trees=7)
    y = tiny_store.values(ENERGY)
    reference = RandomForestRegressor(7, random_state=3).fit(given[train], y[train])
    wanted = 1000 * np.abs(reference.predict(given[test]) - y[test]).mean()
    found = score(model, ENERGY, seed=3)["metrics"]["final"]["test"][ENERGY]
    assert found["mae_mev_per_atom"] == pytest.approx(wanted, rel=1e-12)
    y = tiny_store.values(SYSTEM)
    reference = RandomForestClassifier(7, random_state=3).fit(given[train], y[train])
    wanted = 100 * (reference.predict(given[test]) == y[test]).mean()
    found = score(model, SYSTEM, seed=3)["metrics"]["final"]["test"][SYSTEM]
    assert found["accuracy_percent"] == pytest.approx(wanted)


def test_a_forest_follows_from_its_seed(score):
    model = Forest(inputs=("xrd",), trees=5)
    one, same, other = (score(model, ENERGY, seed)["metrics"] for seed in (0, 0, 1))
    assert one == same != other


def test_a_stopped_forest_says_so(score, monkeypatch):
    class Asked:
        requested = True

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("xxact.training.signals.StopFlag", Asked)
    with pytest.raises(Stopped, match="step 1 of 5"):
        score(Forest(inputs=("xrd",), trees=5), ENERGY)


def test_a_store_without_patterns_is_refused(score, tmp_path):
    from xxact.data.prepare import prepare

    (tmp_path / "f.csv").write_text("formula,formation_energy_per_atom\nNaCl,-2\nKCl,-2.1\n")
    prepare("csv", [tmp_path / "f.csv"], tmp_path / "formulas", workers=1)
    with pytest.raises(UserError, match="compositions only"):
        score(BASELINES["forest_xrd"], ENERGY, store=open_store(tmp_path / "formulas"))


def test_a_baseline_is_a_row_like_any_other(run, tmp_path):
    names = ("constant_energy", "forest_both_system")
    done = run("table1", "--local", "--jobs", "1", "--only", *names)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "tiny" / "table1"
    for name in names:
        result = read_result(folder / name / "seed0.json")
        assert result.curve == []
        assert result.metrics.final.test_new_formula is not None
        assert not (folder / name / "seed0" / "model.safetensors").exists()
    assert result.spec.model == {"kind": "forest", "inputs": ["composition", "xrd"], "trees": 100}
    again = run("table1", "--local", "--only", *names)
    assert "2 of 2 runs are done" in again.stderr


def test_a_baseline_cannot_start_from_another_run(experiments):
    path = experiments / "table1" / "constant_energy.yaml"
    path.write_text(path.read_text() + "init: table2/none\ntransfer: true\n")
    with pytest.raises(UserError) as error:
        suite.plan(["table1/constant_energy"], "tiny", [0], experiments)
    assert "constant_energy.yaml: init" in str(error.value)
    assert "constant_energy.yaml: transfer" in str(error.value)
