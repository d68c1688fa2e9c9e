"""Every objective against a formula written out in loops."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import laplace

from xxact.data.targets import CRYSTAL_SYSTEM, Target
from xxact.models import CompositionSpec, FusionSpec, ModelSpec, XRDSpec, build_model
from xxact.models.base import Estimate
from xxact.objectives import (
    contrastive_gradients,
    contrastive_loss,
    contrastive_share,
    draw_mask,
    multi_target_loss,
    mxm_loss,
    pretraining_loss,
    robust_l1,
    slot_losses,
    with_gradients,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def naive_contrastive(c: np.ndarray, x: np.ndarray, temperature: float) -> float:
    n = len(c)
    similarity = [
        [c[i] @ x[j] / (np.linalg.norm(c[i]) * np.linalg.norm(x[j])) for j in range(n)]
        for i in range(n)
    ]
    total = 0.0
    for i in range(n):
        own = math.exp(similarity[i][i] / temperature)
        total -= math.log(own / sum(math.exp(similarity[i][j] / temperature) for j in range(n)))
        total -= math.log(own / sum(math.exp(similarity[j][i] / temperature) for j in range(n)))
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_contrastive(generator, temperature):
    c, x = torch.randn(2, 5, 8, generator=generator)
    want = naive_contrastive(c.double().numpy(), x.double().numpy(), temperature)
    assert contrastive_loss(c, x, temperature).item() == pytest.approx(want, rel=1e-5)
    assert contrastive_loss(10 * c, x / 3, temperature).item() == pytest.approx(want, rel=1e-5)


def test_contrastive_is_symmetric_and_least_for_equal_rows(generator):
    c, x = torch.randn(2, 5, 8, generator=generator)
    torch.testing.assert_close(contrastive_loss(c, x, 0.5), contrastive_loss(x, c, 0.5))
    assert contrastive_loss(c, c, 0.07) < contrastive_loss(c, x, 0.07)
    alike = torch.ones(5, 8)
    assert contrastive_loss(alike, alike, 0.07).item() == pytest.approx(math.log(5))


def test_contrastive_is_float32_under_autocast(generator):
    c, x = torch.randn(2, 64, 32, generator=generator)
    want = contrastive_loss(c, x, 0.01)
    with torch.autocast("cpu", torch.bfloat16):
        got = contrastive_loss(c, x, 0.01)
    assert got.dtype is torch.float32
    torch.testing.assert_close(got, want)


def test_shares_of_the_contrastive_loss_have_its_value_and_gradients(generator):
    pair = torch.randn(2, 11, 6, generator=generator)
    c, x = (tensor.clone().requires_grad_() for tensor in pair)
    temperature = torch.tensor(0.3, requires_grad=True)
    loss = contrastive_loss(c, x, temperature)
    loss.backward()
    shares = [slice(0, 4), slice(4, 5), slice(5, 11)]
    values, gradients = contrastive_gradients(c, x, temperature, shares)
    torch.testing.assert_close(sum(values), loss.detach())
    for gradient, tensor in zip(gradients, (c, x, temperature), strict=True):
        torch.testing.assert_close(gradient, tensor.grad)
    torch.testing.assert_close(values[1], contrastive_share(*pair, 0.3, slice(4, 5)))


def test_a_number_with_given_gradients(generator):
    a, b = (torch.randn(3, generator=generator).requires_grad_() for _ in range(2))
    gradients = torch.randn(2, 3, generator=generator)
    number = with_gradients(torch.tensor(1.25), gradients, a, b)
    number.backward()
    assert float(number.detach()) == 1.25
    torch.testing.assert_close(torch.stack((a.grad, b.grad)), gradients)


def test_mask_rate_and_at_least_one(generator):
    n = 200_000
    mask = draw_mask(generator, n)
    assert mask.shape == (n, 17)
    assert mask.any(dim=1).all()
    # Independent draws, and one more for the share of samples in which none was drawn.
    none = 0.95**17
    assert mask.sum(dim=1).float().mean().item() == pytest.approx(17 * 0.05 + none, abs=0.01)
    counts = mask.sum(dim=1).bincount(minlength=4)[:4] / n
    want = [0, none + 17 * 0.05 * 0.95**16, math.comb(17, 2) * 0.05**2 * 0.95**15]
    assert counts[:3].tolist() == pytest.approx(want, abs=0.005)
    # No token is preferred, neither over all samples nor among those with one masked token.
    for rows in (mask, mask[mask.sum(dim=1) == 1]):
        share = rows.float().mean(dim=0)
        assert (share - share.mean()).abs().max() < 0.004


def test_mask_follows_the_generator():
    first, again, other = (draw_mask(torch.Generator().manual_seed(s), 50) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert draw_mask(torch.Generator().manual_seed(0), 50, tokens=5).shape == (50, 5)


def test_mxm(generator):
    prediction, windows = 100 * torch.rand(2, 4, 17, 250, generator=generator)
    mask = draw_mask(generator, 4, fraction=0.2)
    assert mask.sum() > 6
    per_sample = []
    for b in range(4):
        errors = [
            float(np.mean((prediction[b, t].numpy() - windows[b, t].numpy()) ** 2))
            for t in range(17)
            if mask[b, t]
        ]
        per_sample.append(sum(errors) / len(errors))
    want = sum(per_sample) / 4
    assert mxm_loss(prediction, windows, mask).item() == pytest.approx(want, rel=1e-5)


def test_mxm_ignores_what_is_not_masked(generator):
    windows = 100 * torch.rand(4, 17, 250, generator=generator)
    mask = draw_mask(generator, 4)
    prediction = torch.where(mask[..., None], windows, 0.0)
    assert mxm_loss(prediction, windows, mask).item() == 0.0


def test_regression_and_classes():
    output, value = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 1.0])
    assert slot_losses(output, value).mean().item() == pytest.approx((0.25 + 9) / 2)
    logits = torch.tensor([[0.2, -1.0, 3.0], [0.0, 0.0, 0.0]])
    label = torch.tensor([1, 2])
    want = -(-1.0 - math.log(math.exp(0.2) + math.exp(-1) + math.exp(3)) + math.log(1 / 3)) / 2
    assert slot_losses(logits, label).mean().item() == pytest.approx(want, rel=1e-6)


def test_robust_l1_is_the_likelihood_of_laplaces_distribution(generator):
    value, mean, log_deviation = torch.randn(3, 8, generator=generator).double()
    got = robust_l1(Estimate(mean, log_deviation), value)
    scale = np.exp(log_deviation.numpy()) / math.sqrt(2)  # whose standard deviation is sqrt(2) b
    want = -laplace.logpdf(value.numpy(), mean.numpy(), scale) - math.log(2) / 2
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5)
    # Half a unit off, where a whole one is expected, and off by nothing where e is.
    sure = Estimate(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
    assert robust_l1(sure, torch.tensor([0.5, 2.0])).tolist() == pytest.approx([0.5**0.5, 1.0])


def test_robust_l1_takes_the_place_of_the_squared_error(generator):
    mean, log_deviation = torch.randn(2, 3, generator=generator).requires_grad_()
    logits = torch.randn(3, 7, generator=generator)
    values = {"band_gap": torch.tensor([0.5, math.nan, 2.0]), "phase": torch.tensor([-1, 4, -1])}
    outputs = {"band_gap": Estimate(mean, log_deviation), "phase": logits}
    loss = multi_target_loss(outputs, values, one_of(torch.tensor([0, 1, 0]), 2), 10.0)
    want = slot_losses(logits[1:2], values["phase"][1:2]).item()
    for i in (0, 2):
        error = abs(mean[i].item() - values["band_gap"][i].item())
        spread = log_deviation[i].item()
        want += 10 * (math.sqrt(2) * error * math.exp(-spread) + spread)
    assert loss.item() == pytest.approx(want / 3, rel=1e-5)
    gradients = torch.autograd.grad(loss, (mean, log_deviation))
    assert all(gradient.isfinite().all() and gradient[1] == 0 for gradient in gradients)


def one_of(task: torch.Tensor, tasks: int) -> torch.Tensor:
    """The one task (B,) of each slot, as a mask (B, T)."""
    return F.one_hot(task, tasks).bool()


@pytest.mark.parametrize("weight", [1.0, 10.0])
def test_multi_target_counts_each_slot_once(generator, weight):
    energy = torch.randn(6, generator=generator)
    logits = torch.randn(6, 7, generator=generator)
    values = {
        "formation_energy_per_atom": torch.tensor([0.1, math.nan, 0.3, math.nan, math.nan, 0.6]),
        "crystal_system": torch.tensor([-1, 3, -1, 0, 6, -1]),
    }
    outputs = {
        "formation_energy_per_atom": energy.requires_grad_(),
        "crystal_system": logits.requires_grad_(),
    }
    task = torch.tensor([0, 1, 0, 1, 1, 0])
    total = 0.0
    for i in range(6):
        if task[i] == 0:
            error = energy[i].item() - values["formation_energy_per_atom"][i].item()
            total += weight * error**2
        else:
            row = logits[i].detach().double().numpy()
            total -= row[values["crystal_system"][i]] - np.log(np.exp(row).sum())
    loss = multi_target_loss(outputs, values, one_of(task, 2), weight)
    assert loss.item() == pytest.approx(total / 6, rel=1e-5)
    loss.backward()
    assert energy.grad.isfinite().all()
    assert energy.grad.ne(0).tolist() == [True, False, True, False, False, True]
    assert logits.grad.ne(0).any(dim=1).tolist() == [False, True, False, True, True, False]


def test_slots_of_several_targets_have_the_sum_of_their_losses(generator):
    energy, logits = torch.randn(3, generator=generator), torch.randn(3, 7, generator=generator)
    values = {"energy": torch.tensor([0.1, 0.2, math.nan]), "phase": torch.tensor([2, -1, 5])}
    known = torch.tensor([[True, True], [True, False], [False, True]])
    want = sum(10 * (energy[i].item() - values["energy"][i].item()) ** 2 for i in (0, 1))
    for i in (0, 2):
        row = logits[i].double().numpy()
        want -= row[values["phase"][i]] - np.log(np.exp(row).sum())
    loss = multi_target_loss({"energy": energy, "phase": logits}, values, known, 10.0)
    assert loss.item() == pytest.approx(want / 3, rel=1e-5)


def test_multi_target_of_one_task_is_the_plain_loss(generator):
    output, value = torch.randn(2, 5, generator=generator)
    own = one_of(torch.zeros(5).long(), 1)
    got = multi_target_loss({"band_gap": output}, {"band_gap": value}, own)
    torch.testing.assert_close(got, slot_losses(output, value).mean())


@pytest.fixture
def pretraining(generator):
    """A model without dropout, a batch and a mask."""
    small = {"width": 16, "layers": 1, "heads": 2, "feedforward": 24, "dropout": 0.0}
    spec = ModelSpec(
        kind="xxact_nn",
        composition=CompositionSpec(**small),
        xrd=XRDSpec(**small),
        fusion=FusionSpec(**small),
    )
    torch.manual_seed(0)
    model = build_model(spec, [Target("band_gap", "eV"), CRYSTAL_SYSTEM])
    batch = SimpleNamespace(
        elements=torch.randint(1, 100, (5, 3), generator=generator),
        fractions=torch.full((5, 3), 1 / 3),
        pattern=100 * torch.rand(5, 4250, generator=generator) ** 4,
    )
    return model, batch, draw_mask(generator, 5)


def test_pretraining_terms(pretraining):
    model, batch, mask = pretraining
    c = model.encode_composition(batch).cls.detach().double().numpy()
    x = model.encode_xrd(batch.pattern)[:, 0].detach().double().numpy()
    contrastive = naive_contrastive(c, x, 0.07)
    fused = model.fuse(model.encode_xrd(batch.pattern, mask), model.encode_composition(batch))
    rebuilt = torch.relu(model.mxm_head(fused[:, 1:]))
    mxm = mxm_loss(rebuilt, batch.pattern.view(5, 17, 250), mask).item()

    terms = pretraining_loss(model, batch, "contrastive")
    assert terms.keys() == {"loss", "contrastive"}
    assert terms["loss"].item() == pytest.approx(contrastive, rel=1e-4)
    terms = pretraining_loss(model, batch, "mxm", mask)
    assert terms.keys() == {"loss", "mxm"}
    assert terms["loss"].item() == pytest.approx(mxm, rel=1e-4)
    terms = pretraining_loss(model, batch, "contrastive+mxm", mask)
    assert terms["contrastive"].item() == pytest.approx(contrastive, rel=1e-4)
    assert terms["mxm"].item() == pytest.approx(mxm, rel=1e-4)
    assert terms["loss"].item() == pytest.approx(contrastive + mxm, rel=1e-4)


@pytest.mark.parametrize("device_mask", ["masked first", "all"])
def test_of_degraded_patterns_all_of_the_clean_ones_is_rebuilt(pretraining, device_mask):
    model, batch, mask = pretraining
    if device_mask == "all":
        mask = torch.ones_like(mask)
    clean = batch.pattern.roll(40, dims=1)
    shown = []
    got = pretraining_loss(model, batch, "mxm", mask, look=shown.append, clean=clean)["mxm"]
    fused = model.fuse(model.encode_xrd(batch.pattern, mask), model.encode_composition(batch))
    rebuilt = torch.relu(model.mxm_head(fused[:, 1:])).detach().double().numpy()  # (5, 17, 250)
    want = clean.view(5, 17, 250).double().numpy()
    assert got.item() == pytest.approx(((rebuilt - want) ** 2).mean(), rel=1e-4)
    (seen,) = shown
    for b in range(5):
        for k, place in enumerate(seen.places[b].tolist()):
            assert seen.mask[b, k] == mask[b, place]
            np.testing.assert_allclose(seen.windows[b, k], want[b, place], rtol=1e-6)
            np.testing.assert_allclose(
                seen.prediction[b, k].detach(), rebuilt[b, place], rtol=1e-3, atol=1e-4
            )


def test_masked_windows_do_not_leak_into_the_prediction(pretraining):
    """What lies under the mask changes the loss through its target alone."""
    model, batch, mask = pretraining
    fused = model.fuse(model.encode_xrd(batch.pattern, mask), model.encode_composition(batch))
    changed = torch.where(mask[..., None], 50.0, batch.pattern.view(5, 17, 250)).flatten(1)
    again = model.fuse(model.encode_xrd(changed, mask), model.encode_composition(batch))
    torch.testing.assert_close(fused, again)


def test_losses_are_float32_and_finite_under_autocast(pretraining):
    model, batch, mask = pretraining
    want = pretraining_loss(model, batch, "contrastive+mxm", mask)
    with torch.autocast("cpu", torch.bfloat16):
        got = pretraining_loss(model, batch, "contrastive+mxm", mask)
    got["loss"].backward()
    for name, term in got.items():
        assert term.dtype is torch.float32
        torch.testing.assert_close(term, want[name], rtol=0.05, atol=0.05)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
