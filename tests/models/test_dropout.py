"""Dropout from random bits: rate, mean, independence, gradients."""

import pytest
import torch

from xxact.models.dropout import add_dropout, dropout, relu_dropout

N = 400_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_rate_and_scale(p, dtype):
    torch.manual_seed(0)
    out = dropout(torch.ones(N + 3, dtype=dtype), p, training=True)
    dropped = (out == 0).float().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / N) ** 0.5
    torch.testing.assert_close(
        out.max().float(),
        torch.tensor(1 / (1 - p)),
        rtol=4e-3 if dtype is torch.bfloat16 else 1e-4,
        atol=0,
    )


def test_neighbours_and_calls_are_independent():
    torch.manual_seed(0)
    first = (dropout(torch.ones(N), 0.5, True) == 0).float() - 0.5
    second = (dropout(torch.ones(N), 0.5, True) == 0).float() - 0.5
    bound = 5 * 0.25 / N**0.5
    assert (first * second).mean().abs() < bound
    for lag in (1, 2, 3, 4, 8):
        assert (first[lag:] * first[:-lag]).mean().abs() < bound


def test_follows_the_global_generator():
    x = torch.randn(1000)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    want = dropout(x, 0.1, True)
    assert not torch.equal(want, dropout(x, 0.1, True))
    torch.set_rng_state(state)
    assert torch.equal(want, dropout(x, 0.1, True))


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (lambda x, r: dropout(x, 0.3, True), lambda x, r, keep: x * keep),
        (lambda x, r: add_dropout(r, x, 0.3, True), lambda x, r, keep: r + x * keep),
        (lambda x, r: relu_dropout(x, 0.3, True), lambda x, r, keep: x.relu() * keep),
    ],
)
def test_values_and_gradients(function, reference):
    torch.manual_seed(0)
    x, residual, upstream = torch.randn(3, 5000).unbind(0)
    x.requires_grad_()
    residual.requires_grad_()
    torch.manual_seed(1)
    keep = dropout(torch.ones(5000), 0.3, True)
    torch.manual_seed(1)
    got, want = function(x, residual), reference(x, residual, keep)
    torch.testing.assert_close(got, want)
    for leaf in (x, residual):
        (got_gradient,) = torch.autograd.grad(
            got, leaf, upstream, retain_graph=True, allow_unused=True
        )
        (want_gradient,) = torch.autograd.grad(
            want, leaf, upstream, retain_graph=True, allow_unused=True
        )
        assert (got_gradient is None) == (want_gradient is None)
        if want_gradient is not None:
            torch.testing.assert_close(got_gradient, want_gradient)


def test_nothing_happens_in_evaluation():
    x, residual = torch.randn(2, 100)
    assert torch.equal(dropout(x, 0.3, False), x)
    assert torch.equal(add_dropout(residual, x, 0.3, False), residual + x)
    assert torch.equal(relu_dropout(x, 0.3, False), x.relu())


def test_channels_last_input_keeps_its_layout():
    torch.manual_seed(0)
    x = torch.ones(8, 16, 1, 500).to(memory_format=torch.channels_last)
    out = dropout(x, 0.25, True)
    assert out.stride() == x.stride()
    assert (out == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_it_compiles_to_one_graph():
    def layer(x):
        x = add_dropout(x, dropout(x, 0.5, training=True), 0.5, training=True)
        return relu_dropout(x, 0.5, training=True)

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for tokens in (5, 7):  # a second length makes the shape a variable
        x = torch.ones(4, tokens, 16, requires_grad=True)
        y = compiled(x)
        y.sum().backward()
        assert set(y.unique().tolist()) <= {0.0, 2.0, 4.0, 6.0, 8.0, 10.0}
        assert x.grad.shape == x.shape
