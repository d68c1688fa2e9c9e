"""The composition encoder and CrabNet against element-by-element formulas."""

import math

import pytest
import torch
from torch import nn

from xxact.models.composition import (
    CompositionEncoder,
    ResidualNetwork,
    fraction_encoding,
    fraction_index,
)
from xxact.models.spec import CompositionSpec

SMALL = CompositionSpec(width=16, layers=2, heads=2, feedforward=24)
NEAR = {"rtol": 1e-4, "atol": 1e-5}


def test_fraction_encoding_is_crabnets():
    table = fraction_encoding(5000, 256)
    assert table.shape == (5000, 256)
    for row, column in [(0, 0), (0, 1), (17, 6), (2499, 101), (4999, 255)]:
        angle = row / 50 ** (2 * column / 256)
        want = math.cos(angle) if column % 2 else math.sin(angle)
        assert table[row, column].item() == pytest.approx(want, abs=2e-4)


def test_fraction_index():
    fractions = torch.tensor([[1.0, 0.5, 0.25, 1 / 3, 1e-5, 0.0]])
    linear, logarithmic = fraction_index(fractions, 5000)[0].unbind(1)
    assert linear.tolist() == [4999, 2499, 1249, 1666, 0, 0]
    # 0.0025 log2(f)^2: 0, 0.0025, 0.01, 0.0062802, 0.6897004, and 1 for a missing element.
    assert logarithmic.tolist() == [0, 12 - 1, 50 - 1, 31 - 1, 3449 - 1, 4999]


def test_input_tokens(batch):
    torch.manual_seed(0)
    encoder = CompositionEncoder(SMALL, cls=True)
    with torch.no_grad():
        encoder.element_scale.fill_(0.7)
        encoder.fraction_scale.copy_(torch.tensor([0.4, 1.5]))
        nn.init.normal_(encoder.projection.bias)
    got = encoder.embed(batch.elements, batch.fractions)
    for i, row in enumerate(batch.elements.tolist()):
        for j, z in enumerate(row):
            if not z:
                continue
            f = batch.fractions[i, j].item()
            vector = encoder.projection(encoder.table.weight[z]) * 2**0.7
            log = max(1 / 5000, min(1.0, 0.0025 * math.log2(f) ** 2))
            for half, (value, b) in enumerate([(max(f, 1 / 5000), 0.4), (log, 1.5)]):
                encoding = fraction_encoding(5000, 8)[round(value * 5000) - 1]
                vector = vector + nn.functional.pad(
                    encoding * 2 ** ((1 - b) ** 2), (8 * half, 8 - 8 * half)
                )
            torch.testing.assert_close(got[i, j], vector, **NEAR)


def test_scalers_start_at_one():
    encoder = CompositionEncoder(SMALL, cls=False)
    assert encoder.element_scale.tolist() == [1.0]
    assert encoder.fraction_scale.tolist() == [1.0, 1.0]
    assert not encoder.table.weight[0].any()


def test_padding_and_order_do_not_matter(batch):
    encoder = CompositionEncoder(SMALL, cls=True).eval()
    want = encoder(batch.elements, batch.fractions).values
    wider = [nn.functional.pad(x, (0, 3)) for x in (batch.elements, batch.fractions)]
    got = encoder(*wider)
    held = ~encoder(batch.elements, batch.fractions).padding
    torch.testing.assert_close(got.values[:, : want.shape[1]][held], want[held], **NEAR)
    assert got.padding[:, -3:].all()
    assert not got.padding[:, :2].any()
    flipped = encoder(batch.elements.flip(1), batch.fractions.flip(1)).values
    torch.testing.assert_close(flipped[:, 0], want[:, 0], **NEAR)
    torch.testing.assert_close(
        flipped[:, 1:].flip(1)[held[:, 1:]], want[:, 1:][held[:, 1:]], **NEAR
    )


def test_cls_alone_equals_full_output(batch):
    encoder = CompositionEncoder(SMALL, cls=True).eval()
    full = encoder(batch.elements, batch.fractions).values
    alone = encoder(batch.elements, batch.fractions, cls_only=True).values
    torch.testing.assert_close(alone, full[:, :1], **NEAR)


def test_padding_row_gets_no_gradient(batch, small_model):
    model = small_model("crabnet")
    sum(output.sum() for output in model(batch).values()).backward()
    gradient = model.composition.table.weight.grad
    assert not gradient[0].any()
    used = torch.unique(batch.elements[batch.elements > 0])
    assert gradient[used].any(dim=1).all()
    assert int(gradient.any(dim=1).sum()) == len(used)


def test_residual_network():
    torch.manual_seed(0)
    network = ResidualNetwork(6, (8, 4, 4), 2)
    x = torch.randn(3, 6)
    want = x
    for layer, size in zip(network.layers, (8, 4, 4), strict=True):
        around = network.around[list(network.layers).index(layer)]
        straight = want @ layer.weight.T + layer.bias
        straight = torch.where(straight > 0, straight, 0.01 * straight)
        want = straight + (want if want.shape[1] == size else want @ around.weight.T)
    torch.testing.assert_close(network(x), network.output(want), **NEAR)
    assert isinstance(network.around[2], nn.Identity)


def test_crabnet_averages_over_the_elements(batch, small_model):
    model = small_model("crabnet").eval()
    tokens = model.features(batch)
    value, deviation, logits, embedding = [], [], [], []
    for row, padding in zip(tokens.values, tokens.padding, strict=True):
        elements = row[~padding]
        out = model.heads["formation_energy_per_atom"](elements).mean(0)
        value.append(out[0] * torch.sigmoid(out[2]))
        deviation.append(out[1])
        logits.append(model.heads["crystal_system"](elements).mean(0))
        embedding.append(elements.mean(0))
    got = model(batch)
    torch.testing.assert_close(got["formation_energy_per_atom"], torch.stack(value), **NEAR)
    estimate = model.estimate(tokens, "formation_energy_per_atom")
    assert torch.equal(estimate.value, got["formation_energy_per_atom"])
    torch.testing.assert_close(estimate.log_deviation, torch.stack(deviation), **NEAR)
    torch.testing.assert_close(got["crystal_system"], torch.stack(logits), **NEAR)
    torch.testing.assert_close(model.embedding(tokens), torch.stack(embedding), **NEAR)
