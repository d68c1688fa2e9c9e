"""XxaCT-NN and the XRD transformer: shapes, masks, and which parameters an objective trains."""

import math

import pytest
import torch

from xxact.models import build_model
from xxact.objectives import draw_mask, multi_target_loss, pretraining_loss

NEAR = {"rtol": 1e-4, "atol": 1e-5}
KINDS = ("xxact_nn", "crabnet", "xrd_transformer", "fcn", "fcn_mlp", "xxact_conv", "xrd_conv")


@pytest.mark.parametrize("kind", KINDS)
def test_outputs(kind, small_model, batch):
    model = small_model(kind).eval()
    outputs = model(batch)
    assert outputs["formation_energy_per_atom"].shape == (6,)
    assert outputs["crystal_system"].shape == (6, 7)
    embedding = model.embedding(model.features(batch))
    assert embedding.ndim == 2
    assert len(embedding) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_modalities_that_are_not_used_may_be_absent(kind, small_model, batch):
    model = small_model(kind).eval()
    want = model(batch)["crystal_system"]
    if "xrd" not in model.uses:
        batch.pattern = None
    if "composition" not in model.uses:
        batch.elements = batch.fractions = None
    torch.testing.assert_close(model(batch)["crystal_system"], want)
    if "xrd" in model.uses:
        batch.pattern = batch.pattern.flip(0)
        assert not torch.allclose(model(batch)["crystal_system"], want)


@pytest.mark.parametrize("kind", ["xxact_nn", "xrd_transformer"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_features_at_the_cls_alone(kind, norm_first, small_model, batch):
    model = small_model(kind, norm_first=norm_first).eval()
    alone, full = model.features(batch), model.features(batch, cls_only=False)
    assert alone.shape[1] == 1
    assert full.shape[1] == 18
    torch.testing.assert_close(model.embedding(alone), model.embedding(full), **NEAR)


def test_encoders_and_fusion_shapes(small_model, batch):
    model = small_model("xxact_nn")
    composition = model.encode_composition(batch)
    assert composition.values.shape == (6, 5, 16)
    xrd = model.encode_xrd(batch.pattern)
    assert xrd.shape == (6, 18, 16)
    fused = model.fuse(xrd, composition)
    assert fused.shape == (6, 18, 24)
    places = torch.tensor([3, 16]).expand(6, -1)
    mask = torch.zeros(6, 17, dtype=torch.bool).scatter_(1, places, True)
    assert model.reconstruct(batch.pattern, composition, mask, places).shape == (6, 2, 250)


def test_windows_are_consecutive(small_model, batch):
    windows = small_model("xxact_nn").xrd.windows(batch.pattern)
    torch.testing.assert_close(windows[2, 3], batch.pattern[2, 750:1000])


def test_mask_token_replaces_the_window(small_model, batch):
    model = small_model("xxact_nn").eval()
    mask = torch.zeros(6, 17, dtype=torch.bool)
    mask[1, 4] = mask[5, 16] = True
    replaced = batch.pattern.clone()
    replaced[1, 1000:1250] = model.mask_token.detach()
    replaced[5, 4000:] = model.mask_token.detach()
    got = model.encode_xrd(batch.pattern, mask)
    torch.testing.assert_close(got, model.encode_xrd(replaced), **NEAR)
    assert not torch.allclose(got[1], model.encode_xrd(batch.pattern)[1])


def test_composition_reaches_every_fused_token(small_model, batch):
    model = small_model("xxact_nn").eval()
    want = model.features(batch, cls_only=False)
    batch.elements = torch.where(batch.elements > 0, batch.elements % 100 + 1, 0)
    difference = (model.features(batch, cls_only=False) - want).abs().amax(dim=2)
    assert (difference > 1e-4).all()


def test_temperature_starts_at_its_published_value(small_model):
    assert small_model("xxact_nn").temperature.item() == pytest.approx(0.07)
    assert small_model("xxact_nn").log_temperature.item() == pytest.approx(math.log(0.07))


def gradients_of(model, batch, objective) -> set[str]:
    """Names of the parameters that hold a gradient after one backward pass."""
    if objective == "supervised":
        values = {
            "formation_energy_per_atom": torch.randn(6),
            "crystal_system": torch.arange(6),
        }
        loss = multi_target_loss(model(batch), values, torch.eye(2).bool()[torch.arange(6) % 2])
    else:
        mask = draw_mask(torch.Generator().manual_seed(0), 6, model.n_windows)
        loss = pretraining_loss(model, batch, objective, mask)["loss"]
    loss.backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize(
    ("objective", "prefixes"),
    [
        ("contrastive", ("composition.", "xrd.", "log_temperature")),
        (
            "mxm",
            (
                "composition.",
                "xrd.",
                "composition_bridge",
                "xrd_bridge",
                "fusion",
                "mask_token",
                "mxm_head",
            ),
        ),
        (
            "supervised",
            ("composition.", "xrd.", "composition_bridge", "xrd_bridge", "fusion", "heads"),
        ),
    ],
)
@pytest.mark.parametrize("norm_first", [False, True])
def test_objective_trains_exactly_its_modules(small_model, batch, objective, prefixes, norm_first):
    model = small_model("xxact_nn", norm_first=norm_first)
    want = {name for name, _ in model.named_parameters() if name.startswith(prefixes)}
    assert gradients_of(model, batch, objective) == want  # nothing frozen: what the loss reaches
    model.zero_grad(set_to_none=True)
    trained = model.freeze_for(objective)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == want
    assert len(trained) == len(want)
    assert gradients_of(model, batch, objective) == want


def test_both_objectives_train_the_union(small_model, batch):
    model = small_model("xxact_nn")
    want = {name for name, _ in model.named_parameters() if not name.startswith("heads")}
    assert gradients_of(model, batch, "contrastive+mxm") == want
    model.freeze_for("contrastive+mxm")
    assert {name for name, p in model.named_parameters() if p.requires_grad} == want


@pytest.mark.parametrize("kind", KINDS)
def test_supervised_training_reaches_every_parameter_that_is_trained(kind, small_model, batch):
    model = small_model(kind)
    model.freeze_for("supervised")
    want = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert gradients_of(model, batch, "supervised") == want


@pytest.mark.parametrize("kind", KINDS)
def test_transfer_trains_the_heads_on_a_fixed_trunk(kind, small_spec, small_model, batch):
    targets = tuple(small_model(kind).targets.values())
    model = build_model(small_spec(kind), targets, linear_heads=True).train()
    model.freeze_for("supervised", transfer=True)
    model.train()
    assert all(isinstance(head, torch.nn.Linear) for head in model.heads.values())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if name.startswith("heads.")}
    assert gradients_of(model, batch, "supervised") == trained
    first, second = (model.embedding(model.features(batch)) for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    model.freeze_for("supervised")
    model.train()
    assert model.training
    if kind != "fcn_mlp":  # so narrow a network may lose no active unit
        again = model.embedding(model.features(batch))
        assert not torch.equal(again, model.embedding(model.features(batch)))


def test_unimodal_models_refuse_pretraining(small_model):
    with pytest.raises(ValueError, match="no objective 'mxm'"):
        small_model("crabnet").freeze_for("mxm")
    with pytest.raises(ValueError, match="no objective 'maxim'"):
        small_model("xxact_nn").freeze_for("maxim")
