"""`xxact train` and `xxact evaluate` on a store of one's own."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from xxact.cli import main
from xxact.data.fetch_mp import COLUMNS
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
    assert main(["evaluate", str(out), "--data", str(tiny_data), "--part", "validation"]) == 0
    scores = json.loads(capsys.readouterr().out)["validation"]["formation_energy_per_atom"]
    logged = (out / "log.txt").read_text().splitlines()[-1]
    assert f"{scores['mae_mev_per_atom']:.4g}" in logged
    assert main(arguments) == 2
    assert "finished run" in capsys.readouterr().err


def test_a_file_of_audit_ids_is_scored_as_it_is(experiments, tiny_data, tmp_path, capsys):
    """From a CSV with the columns of `xxact data fetch mp` to a score, by commands alone."""
    row, out = experiments / "table1" / "crabnet_energy.yaml", tmp_path / "mine"
    run = ["--scale", "tiny", "--data", str(tiny_data), "--out", str(out)]
    assert main(["train", str(row), *run]) == 0
    crystals = pd.read_csv(tiny_data.parent / "tiny.csv").assign(
        pretty_formula="", energy_source="megnet_mp2018", gap_source="", nsites=2
    )
    slot = [int(hashlib.sha1(i.encode()).hexdigest(), 16) % 20 for i in crystals.material_id]
    kept_back = crystals[np.array(slot) == 0]
    kept_back[list(COLUMNS)].to_csv(tmp_path / "audit.csv.xz", index=False)
    store = ["--out", str(tmp_path / "audit"), "--workers", "1"]
    source = ["--source", "csv", "--input", str(tmp_path / "audit.csv.xz")]
    assert main(["data", "prepare", *source, *store]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--data", str(tmp_path / "audit"), "--part", "audit"]) == 0
    score = json.loads(capsys.readouterr().out)["audit"]["formation_energy_per_atom"]
    assert score["n"] == len(kept_back) > 5
    assert 0 < score["mae_mev_per_atom"] < 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "no.yaml", "--data", "x", "--out", "y"], "no.yaml: there is no such file"),
        (["evaluate", "nothing", "--data", "{data}"], "there is no checkpoint nothing/model.pt"),
        (["evaluate", "nothing", "--data", "nowhere"], "no data set at nowhere"),
    ],
)
def test_mistakes(arguments, message, tiny_data, capsys):
    assert main([argument.format(data=tiny_data) for argument in arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_baseline_has_no_weights(experiments, tiny_data, tmp_path, capsys):
    row = str(experiments / "table1" / "forest_xrd_energy.yaml")
    out = tmp_path / "mine"
    assert main(["train", row, "--scale", "tiny", "--data", str(tiny_data), "--out", str(out)]) == 2
    assert "leaves no weights" in capsys.readouterr().err
    assert not out.exists()


def test_a_row_that_starts_from_another_needs_it(experiments, tiny_data, tmp_path, capsys):
    row = str(experiments / "table2" / "mxm.yaml")
    out = tmp_path / "mine"
    assert main(["train", row, "--scale", "tiny", "--data", str(tiny_data), "--out", str(out)]) == 2
    assert "--init RUN" in capsys.readouterr().err
