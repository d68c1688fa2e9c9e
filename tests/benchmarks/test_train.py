"""The training benchmark: both sides compute the same, and what it writes is complete."""

import itertools
import json

import first_draft
import pytest
import torch
import train

from tests.models.conftest import TARGETS, make_batch, make_spec
from xxact.data.batches import DeviceStore
from xxact.models import build_model
from xxact.objectives import draw_mask, pretraining_loss
from xxact.training.sampler import Sampler

NEAR = {"rtol": 1e-4, "atol": 1e-5}
KINDS = ("xxact_nn", "xxact_conv", "crabnet", "xrd_transformer", "fcn", "fcn_mlp")


def both(kind: str, norm_first: bool):
    torch.manual_seed(0)
    spec = make_spec(kind, norm_first=norm_first)
    ours = build_model(spec, TARGETS).eval()
    return ours, first_draft.build(spec, TARGETS, ours.state_dict()).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm_first", [False, True])
def test_both_sides_have_the_same_outputs(kind, norm_first):
    ours, theirs = both(kind, norm_first)
    batch = make_batch()
    got = theirs(batch.elements, batch.fractions, batch.pattern)
    for name, want in ours(batch).items():
        torch.testing.assert_close(got[name].reshape(want.shape), want, **NEAR)


@pytest.mark.parametrize("objective", ["contrastive", "mxm", "contrastive+mxm"])
def test_both_sides_have_the_same_pretraining_loss(objective):
    ours, theirs = both("xxact_nn", norm_first=False)
    batch, mask = make_batch(), draw_mask(torch.Generator().manual_seed(0), 6)
    want = pretraining_loss(ours, batch, objective, mask)["loss"]
    got = theirs.pretrain(batch.elements, batch.fractions, batch.pattern, objective, mask)
    torch.testing.assert_close(got, want, **NEAR)


def test_the_loader_gives_the_batches_of_the_sampler(tiny_store):
    data = DeviceStore(tiny_store)
    sampler = Sampler([tiny_store.indices("train")] * 2, 16, seed=0)
    values = [tiny_store.values("band_gap"), tiny_store.values("crystal_system")]
    examples = first_draft.DenseExamples(
        tiny_store, first_draft.dense_patterns(tiny_store, data), values
    )
    batches = first_draft.loader(examples, sampler, workers=0, device=torch.device("cpu"))
    for step, found in enumerate(itertools.islice(batches, 3)):
        elements, fractions, pattern, value, task = found
        slots = sampler.batch(step)
        want = data.gather(slots.rows)
        width = want.elements.shape[1]
        assert torch.equal(pattern, want.pattern)
        assert torch.equal(elements[:, :width], want.elements[:, : elements.shape[1]])
        assert torch.equal(fractions[:, :width], want.fractions[:, : elements.shape[1]])
        assert task.tolist() == slots.tasks.tolist()
        assert value[0] == values[slots.tasks[0]][slots.rows[0]]


@pytest.mark.parametrize("row", ["table2/none", "table2/pretrain_contrastive_mxm"])
def test_a_case_is_measured(row, tiny_data, monkeypatch, tmp_path):
    monkeypatch.setattr(train, "plan", lambda *args: plan(*args, tiny_data))
    case = train.Case("mini", row, threads=1, batch_size=8, compile=False)
    ours, theirs = train.Ours(case), train.FirstDraft(case)
    for side in (ours, theirs):
        assert side.calibrate(0.01) >= 1
        assert min(side.steps(1)) > 0
    details = ours.details()
    assert sum(details["shares"].values()) == pytest.approx(1)
    assert min(details["shares"].values()) > 0
    assert details["flops_per_sample"] > 1e6
    assert theirs.details()["workers"] in (0, 1, 2)
    theirs.close()


def plan(rows, scale, seeds, root, data):
    from xxact.experiments import suite

    return suite.plan(rows, scale, seeds, root, data)


def test_entries_of_other_cases_are_kept(tmp_path):
    path = tmp_path / "train.json"

    def entry(name: str, threads: int, rate: float) -> dict:
        common = {"size": "mini", "row": "table2/none", "batch_size": 64, "compile": False}
        return common | {"hardware": {"name": name}, "threads": threads, "rate": rate}

    train.write(path, [entry("A", 1, 10.0), entry("A", 2, 20.0), entry("B", 1, 30.0)])
    train.write(path, [entry("A", 2, 21.0)])
    found = json.loads(path.read_text())
    assert found["schema"] == train.SCHEMA
    assert [e["rate"] for e in found["entries"]] == [10.0, 21.0, 30.0]
    assert "torch" in found["entries"][0]["versions"]
