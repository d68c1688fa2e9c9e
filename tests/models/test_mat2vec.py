"""mat2vec's vectors: the numbers they are, and that training leaves them alone."""

import numpy as np
import pytest
import torch

from xxact.data.elements import ATOMIC_NUMBERS
from xxact.errors import UserError
from xxact.models import mat2vec
from xxact.models.composition import CompositionEncoder
from xxact.models.mat2vec import Mat2Vec, read_vectors
from xxact.models.spec import CompositionSpec

SMALL = CompositionSpec(width=16, layers=1, heads=2, feedforward=24, element_vectors="mat2vec")


def test_the_numbers_are_the_published_ones():
    vectors = read_vectors()
    assert vectors.shape == (118, 200)
    assert vectors.dtype == np.float32
    hydrogen = [0.05714642256498337, -0.22556456923484802, 0.17279915511608124]  # as printed
    np.testing.assert_array_equal(vectors[0, :3], np.float32(hydrogen))


@pytest.mark.parametrize(("one", "other"), [("Li", "Na"), ("Cl", "Br"), ("Zr", "Hf"), ("La", "Pr")])
def test_rows_are_atomic_numbers(one, other):
    vectors = read_vectors().astype(float)
    direction = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = direction @ direction[ATOMIC_NUMBERS[one] - 1]
    among = np.argsort(-alike)[1:6] + 1  # the five most alike, beside itself
    assert ATOMIC_NUMBERS[other] in among


def test_the_table_is_by_atomic_number_and_not_trained(batch):
    torch.manual_seed(0)
    encoder = CompositionEncoder(SMALL, cls=False)
    table = encoder.table.weight.clone()
    assert not table[0].any()
    np.testing.assert_array_equal(table[1:].numpy(), read_vectors())
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1.0)
    before = encoder.projection.weight.detach().clone()
    encoder(batch.elements, batch.fractions).values.square().sum().backward()
    optimizer.step()
    assert torch.equal(encoder.table.weight, table)
    assert not torch.equal(encoder.projection.weight, before)
    assert "table.weight" in encoder.state_dict()  # weights say all that a prediction needs


def test_it_can_be_counted_without_numbers():
    with torch.device("meta"):
        assert Mat2Vec().weight.is_meta


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    path = tmp_path / "mat2vec.npy"
    path.write_bytes(mat2vec.FILE.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(mat2vec, "FILE", path)
    with pytest.raises(UserError, match=r"mat2vec\.npy is damaged"):
        read_vectors()


def test_another_width_is_refused():
    with pytest.raises(ValueError, match="element_width 100: mat2vec vectors have 200 values"):
        CompositionSpec(element_vectors="mat2vec", element_width=100)
