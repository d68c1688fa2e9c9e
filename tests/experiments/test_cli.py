"""`xxact train` and `xxact evaluate` on a store of one's own."""

import json

import pytest

from xxact.cli import main
from xxact.training import signals


@pytest.fixture(autouse=True)
def _keep_handlers(monkeypatch):
    monkeypatch.setattr(signals, "STOP_SIGNALS", ())


def test_train_then_evaluate(experiments, tiny_data, tmp_path, capsys):
    row = str(experiments / "table1" / "crabnet_energy.yaml")
    out = tmp_path / "mine"
    arguments = ["train", row, "--scale", "tiny", "--data", str(tiny_data), "--out", str(out)]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--data", str(tiny_data), "--split", "validation"]) == 0
    scores = json.loads(capsys.readouterr().out)["validation"]["formation_energy_per_atom"]
    logged = (out / "log.txt").read_text().splitlines()[-1]
    assert f"{scores['mae_mev_per_atom']:.4g}" in logged
    assert main(arguments) == 2
    assert "holds this run, finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "no.yaml", "--data", "x", "--out", "y"], "no.yaml: there is no such file"),
        (["evaluate", "nothing", "--data", "{data}"], "there is no finished run in nothing"),
        (["evaluate", "nothing", "--data", "nowhere"], "no data set at nowhere"),
    ],
)
def test_mistakes(arguments, message, tiny_data, capsys):
    assert main([argument.format(data=tiny_data) for argument in arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_baseline_has_no_weights(experiments, tiny_data, tmp_path, capsys):
    row = str(experiments / "table1" / "forest_xrd_energy.yaml")
    out = tmp_path / "mine"
    assert main(["train", row, "--scale", "tiny", "--data", str(tiny_data), "--out", str(out)]) == 0
    assert (out / "result.json").exists() and (out / "result.npz").exists()
    assert main(["evaluate", str(out), "--data", str(tiny_data)]) == 2
    assert "there is no finished run" in capsys.readouterr().err


def test_a_row_that_starts_from_another_needs_it(experiments, tiny_data, tmp_path, capsys):
    row = str(experiments / "table2" / "mxm.yaml")
    out = tmp_path / "mine"
    assert main(["train", row, "--scale", "tiny", "--data", str(tiny_data), "--out", str(out)]) == 2
    assert "--init RUN" in capsys.readouterr().err
