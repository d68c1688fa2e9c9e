"""The convolutional baselines against one-dimensional layers in the published order."""

import pytest
import torch
from torch import nn

from xxact.models.pooling import halve
from xxact.models.pxrdpiayn import dense_fractions

NEAR = {"rtol": 1e-4, "atol": 1e-5}


def reference_trunk(trunk) -> nn.Sequential:
    layers = []
    for convolution in trunk.convolutions:
        layer = nn.Conv1d(convolution.in_channels, convolution.out_channels, 3, padding="same")
        layer.weight.data = convolution.weight.data[:, :, 0]
        layer.bias.data = convolution.bias.data
        layers += [layer, nn.LeakyReLU(0.3), nn.MaxPool1d(2)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("kind", ["fcn", "fcn_mlp"])
def test_trunk_equals_one_dimensional_layers(kind, small_model, batch):
    trunk = small_model(kind).eval().trunk
    want = reference_trunk(trunk)(batch.pattern[:, None])  # (B, C, 1)
    torch.testing.assert_close(trunk(batch.pattern).flatten(1), want.flatten(1), **NEAR)


def test_fcn(small_model, batch):
    model = small_model("fcn").eval()
    x = reference_trunk(model.trunk)(batch.pattern[:, None])
    weight, bias = model.convolution.weight[:, :, 0], model.convolution.bias
    x = nn.functional.conv1d(x, weight, bias, padding=1)
    x = nn.functional.max_pool1d(x, 2, ceil_mode=True)
    head = model.heads["crystal_system"]
    want = nn.functional.conv1d(x, head.weight[:, :, None], head.bias).squeeze(2)
    torch.testing.assert_close(model(batch)["crystal_system"], want, **NEAR)


def test_fcn_mlp(small_model, batch):
    model = small_model("fcn_mlp").eval()
    x = dense_fractions(batch.elements, batch.fractions)
    linear = [layer for layer in model.composition if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(linear):
        x = layer(x)
        if i < 6:
            x = torch.where(x > 0, x, 0.3 * x)
    assert [layer.out_features for layer in linear] == [128, 256, 256, 128, 128, 64, 16]
    x = torch.cat((reference_trunk(model.trunk)(batch.pattern[:, None]).flatten(1), x), dim=1)
    for layer in (model.joined[0], model.joined[3]):
        x = layer(x)
        x = torch.where(x > 0, x, 0.3 * x)
    want = model.heads["crystal_system"](x)
    torch.testing.assert_close(model(batch)["crystal_system"], want, **NEAR)


@pytest.mark.parametrize("length", [6, 7, 1])
def test_halving_is_max_pooling(length):
    torch.manual_seed(0)
    x = torch.randint(0, 4, (3, 5, 1, length)).float()  # with ties
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    got = halve(x)
    if length == 1:
        assert got.shape == (3, 5, 1, 0)
        return
    want = nn.functional.max_pool2d(x, (1, 2))
    assert torch.equal(got, want)
    upstream = torch.randn_like(want)
    (got_gradient,) = torch.autograd.grad(got, x, upstream)
    (want_gradient,) = torch.autograd.grad(want, x, upstream)
    assert torch.equal(got_gradient, want_gradient)


def test_dropout_rates(small_model):
    assert small_model("fcn").trunk.dropout == 0.2
    assert small_model("fcn_mlp").trunk.dropout == 0.1


def test_dense_fractions():
    elements = torch.tensor([[1, 8, 0], [100, 101, 26]])
    fractions = torch.tensor([[0.6, 0.4, 0.0], [0.5, 0.25, 0.25]])
    dense = dense_fractions(elements, fractions)
    want = torch.zeros(2, 100)
    want[0, 0], want[0, 7], want[1, 99], want[1, 25] = 0.6, 0.4, 0.5, 0.25
    torch.testing.assert_close(dense, want)
