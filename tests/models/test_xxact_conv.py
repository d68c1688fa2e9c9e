"""The networks that read patterns by convolutions: trunk, axis, what is not measured, fusion."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xxact.models import build_model
from xxact.models.spec import FusionSpec, ModelSpec, PatternSpec
from xxact.models.xxact_conv import PatternEncoder, log_d_points
from xxact.objectives import Output, draw_mask, pretraining_loss
from xxact.xrd.grid import two_theta_grid

NEAR = {"rtol": 1e-4, "atol": 1e-5}
SIZE = {"width": 16, "heads": 2, "feedforward": 24}


def encoder(**changes) -> PatternEncoder:
    torch.manual_seed(0)
    return PatternEncoder(PatternSpec(**SIZE | {"channels": (3, 4, 5, 6)} | changes)).eval()


def gap(pattern: torch.Tensor) -> torch.Tensor:
    """The patterns with 300 values that were not measured."""
    changed = pattern.clone()
    changed[:, 1000:1300] = torch.nan
    return changed


def written_out(x, layer, step, edge):
    """A convolution of x (B, C, L), with zeros around it, a product a place."""
    padded, weight = F.pad(x, (edge, edge)), layer.weight[:, :, 0]
    places = range(0, padded.shape[2] - weight.shape[2] + 1, step)
    outputs = [
        torch.einsum("bck,ock->bo", padded[:, :, i : i + weight.shape[2]], weight) + layer.bias
        for i in places
    ]
    return torch.stack(outputs, dim=2)


def changed(model, small_spec, **parts):
    """A seeded small `xxact_conv` with other settings of its parts."""
    spec = small_spec("xxact_conv")
    parts = {name: dataclasses.replace(getattr(spec, name), **new) for name, new in parts.items()}
    torch.manual_seed(0)
    return build_model(dataclasses.replace(spec, **parts), tuple(model.targets.values()))


@pytest.mark.parametrize("intensity", ["raw", "sqrt"])
@pytest.mark.parametrize("stride", [4, 32])
def test_trunk_is_a_chain_of_convolutions_and_pooling_written_out(stride, intensity):
    """Nothing is known behind the last value, and the edges of later layers are zeros."""
    model = encoder(intensity=intensity, stride=stride)
    pattern = gap(100 * torch.rand(2, 4250, generator=torch.Generator().manual_seed(1)) ** 4)
    seen = {}
    model.projection.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    with torch.no_grad():
        model(pattern)
    pattern = torch.cat((pattern, torch.full((2, 102), torch.nan)), dim=1)
    known = pattern.nan_to_num(0).double()
    scaled = known.sqrt() if intensity == "sqrt" else known / 10
    x = torch.stack((scaled, pattern.isnan().double()), dim=1)  # (2, 2, 4352)
    with torch.no_grad():
        x = written_out(x, model.first.double(), stride, stride // 2).clamp(min=0)
        for block in model.blocks.double():
            x = written_out(x, block.convolution, 1, 1)
            x = torch.stack([x[:, :, j : j + 2].amax(2) for j in range(0, x.shape[2], 2)], dim=2)
            x = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
            x = (x * block.norm.weight[:, None] + block.norm.bias[:, None]).clamp(min=0)
    assert x.shape == (2, 6, 4352 // stride // 8)
    torch.testing.assert_close(seen["x"].double(), x.transpose(1, 2), **NEAR)


@pytest.mark.parametrize("summary", ["flatten", "mean"])
def test_cls_sums_the_tokens_up(summary):
    model = encoder(summary=summary, stride=32)
    with torch.no_grad():
        tokens = model(torch.rand(2, 4250))  # (2, 18, 16)
        read = tokens[:, 1:].reshape(2, -1) if summary == "flatten" else tokens[:, 1:].mean(1)
        torch.testing.assert_close(tokens[:, 0], model.cls(read), **NEAR)


def test_axis_of_log_d_has_equal_steps_and_the_same_ends():
    left, weight = (t.double().numpy() for t in log_d_points())
    two_theta = 5 + 0.02 * (left + weight)
    d = 1 / np.sin(np.radians(two_theta / 2))  # but for half the wavelength
    steps = np.diff(np.log(d))
    assert np.allclose(steps, steps.mean(), rtol=2e-3)
    assert two_theta[[0, -1]] == pytest.approx(two_theta_grid()[[0, -1]])


def test_axis_of_log_d_interpolates_between_neighbours():
    model = encoder(axis="log_d")
    pattern = torch.rand(2, 4250)
    left, weight = (t.double().numpy() for t in log_d_points())
    places = np.arange(4250)
    want = [np.interp(left + weight, places, row) for row in pattern.numpy()]
    np.testing.assert_allclose(model.on_axis(pattern).numpy(), want, rtol=1e-4, atol=1e-5)
    assert model.on_axis(gap(pattern)).isnan().sum(1).min() > 300  # finer at low angles


@pytest.mark.parametrize("axis", ["two_theta", "log_d"])
@pytest.mark.parametrize("kind", ["xxact_conv", "xrd_conv"])
def test_a_gap_is_told_from_zeros(kind, axis, small_spec, small_model, batch):
    model = small_model(kind)
    pattern = dataclasses.replace(small_spec(kind).pattern, axis=axis)
    model = build_model(
        dataclasses.replace(small_spec(kind), pattern=pattern), tuple(model.targets.values())
    ).eval()
    assert model.reads_unmeasured
    whole, batch.pattern = batch.pattern, gap(batch.pattern)
    with_gap = model(batch)["crystal_system"]
    assert with_gap.isfinite().all()
    batch.pattern = batch.pattern.nan_to_num(0)
    assert not torch.allclose(model(batch)["crystal_system"], with_gap)
    batch.pattern = whole
    assert not torch.allclose(model(batch)["crystal_system"], with_gap)


def test_only_models_that_can_say_they_read_what_is_not_measured(small_model):
    kinds = ("xxact_nn", "crabnet", "xrd_transformer", "fcn", "fcn_mlp")
    assert not any(small_model(kind).reads_unmeasured for kind in kinds)


@pytest.mark.parametrize("axis", ["two_theta", "log_d"])
def test_what_is_masked_does_not_matter(axis, small_model, small_spec, batch):
    """A masked window's values reach the loss through its target alone."""
    model = changed(small_model("xxact_conv"), small_spec, pattern={"axis": axis}).eval()
    mask = draw_mask(torch.Generator().manual_seed(0), 6, model.n_windows, 0.5)
    want = model.encode_xrd(batch.pattern, mask)
    under = model.windows(batch.pattern).masked_fill(mask[..., None], 77.0).flatten(1)
    torch.testing.assert_close(
        model.xrd(under.masked_fill(mask.repeat_interleave(50, 1), torch.nan)), want
    )
    if axis == "two_theta":
        torch.testing.assert_close(model.encode_xrd(under, mask), want)
    assert not torch.allclose(model.encode_xrd(batch.pattern), want)


