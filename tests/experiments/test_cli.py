"""`xxact train` and `xxact evaluate` on a store of one's own."""

import csv
import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from xxact.cli import main
from xxact.data.fetch.materials_project import COLUMNS
from xxact.data.prepare import prepare
from xxact.data.sources.arguments import parse_columns
from xxact.experiments import predictions, suite
from xxact.experiments.result import Result
from xxact.files import held

ENERGY = "formation_energy_per_atom"


@pytest.fixture
def train(experiments, tmp_path):
    """Function (row, data, out, *arguments) -> exit code of `xxact train` at the scale `tiny`."""

    def call(row, data, out, *arguments):
        spec = experiments / f"{row}.yaml" if "/" in row else tmp_path / "own.yaml"
        if "/" not in row:
            spec.write_text(row)
        own = ["--scale", "tiny", "--data", str(data), "--out", str(out)]
        return main(["train", str(spec), *own, *arguments])

    return call


def test_train_then_evaluate(train, tiny_data, tiny_store, tmp_path, capsys):
    out = tmp_path / "mine"
    assert train("table1/xxact_energy", tiny_data, out) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--data", str(tiny_data), "--split", "validation"]) == 0
    scores = json.loads(capsys.readouterr().out)["validation"][ENERGY]
    logged = (out / "log.txt").read_text().splitlines()[-1]
    assert f"{scores['mae_mev_per_atom']:.4g}" in logged
    assert train("table1/xxact_energy", tiny_data, out) == 2
    assert "holds this run, finished" in capsys.readouterr().err
    assert train("table1/xxact_energy", tiny_data, out, "--seed", "1") == 2
    assert "seed 1 against 0" in capsys.readouterr().err

    # the result names the predictions, and from these alone comes its score
    result = Result.model_validate_json((out / "result.json").read_bytes())
    identity = json.loads((out / "run.json").read_text())
    assert result.data.content_sha256 == identity["data"]["content_sha256"]
    assert result.provenance.model_dump() == identity["provenance"]
    kept = predictions.read(out / result.predictions.file)
    test = tiny_store.indices("test")
    assert kept["id"].tolist() == tiny_store.ids[test].tolist()
    error = np.abs(kept[f"{ENERGY}.predicted"].astype(float) - kept[f"{ENERGY}.true"]).mean()
    told = result.metrics.final.test[ENERGY]["mae_mev_per_atom"]
    assert 1000 * error == pytest.approx(told, rel=1e-9)
    for permuted in ("permuted_any", "permuted_formula"):
        assert np.isfinite(kept[f"{ENERGY}.{permuted}"]).all()
        assert (kept[f"{ENERGY}.{permuted}"] != kept[f"{ENERGY}.predicted"]).any()

    table = tmp_path / "predicted.csv"
    assert main(["evaluate", str(out), "--data", str(tiny_data), "--predictions", str(table)]) == 0
    rows = list(csv.DictReader(table.open()))
    assert [row["id"].encode() for row in rows] == kept["id"].tolist()
    found = [float(row[f"{ENERGY}.predicted"]) for row in rows]
    np.testing.assert_allclose(found, kept[f"{ENERGY}.predicted"], rtol=1e-6)


ROW = "reproduces: mine\nmodel: crabnet\ntargets: [k]\nevaluations: 2\n"


@pytest.fixture
def moduli(tmp_path):
    """Function (name, targets, scale) -> a store of 30 formulas with moduli."""

    def make(name, target, scale=1.0):
        path = tmp_path / f"{name}.csv"
        formulas = [f"{a}{n}O{m}" for a in ("Al", "Ti", "Fe") for n in (1, 2) for m in range(1, 6)]
        lines = [f"{formula},{scale * (k + 1)}" for k, formula in enumerate(formulas)]
        path.write_text("\n".join(["formula,y", *lines, ""]))
        columns = parse_columns([], [f"{target}=y"] if target else [], {})
        prepare("csv", [path], tmp_path / name, columns=columns)
        return tmp_path / name

    return make


def test_units_travel_with_the_run(train, moduli, tmp_path, capsys):
    gpa, out = moduli("gpa", "k:GPa"), tmp_path / "out"
    assert train(ROW + "epochs: 1\n", gpa, out) == 0
    few = capsys.readouterr().err
    assert "warning: this is a training of" in few
    assert "'epochs'" in few

    def evaluate(data, *arguments):
        code = main(["evaluate", str(out), "--data", str(data), "--split", "train", *arguments])
        return code, capsys.readouterr()

    code, told = evaluate(gpa)
    assert code == 0
    wanted = json.loads(told.out)["train"]["k"]["mae_gpa"]
    _, told = evaluate(moduli("mbar", "k:Mbar", 0.01))
    assert json.loads(told.out)["train"]["k"]["mae_gpa"] == pytest.approx(wanted, rel=1e-5)
    code, told = evaluate(moduli("ev", "k:eV"))
    assert code == 2
    assert "in eV" in told.err
    assert "in GPa" in told.err

    # a store without the target: predictions, and no score
    other = moduli("other", "z:eV")
    code, told = evaluate(other)
    assert code == 2
    assert "no values of k" in told.err
    table = tmp_path / "p.csv"
    code, told = evaluate(other, "--predictions", str(table))
    assert code == 0
    assert json.loads(told.out) == {"train": {}}
    rows = list(csv.DictReader(table.open()))
    assert all(row["k.true"] == "" and float(row["k.predicted"]) for row in rows)


