"""What a run is compared by: everything that changes a number, and nothing else."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest

from xxact.errors import UserError
from xxact.training.identity import check_same, code_sha256, differences, identify, read_identity
from xxact.training.spec import RunSpec

STORE = SimpleNamespace(name="crystals", content_sha256="a" * 64)


@pytest.fixture
def now(make_spec):
    return identify(make_spec(), 0, STORE)


def found(recorded, now, **options):
    return differences(recorded, now, RunSpec, **options)


def test_the_same_run_has_no_differences(now):
    assert found(copy.deepcopy(now), now) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 3}, "epochs 3.0 against 2.0"),
        ({"batch_size": 7}, "batch_size 7 against 32"),
        ({"optimizer": {"peak_lr": 1}}, "optimizer.peak_lr 1.0 against 0.0005"),
        ({"targets": ("band_gap",)}, "targets"),
        ({"dropout": 0.2}, "model.composition.dropout 0.2 against 0.1"),
        ({"precision": "bfloat16"}, "precision 'bfloat16' against 'float32'"),
    ],
)
def test_every_key_that_changes_numbers_is_named_with_both_values(changes, told, make_spec, now):
    other = identify(make_spec(**changes), 0, STORE)
    assert told in found(now, other)[0]


def test_seed_data_weights_code_and_packages_are_named(make_spec, now, tmp_path):
    (tmp_path / "weights").write_bytes(b"1")
    data = SimpleNamespace(name="crystals", content_sha256="b" * 64)
    other = identify(make_spec(), 7, data, tmp_path / "weights")
    other["provenance"] = now["provenance"] | {
        "code_sha256": "c" * 64,
        "versions": now["provenance"]["versions"] | {"torch": "2.0.0"},
    }
    named = ["seed 7", "the data set", "the weights it starts from", "the code", "torch 2.0.0"]
    told = found(now, other)
    assert len(told) == len(named)
    assert all(text.startswith(name) for text, name in zip(told, named, strict=True))
    assert len(found(now, other, code=False)) == 3


def test_what_changes_no_number_may_differ(make_spec, now):
    elsewhere = SimpleNamespace(name="moved", content_sha256=STORE.content_sha256)
    engine = {"gpus": 8, "micro_batch": 4, "zero_stage": 2, "activation_checkpointing": True}
    other = identify(make_spec(reproduces="else", engine=engine), 0, elsewhere, command="other")
    other["provenance"] = other["provenance"] | {"git_commit": "d" * 40, "dirty": True}
    assert found(now, other) == []


def test_a_key_that_is_added_later_at_its_default_is_no_difference(now):
    recorded = copy.deepcopy(now)
    del recorded["spec"]["regression_weight"], recorded["spec"]["optimizer"]["betas"]
    assert found(recorded, now) == []
    del recorded["spec"]["epochs"]  # which has no default
    assert found(recorded, now)


def test_a_spec_of_another_kind_is_compared_as_it_stands(now):
    recorded = copy.deepcopy(now) | {"spec": {"model": {"kind": "forest"}, "targets": []}}
    assert any("model.kind 'xxact_nn' against 'forest'" in text for text in found(recorded, now))


def test_the_refusal_is_one_line_that_says_what_to_do(make_spec, now):
    check_same(Path("r/checkpoint.pt"), now, now, RunSpec)
    other = identify(make_spec("fcn"), 1, STORE)
    with pytest.raises(UserError, match=r"r/checkpoint.pt .*more.*--overwrite") as caught:
        check_same(Path("r/checkpoint.pt"), now, other, RunSpec)
    assert "\n" not in str(caught.value)


def test_the_code_is_what_runs_go_through(tmp_path):
    for name in ("a.py", "models/b.py", "analysis/c.py", "data/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    before = code_sha256(tmp_path)
    for name in ("analysis/c.py", "data/d.txt"):
        (tmp_path / name).write_text("2")
    assert code_sha256(tmp_path) == before
    (tmp_path / "models" / "b.py").write_text("2")
    assert code_sha256(tmp_path) != before


def test_a_damaged_file_is_named(tmp_path):
    assert read_identity(tmp_path / "none.json") is None
    for text in ("", "{", "[]", '{"seed": 1}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(UserError, match=r"run\.json is damaged"):
            read_identity(tmp_path / "run.json")
