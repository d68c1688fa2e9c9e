"""Labels of any store, in the units and classes that a run learned; weights that are checked."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from xxact.data.targets import Target
from xxact.errors import UserError
from xxact.training.trained import Trained
from xxact.training.weights import read_weights, save_weights

MODULUS = Target("k", "GPa")
PHASE = Target("phase", classes=("fcc", "bcc", "hcp"))


def true_values(wanted, own, values):
    """What a run that learned `wanted` reads in a store that has `own`."""
    store = SimpleNamespace(path="st", targets={own.name: own}, values=lambda name: values)
    return Trained.true_values(SimpleNamespace(folder="run", store=store), wanted)


def test_values_are_converted_into_the_units_that_were_learned():
    values = np.array([0.5, np.nan], dtype=np.float32)
    found = true_values(MODULUS, Target("k", "Mbar"), values)
    np.testing.assert_allclose(found, [50, np.nan], rtol=1e-6)
    assert found.dtype == np.float32
    assert true_values(MODULUS, MODULUS, values) is values
    assert true_values(MODULUS, Target("other"), values) is None


@pytest.mark.parametrize("unit", ["", "eV", "GPa/atom"])
def test_other_units_are_refused_with_both(unit):
    with pytest.raises(UserError, match=rf"k of st is in {unit or 'no unit'}, .* in GPa"):
        true_values(MODULUS, Target("k", unit), np.zeros(1))


def test_classes_are_found_by_name():
    own = Target("phase", classes=("hcp", "fcc"))
    found = true_values(PHASE, own, np.array([0, 1, -1, 0]))
    assert found.tolist() == [2, 0, -1, 2]


def test_classes_that_were_not_learned_and_numbers_are_refused():
    with pytest.raises(UserError, match="never saw: liquid"):
        true_values(PHASE, Target("phase", classes=("fcc", "liquid")), np.zeros(1, int))
    with pytest.raises(UserError, match="made of numbers, and run learned classes"):
        true_values(PHASE, Target("phase"), np.zeros(1))
    with pytest.raises(UserError, match="made of classes, and run learned numbers"):
        true_values(Target("phase"), PHASE, np.zeros(1, int))


@pytest.fixture
def saved(tmp_path):
    weights = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(1.5)}
    save_weights(tmp_path, weights, {"targets": []})
    return tmp_path


def test_weights_are_read_back(saved):
    weights, description = read_weights(saved)
    torch.testing.assert_close(weights["a"], torch.tensor([[0.0, 3], [1, 4], [2, 5]]))
    assert description["targets"] == []


def test_the_bytes_are_those_of_the_weights_alone(saved, tmp_path):
    save_weights(tmp_path / "b", read_weights(saved)[0], {"targets": [], "identity": {"seed": 3}})
    files = [folder / "model.safetensors" for folder in (saved, tmp_path / "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("way", ["flip", "cut", "pickle"])
def test_damaged_weights_are_named_and_nothing_in_them_is_run(way, saved):
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if way == "pickle":
        torch.save({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(content if way == "flip" else content[:-4])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        read_weights(saved)


def test_a_damaged_description_is_named(saved):
    for text in ("{", "[]", json.dumps({"targets": []})):
        (saved / "model.json").write_text(text)
        with pytest.raises(UserError, match=r"model\.json is damaged"):
            read_weights(saved)


def test_a_folder_without_weights_is_no_finished_run(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        read_weights(tmp_path)