def test_tokens_rebuild_the_windows_in_their_places(small_model, batch):
    model = small_model("xxact_conv").eval()
    mask = torch.zeros(6, 85, dtype=torch.bool)
    places = torch.tensor([84, 7])
    mask[:, places] = True
    composition = model.encode_composition(batch)
    fused = model.fuse(model.encode_xrd(batch.pattern, mask), composition)  # (6, 18, W)
    points = model.mxm_head(fused[:, 1:]).reshape(6, 4352)[:, :4250]
    got = model.reconstruct(batch.pattern, composition, mask, places.expand(6, -1))
    torch.testing.assert_close(got[:, 0], points[:, 4200:], **NEAR)
    torch.testing.assert_close(got[:, 1], points[:, 350:400], **NEAR)


def test_loss_of_masked_windows_on_the_scale_of_square_roots(small_model, batch):
    model = small_model("xxact_conv").eval()
    mask = draw_mask(torch.Generator().manual_seed(0), 6, 85, 0.4)
    output = Output("sqrt", "none")
    shown = []
    got = pretraining_loss(model, batch, "mxm", mask, look=shown.append, output=output)["mxm"]
    fused = model.fuse(model.encode_xrd(batch.pattern, mask), model.encode_composition(batch))
    points = model.mxm_head(fused[:, 1:]).detach().reshape(6, 4352)[:, :4250].double()
    points = points.reshape(6, 85, 50).numpy()
    true = batch.pattern.reshape(6, 85, 50).double().numpy()
    squared = ((points - np.sqrt(true)) ** 2).mean(2)
    want = np.mean([row[own].mean() for row, own in zip(squared, mask.numpy(), strict=True)])
    assert got.item() == pytest.approx(want, rel=1e-4)
    (rebuilt,) = shown
    intensity = np.maximum(points, 0) ** 2
    np.testing.assert_allclose(
        rebuilt.prediction[rebuilt.mask].detach().numpy(), intensity[mask.numpy()], rtol=1e-3
    )
    np.testing.assert_allclose(rebuilt.windows[rebuilt.mask].numpy(), true[mask.numpy()], rtol=1e-6)