def test_a_target_without_values_is_named(train, tmp_path, capsys, recwarn):
    table = tmp_path / "in.csv"
    table.write_text("formula,y\nNaCl,\nKCl,\n")
    prepare("csv", [table], tmp_path / "store", columns=parse_columns([], ["k=y"], {}))
    assert train(ROW, tmp_path / "store", tmp_path / "out") == 2
    assert "no example with a value of 'k'" in capsys.readouterr().err
    assert not [w for w in recwarn if w.category is RuntimeWarning]


def test_settings_of_the_scale_may_be_set_in_the_row(train, moduli, tmp_path):
    row = ROW + "epochs: 40\nbatch_size: 8\noptimizer: {peak_lr: 1e-3}\nregression_weight: 2\n"
    assert train(row, moduli("gpa", "k:GPa"), tmp_path / "out") == 0
    spec = json.loads((tmp_path / "out" / "run.json").read_text())["spec"]
    assert (spec["epochs"], spec["batch_size"], spec["evaluations"]) == (40, 8, 2)
    assert (spec["optimizer"]["peak_lr"], spec["optimizer"]["final_lr"]) == (1e-3, 1e-7)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optimizer: {peak_lr: -1}", "optimizer.peak_lr"),
        ("optimizer: {learning_rate: 1}", "optimizer.learning_rate: unknown key"),
        ("epochs: 0", "epochs"),
        ("epochs: 3\nepochs_factor: 2", "either 'epochs' or 'epochs_factor'"),
        ("? [a, b]\n: c", "not valid YAML"),
        ("description: 2024-13-45", "not valid YAML"),
        ("x: " + "[" * 5000, "nested too deeply"),
    ],
)
def test_mistakes_in_a_row_are_named(line, message, train, tmp_path, capsys):
    assert train(ROW + line, tmp_path, tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_being_trained_is_refused(train, tiny_data, tmp_path, capsys):
    out = tmp_path / "mine"
    with held(out / "lock", f"{out} is being trained"):
        for arguments in ((), ("--overwrite",)):
            assert train("table1/crabnet_energy", tiny_data, out, *arguments) == 2
            assert f"{out} is being trained by" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["lock"]


def test_a_full_disk_leaves_nothing_that_looks_whole(
    train, tiny_data, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "mine"

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(predictions, "write_atomically", full)
        assert train("table1/crabnet_energy", tiny_data, out) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(out.glob("result*"))
    assert train("table1/crabnet_energy", tiny_data, out) == 0
    assert json.loads((out / "result.json").read_text())["cost"]["restarts"] == 1


def test_files_of_ones_own_are_left_alone(train, tiny_data, tmp_path, capsys):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "log.txt").write_text("mine")
    for arguments in ((), ("--overwrite",)):
        assert train("table1/crabnet_energy", tiny_data, out, *arguments) == 2
        assert "holds log.txt" in capsys.readouterr().err
    assert (out / "log.txt").read_text() == "mine"
    (out / "log.txt").rename(out / "notes.txt")
    assert train("table1/constant_energy", tiny_data, out) == 0
    assert train("table1/constant_system", tiny_data, out) == 2
    before = (out / "result.json").read_bytes()
    no_target = ROW.replace("[k]", "[nothing]")
    assert train(no_target, tiny_data, out, "--overwrite") == 2
    assert (out / "result.json").read_bytes() == before
    assert train("table1/constant_system", tiny_data, out, "--overwrite") == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert json.loads((out / "result.json").read_text())["spec"]["targets"] == ["crystal_system"]


@pytest.mark.parametrize(
    ("spec", "out", "message"),
    [
        ("folder", "q", "folder: Is a directory"),
        ("noise.yaml", "q", "noise.yaml: not valid YAML"),
        ("row.yaml", "file", "file"),
        ("row.yaml", "file/below", "file/below"),
        ("row.yaml", "/proc/run", "/proc/run: No such file or directory"),
    ],
)
def test_what_the_file_system_says_no_to(
    spec, out, message, experiments, tiny_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "noise.yaml").write_bytes(b"\xff\xfem")
    (tmp_path / "row.yaml").write_text((experiments / "table1/constant_energy.yaml").read_text())
    arguments = ["train", spec, "--scale", "tiny", "--data", str(tiny_data), "--out", out]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "q").exists()


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
    assert main(["evaluate", str(out), "--data", str(tmp_path / "audit"), "--split", "audit"]) == 0
    score = json.loads(capsys.readouterr().out)["audit"]["formation_energy_per_atom"]
    assert score["n"] == len(kept_back) > 5
    assert 0 < score["mae_mev_per_atom"] < 5000


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


def test_a_baseline_has_a_result_and_no_weights(train, tiny_data, tmp_path, capsys):
    out = tmp_path / "mine"
    assert train("table1/forest_both_system", tiny_data, out) == 0
    result = Result.model_validate_json((out / "result.json").read_bytes())
    kept = predictions.read(out / "result.npz")
    right = kept["crystal_system.true"] == kept["crystal_system.predicted"]
    accuracy = result.metrics.final.test["crystal_system"]["accuracy_percent"]
    assert 100 * right.mean() == pytest.approx(accuracy)
    assert kept["crystal_system.probability"].sum(1) == pytest.approx(np.ones(len(right)), abs=1e-2)
    assert "crystal_system.permuted_formula" in kept
    assert not (out / suite.MODEL[0]).exists()
    assert main(["evaluate", str(out), "--data", str(tiny_data)]) == 2
    assert "there is no finished run" in capsys.readouterr().err


def test_a_row_that_starts_from_another_needs_it(train, tiny_data, tmp_path, capsys):
    out = tmp_path / "mine"
    assert train("table2/mxm", tiny_data, out) == 2
    assert "--init RUN" in capsys.readouterr().err
    assert train("table2/mxm", tiny_data, out, "--init", str(tmp_path)) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert not out.exists()
