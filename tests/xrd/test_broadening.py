"""Batched broadening against the direct sum of Gaussians."""

import numpy as np
import pytest
import torch

from xxact.errors import UserError
from xxact.xrd import broaden

TOLERANCE = 1e-3  # on [0, 100]


def make_batch(n_samples, seed=0, lines=200):
    """Reflections of random samples, rows in order: two_theta, intensity, row."""
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(n_samples), rng.integers(1, lines, n_samples))
    two_theta = rng.uniform(5, 90, len(row))
    intensity = rng.exponential(size=len(row)) ** 3
    return torch.tensor(two_theta), torch.tensor(intensity), torch.tensor(row)


def one_sample(two_theta, intensity=None, **options):
    two_theta = torch.as_tensor(two_theta, dtype=torch.float64)
    intensity = torch.ones_like(two_theta) if intensity is None else intensity
    return broaden(two_theta, intensity, torch.zeros(len(two_theta)).long(), 1, **options)[0]


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.237, 1.0, 4.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_equals_the_direct_sum(direct_sum, sigma, dtype):
    n_samples = 70  # more than are done at a time
    two_theta, intensity, row = make_batch(n_samples)
    two_theta, intensity = two_theta.to(dtype), intensity.to(dtype)
    patterns = broaden(two_theta, intensity, row, n_samples, sigma)
    assert patterns.shape == (n_samples, 4250)
    assert patterns.dtype == torch.float32
    for sample in range(n_samples):
        lines = row == sample
        expected = direct_sum(two_theta[lines].double(), intensity[lines], sigma)
        np.testing.assert_allclose(patterns[sample], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("position", [5.0, 5.001, 47.13, 47.1337, 47.15, 89.97, 89.995, 90.0])
def test_a_single_line_anywhere_between_the_points(direct_sum, position):
    expected = direct_sum([position], [1.0])
    np.testing.assert_allclose(one_sample([position]), expected, rtol=0, atol=TOLERANCE)


def test_many_equal_lines_at_once(direct_sum):
    position = np.full(5000, 33.331)
    found = one_sample(position)
    np.testing.assert_allclose(found, direct_sum(position, position), rtol=0, atol=TOLERANCE)


def test_lines_outside_the_range_do_not_count():
    inside = one_sample([20.0, 60.0])
    values = torch.tensor([20.0, 4.999, 90.001, 60.0, -3.0, 179.0, float("nan"), float("inf")])
    assert torch.equal(one_sample(values), inside)


def test_a_sample_without_lines_is_zero_and_leaves_the_others_alone():
    lines = torch.tensor([30.0, 95.0])
    patterns = broaden(lines, torch.ones(2), torch.tensor([1, 2]), 4)
    assert torch.equal(patterns[1], one_sample([30.0]))
    assert not patterns[[0, 2, 3]].any()
    assert broaden(lines[:0], lines[:0], torch.tensor([0])[:0], 2).shape == (2, 4250)


def test_values_lie_in_range_and_the_scale_of_the_intensities_does_not_matter():
    two_theta, intensity, row = make_batch(20)
    patterns = broaden(two_theta, intensity, row, 20)
    assert patterns.min() >= 0
    assert patterns.amax(1).numpy() == pytest.approx(100, abs=1e-4)
    scaled = broaden(two_theta, intensity * 1e-6, row, 20)
    torch.testing.assert_close(scaled, patterns, rtol=0, atol=TOLERANCE)


def test_samples_may_come_in_any_order():
    two_theta, intensity, row = make_batch(150)
    order = torch.randperm(len(row), generator=torch.Generator().manual_seed(0))
    shuffled = broaden(two_theta[order], intensity[order], row[order], 150)
    expected = broaden(two_theta, intensity, row, 150)
    torch.testing.assert_close(shuffled, expected, rtol=0, atol=TOLERANCE)


def test_bits_do_not_depend_on_threads():
    batch = make_batch(150)
    threads = torch.get_num_threads()
    try:
        patterns = []
        for count in (1, 2, 3, 1):
            torch.set_num_threads(count)
            patterns.append(broaden(*batch, 150))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(pattern, patterns[0]) for pattern in patterns[1:])


def test_reduced_precision_and_gradients_stay_outside():
    two_theta, intensity, row = make_batch(8)
    expected = broaden(two_theta, intensity, row, 8)
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = broaden(two_theta, intensity.requires_grad_(), row, 8)
    finally:
        torch.set_float32_matmul_precision(precision)
    assert torch.equal(found, expected)
    assert not found.requires_grad


@pytest.mark.parametrize("sigma", [0.0, 0.01, -1.0, float("nan"), float("inf")])
def test_a_width_that_the_grid_cannot_hold_is_refused(sigma):
    with pytest.raises(UserError, match="sigma"):
        one_sample([30.0], sigma=sigma)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("two_theta", np.array([30.0]), "two_theta must be a torch tensor of shape"),
        ("intensity", [1.0], "intensity must be a torch tensor of shape"),
        ("intensity", torch.ones(2), "must have one shape"),
        ("two_theta", torch.ones(1, 1), "must have one shape"),
        ("row", torch.zeros(1), "row must be of torch.int64, got torch.float32"),
        ("row", torch.tensor([1]), "row must hold numbers from 0 to 0, got 1 to 1"),
        ("row", torch.tensor([-1]), "got -1 to -1"),
        ("n_samples", 1.0, "n_samples must be a number of samples, got the float 1.0"),
        ("n_samples", -1, "n_samples must not be negative"),
        ("sigma", "0.1", "sigma must be a number of degrees"),
    ],
)
def test_arguments_that_cannot_be_right_are_named(name, value, message):
    arguments = {
        "two_theta": torch.tensor([30.0]),
        "intensity": torch.ones(1),
        "row": torch.zeros(1, dtype=torch.int64),
        "n_samples": 1,
    }
    with pytest.raises(UserError, match=message):
        broaden(**arguments | {name: value})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_gpu_agrees_with_the_cpu():
    batch = make_batch(300)
    expected = broaden(*batch, 300)
    found = broaden(*(column.cuda() for column in batch), 300)
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_host_never_waits_for_the_gpu():
    batch = [column.cuda() for column in make_batch(300)]
    broaden(*batch, 300)
    torch.cuda.set_sync_debug_mode("error")
    try:
        broaden(*batch, 300)
    finally:
        torch.cuda.set_sync_debug_mode("default")