WAYS = ("cross_attention", "swapped", "concatenate", "sum")


@pytest.mark.parametrize("by", WAYS)
def test_fusion_reads_both_and_no_padding(by, small_model, small_spec, batch):
    model = changed(small_model("xxact_conv"), small_spec, fusion={"by": by}).eval()
    want = model(batch)["crystal_system"]
    padded = {
        "elements": F.pad(batch.elements, (0, 3)),
        "fractions": F.pad(batch.fractions, (0, 3)),
    }
    for name, value in padded.items():
        setattr(batch, name, value)
    torch.testing.assert_close(model(batch)["crystal_system"], want, **NEAR)
    alone, full = model.features(batch), model.features(batch, cls_only=False)
    assert alone.shape[1] == 1
    assert full.shape[1] == (8 if by == "swapped" else 18)
    torch.testing.assert_close(model.embedding(alone), model.embedding(full), **NEAR)
    batch.elements = torch.where(batch.elements > 0, batch.elements % 100 + 1, 0)
    other = model(batch)["crystal_system"]
    assert not torch.allclose(other, want)
    batch.pattern = batch.pattern.flip(0)
    assert not torch.allclose(model(batch)["crystal_system"], other)


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("objective", ["contrastive", "mxm", "contrastive+mxm"])
def test_objectives_reach_the_parameters_that_they_train(
    by, objective, small_model, small_spec, batch
):
    if by == "swapped" and "mxm" in objective:
        pytest.skip("no fused token stands in a window's place")
    model = changed(small_model("xxact_conv"), small_spec, fusion={"by": by})
    trained = {id(parameter) for parameter in model.freeze_for(objective)}
    mask = draw_mask(torch.Generator().manual_seed(0), 6, model.n_windows, 0.5)
    pretraining_loss(model, batch, objective, mask)["loss"].backward()
    got = {id(p) for p in model.parameters() if p.grad is not None}
    assert got == trained
    assert trained


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("summary", ["flatten", "mean"])
@pytest.mark.parametrize("kind", ["xxact_conv", "xrd_conv"])
def test_the_cls_alone_is_that_of_all_tokens(kind, summary, layers, small_model, small_spec, batch):
    spec = small_spec(kind)
    pattern = dataclasses.replace(spec.pattern, summary=summary, layers=layers)
    targets = tuple(small_model(kind).targets.values())
    model = build_model(dataclasses.replace(spec, pattern=pattern), targets).eval()
    alone, full = model.features(batch), model.features(batch, cls_only=False)
    assert alone.shape[1:] == full[:, :1].shape[1:]
    assert full.shape[1] == 18
    torch.testing.assert_close(model.embedding(alone), model.embedding(full), **NEAR)
    model(batch)["crystal_system"].sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n.startswith("xrd."))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": {"stride": 1}}, "the stride be even"),
        ({"pattern": {"stride": 16}}, "tokens of 512 points: they must divide 4352"),
        ({"pattern": {"channels": ()}}, "0 channels"),
        ({"pattern": {"width": 64}}, "pattern.width 64"),
        ({"kind": "xxact_nn", "fusion": {"by": "sum"}}, "for xxact_conv alone"),
    ],
)
def test_sizes_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec(**{"kind": "xxact_conv"} | changes)


def test_published_sizes_are_the_defaults():
    spec = ModelSpec(kind="xxact_conv")
    assert spec.fusion == FusionSpec()
    assert spec.pattern.tokens == 17
