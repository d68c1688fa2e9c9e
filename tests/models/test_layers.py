"""The transformer layers against torch's own, with the same weights."""

import pytest
import torch
from torch import nn

from xxact.models.layers import CLS, Decoder, DecoderLayer, Encoder, EncoderLayer, additive_mask
from xxact.models.spec import EncoderSpec

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def spec(norm_first: bool, dropout: float = 0.0) -> EncoderSpec:
    return EncoderSpec(
        width=24, layers=2, heads=3, feedforward=40, dropout=dropout, norm_first=norm_first
    )


def torch_options(s: EncoderSpec) -> dict:
    return {
        "d_model": s.width,
        "nhead": s.heads,
        "dim_feedforward": s.feedforward,
        "dropout": s.dropout,
        "batch_first": True,
        "norm_first": s.norm_first,
    }


def randomise(module: nn.Module) -> None:
    """Give the biases and norms, which start at 0 and 1, values that matter."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.fixture
def tokens():
    torch.manual_seed(1)
    padding = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1]], dtype=torch.bool)
    return torch.randn(3, 7, 24), torch.randn(3, 5, 24), padding


def gradients(module: nn.Module, output: torch.Tensor) -> dict[str, torch.Tensor]:
    module.zero_grad()
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    return {name: parameter.grad for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_encoder_equals_torch(tokens, norm_first, training):
    _, x, padding = tokens
    ours = Encoder(spec(norm_first)).train(training)
    randomise(ours)
    layer = nn.TransformerEncoderLayer(**torch_options(spec(norm_first)))
    norm = nn.LayerNorm(24) if norm_first else None
    theirs = nn.TransformerEncoder(layer, 2, norm, enable_nested_tensor=False).train(training)
    theirs.load_state_dict(ours.state_dict())
    got = ours(x, additive_mask(padding))
    want = theirs(x, src_key_padding_mask=padding)
    keep = ~padding
    torch.testing.assert_close(got[keep], want[keep], **TOLERANCE)
    want_gradients = gradients(theirs, want * keep[..., None])
    for name, gradient in gradients(ours, got * keep[..., None]).items():
        torch.testing.assert_close(gradient, want_gradients[name], **TOLERANCE)


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_equals_torch(tokens, norm_first):
    x, memory, padding = tokens
    ours = Decoder(spec(norm_first))
    randomise(ours)
    layer = nn.TransformerDecoderLayer(**torch_options(spec(norm_first)))
    theirs = nn.TransformerDecoder(layer, 2, nn.LayerNorm(24) if norm_first else None)
    theirs.load_state_dict(ours.state_dict())
    got = ours(x, memory, additive_mask(padding))
    want = theirs(x, memory, memory_key_padding_mask=padding)
    torch.testing.assert_close(got, want, **TOLERANCE)
    want_gradients = gradients(theirs, want)
    for name, gradient in gradients(ours, got).items():
        torch.testing.assert_close(gradient, want_gradients[name], **TOLERANCE)


@pytest.mark.parametrize("norm_first", [False, True])
def test_output_at_chosen_tokens_equals_full_output(tokens, norm_first):
    x, memory, padding = tokens
    encoder, decoder = Encoder(spec(norm_first)), Decoder(spec(norm_first))
    mask = additive_mask(padding)
    full, alone = encoder(memory, mask), encoder(memory, mask, CLS)
    assert alone.shape == (3, 1, 24)
    torch.testing.assert_close(alone, full[:, :1], **TOLERANCE)
    full, alone = decoder(x, memory, mask), decoder(x, memory, mask, CLS)
    assert alone.shape == (3, 1, 24)
    torch.testing.assert_close(alone, full[:, :1], **TOLERANCE)
    chosen = torch.tensor([[6, 0, 3], [1, 1, 2], [5, 4, 3]])
    some = decoder(x, memory, mask, chosen)
    for sample in range(3):
        torch.testing.assert_close(some[sample], full[sample, chosen[sample]], **TOLERANCE)


def test_fused_attention_of_other_devices_has_the_same_function(tokens, monkeypatch):
    """The path of accelerators (torch's fused attention) equals that of the CPU."""
    x, memory, padding = tokens
    decoder = Decoder(spec(False))
    want = decoder(x, memory, additive_mask(padding))
    monkeypatch.setattr("xxact.models.attention.on_cpu", lambda tensor: False)
    torch.testing.assert_close(decoder(x, memory, additive_mask(padding)), want, **TOLERANCE)


def test_initial_weights_follow_torch():
    torch.manual_seed(0)
    s = EncoderSpec(width=128, layers=1, heads=4, feedforward=256)
    ours, theirs = EncoderLayer(s), nn.TransformerEncoderLayer(**torch_options(s))
    for name, parameter in theirs.named_parameters():
        got = ours.get_parameter(name)
        torch.testing.assert_close(got.std(), parameter.std(), rtol=0.1, atol=0)
        torch.testing.assert_close(got.abs().max(), parameter.abs().max(), rtol=0.1, atol=0)
    names = {name for name, _ in nn.TransformerDecoderLayer(**torch_options(s)).named_parameters()}
    assert {name for name, _ in DecoderLayer(s).named_parameters()} == names


def test_dropout_acts_in_training_only_and_follows_the_seed(tokens):
    x, memory, padding = tokens
    decoder = Decoder(spec(False, dropout=0.3))
    mask = additive_mask(padding)

    def output(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return decoder(x, memory, mask)

    torch.testing.assert_close(output(0), output(0), rtol=0, atol=0)
    assert (output(0) - output(1)).abs().mean() > 0.05
    decoder.eval()
    torch.testing.assert_close(output(0), output(1), rtol=0, atol=0)


def test_bfloat16_autocast_stays_near_float32(tokens):
    x, memory, padding = tokens
    decoder = Decoder(spec(False))
    want = decoder(x, memory, additive_mask(padding))
    with torch.autocast("cpu", torch.bfloat16):
        got = decoder(x, memory, additive_mask(padding))
    torch.testing.assert_close(got, want, rtol=0.05, atol=0.05)
