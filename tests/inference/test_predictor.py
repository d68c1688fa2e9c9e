"""From files to answers, with small networks whose weights are random."""

import csv
import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from tests.inference.made_up import measurement
from xxact import cli
from xxact.data.targets import CRYSTAL_SYSTEM, SPACE_GROUP, Target
from xxact.errors import UserError
from xxact.inference.answer import class_name
from xxact.inference.calibrate import calibrate
from xxact.inference.card import read_card
from xxact.inference.measured import measured_pattern
from xxact.inference.predictor import Predictor
from xxact.inference.radiation import of_word
from xxact.models import build_model
from xxact.models.spec import CompositionSpec, FusionSpec, ModelSpec, XRDSpec
from xxact.training.spec import RunSpec
from xxact.training.trained import Trained
from xxact.training.weights import DESCRIPTION, read_weights, save_weights

SIZE = {"width": 16, "layers": 1, "heads": 2, "feedforward": 32}
COMPOSITION = CompositionSpec(**SIZE, element_width=8)
MODELS = {
    "fused": ModelSpec(
        kind="xxact_nn", composition=COMPOSITION, xrd=XRDSpec(**SIZE), fusion=FusionSpec(**SIZE)
    ),
    "alone": ModelSpec(kind="xrd_transformer", xrd=XRDSpec(**SIZE)),
    "formulas": ModelSpec(kind="crabnet", composition=COMPOSITION, output_widths=(16,)),
}
CATIONS, ANIONS = (
    ["Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"],
    ["F", "Cl", "Br", "O", "S", "Se"],
)
ENERGY = Target("formation_energy_per_atom", "eV/atom")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder with a finished run of each kind of model."""
    folder = tmp_path_factory.mktemp("runs")
    for name, model_spec in MODELS.items():
        targets = [CRYSTAL_SYSTEM, SPACE_GROUP] + ([ENERGY] if name == "fused" else [])
        spec = RunSpec(
            model=model_spec,
            targets=tuple(t.name for t in targets),
            epochs=1,
            batch_size=8,
            precision="float32",
        )
        torch.manual_seed(0)
        description = {
            "spec": spec.model_dump(mode="json"),
            "targets": [asdict(target) for target in targets],
            "standard": {ENERGY.name: [-1.0, 0.5]} if name == "fused" else {},
        }
        weights = build_model(model_spec, targets).state_dict()
        (folder / name).mkdir()
        save_weights(folder / name, weights, description)
    return folder


@pytest.fixture(scope="module")
def bundle(runs, tiny_store, tmp_path_factory):
    """A bundle of both; a risk of 0.99 lets it answer."""
    out = tmp_path_factory.mktemp("bundle")
    calibrate([runs / "fused", runs / "alone"], tiny_store, out, risk=0.99)
    return out


@pytest.fixture(scope="module")
def predictor(bundle):
    return Predictor(bundle)


def test_the_card_says_what_the_test_split_shows(bundle, tiny_store):
    card = read_card(bundle)
    fused, alone = card.runs
    assert [run.needs_formula for run in card.runs] == [True, False]
    assert set(fused.elements) == set(CATIONS + ANIONS)
    n = len(tiny_store.indices("test"))
    assert (fused.fitted_on, fused.scored_on) == ("validation", "test")
    assert fused.classes["space_group"].n == fused.values[ENERGY.name].n == n
    for found in (*fused.classes.values(), *alone.classes.values()):
        assert found.ece <= 1
        assert found.risk <= 0.99
    assert not alone.values


def test_temperatures_suit_crystals_of_the_training_too(runs, tiny_store, tmp_path):
    cards = [
        calibrate([runs / "alone"], tiny_store, tmp_path / f"{share}", 0.99, known_share=share)
        for share in (0.0, 0.99)
    ]
    none, most = (card.runs[0] for card in cards)
    n = {split: len(tiny_store.indices(split)) for split in ("train", "validation")}
    assert none.known_share == 0
    assert most.known_share == n["train"] / sum(n.values())  # which is less than asked for

    rows = np.concatenate([tiny_store.indices(split) for split in n])
    trained = Trained(runs / "alone", tiny_store)
    logits, true = trained.outputs_of(rows), trained.true_values(CRYSTAL_SYSTEM)[rows]
    tried = np.geomspace(0.5, 50, 200)
    log_p = log_softmax(logits[CRYSTAL_SYSTEM.name] / tried[:, None, None], axis=2)
    losses = -log_p[:, np.arange(len(rows)), true].mean(axis=1)
    (found,) = most.classes[CRYSTAL_SYSTEM.name].temperatures.values()
    best = tried[losses.argmin()]
    assert found == pytest.approx(best, rel=0.03)
    (without,) = none.classes[CRYSTAL_SYSTEM.name].temperatures.values()
    assert without != pytest.approx(best, rel=0.03)


def test_the_formula_decides_which_run_answers(predictor, write_xy):
    path = write_xy()
    with_formula, alone = predictor.predict(path, "NaCl"), predictor.predict(path)
    assert with_formula.model.endswith("with_formula")
    assert alone.model.endswith("pattern_only")
    value = with_formula.values[ENERGY.name]
    assert value.low < value.value < value.high
    assert not alone.values
    for answer in (with_formula, alone):
        for found in answer.classes.values():
            shares = list(found.probabilities.values())
            assert sum(shares) == pytest.approx(1)
            assert shares == sorted(shares, reverse=True)


def test_systems_are_the_sums_of_their_space_groups(predictor, write_xy):
    classes = predictor.predict(write_xy(), "NaCl").classes
    cubic = sum(classes["space_group"].probabilities[str(k)] for k in range(195, 231))
    assert cubic == pytest.approx(classes["crystal_system"].probabilities["cubic"])


def test_the_formula_is_read_as_in_training(predictor, write_xy):
    path = write_xy()
    one, other = (predictor.predict(path, formula) for formula in ("NaCl", "Cl2Na2"))
    assert one.values == other.values
    assert one.values != predictor.predict(path, "KCl").values


def test_with_a_formula_both_runs_tell_the_classes(bundle, predictor, write_xy):
    path = write_xy()
    given, card = predictor.predict(path, "NaCl"), read_card(bundle).runs[0]
    assert set(card.classes["crystal_system"].temperatures) == {"with_formula", "pattern_only"}
    expected = dict.fromkeys(CRYSTAL_SYSTEM.classes, 1.0)
    for folder, temperature in card.classes["crystal_system"].temperatures.items():
        alone = Predictor(bundle / folder).predict(path, "NaCl").classes["crystal_system"]
        for name, p in alone.probabilities.items():
            expected[name] *= p ** (1 / temperature)
    total = sum(expected.values())
    expected = {name: p / total for name, p in expected.items()}
    assert given.classes["crystal_system"].probabilities == pytest.approx(expected, abs=1e-5)


def test_a_bundle_has_weights_of_half_precision_that_say_the_same(runs, bundle, write_xy):
    path = write_xy()
    for name, folder in (("fused", "with_formula"), ("alone", "pattern_only")):
        weights, _ = read_weights(bundle / folder)
        assert {x.dtype for x in weights.values() if x.is_floating_point()} == {torch.float16}
        full, half = (Predictor(f).predict(path, "NaCl") for f in (runs / name, bundle / folder))
        for target, found in full.classes.items():
            expected = pytest.approx(found.probabilities, abs=1e-2)
            assert half.classes[target].probabilities == expected


def test_many_together_and_one_alone_agree(predictor, write_xy):
    samples = [predictor.sample(write_xy(seed=k), f) for k, f in enumerate(("NaCl", None, "MgO"))]
    for together, sample in zip(predictor.predict_all(samples), samples, strict=True):
        (alone,) = predictor.predict_all([sample])
        assert together.measured is sample.measured
        for name, found in alone.classes.items():
            expected = pytest.approx(found.probabilities, abs=1e-5)
            assert together.classes[name].probabilities == expected


def test_an_element_never_seen_is_answered_by_the_pattern_alone(predictor, write_xy):
    answer = predictor.predict(write_xy(), "UO2")
    assert answer.model.endswith("pattern_only")
    assert "U: in no formula of the training, so the pattern alone" in answer.warnings[-2]
    assert not answer.values


def test_without_a_run_for_patterns_alone(runs, tiny_store, tmp_path, write_xy):
    calibrate([runs / "fused"], tiny_store, tmp_path / "b", risk=0.99)
    predictor = Predictor(tmp_path / "b")
    unseen = predictor.predict(write_xy(), "UO2")
    assert unseen.doubts == ("U: in no formula of the training",)
    assert not unseen.classes
    with pytest.raises(UserError, match="needs a formula"):
        predictor.predict(write_xy())


def test_a_doubtful_pattern_gets_no_answer(predictor):
    x, y = measurement(start=30, stop=45)
    answer = predictor.predict(measured_pattern("film", x, y, of_word("CuKa")), "NaCl")
    assert "15.0 of 85 degrees" in answer.doubts[0]
    assert not answer.classes
    assert answer.as_dict()["known"] is False


def test_a_model_that_is_never_sure_enough_says_so(runs, tiny_store, tmp_path, write_xy):
    calibrate([runs / "alone"], tiny_store, tmp_path / "b", risk=0.001)
    found = Predictor(tmp_path / "b").predict(write_xy()).classes["space_group"]
    assert not found.known
    assert "never sure enough" in found.doubt


def test_a_run_alone_answers_uncalibrated(runs, write_xy):
    answer = Predictor(runs / "alone").predict(write_xy())
    assert "not calibrated" in answer.warnings[-1]
    assert "what was not measured is zero to it" in answer.warnings[-2]
    with pytest.raises(UserError, match="reads no pattern"):
        Predictor(runs / "formulas")
    with pytest.raises(UserError, match="no finished run"):
        Predictor(runs)


def test_windows_are_the_change_without_them(predictor, write_xy):
    sample = predictor.sample(write_xy())
    (answer,) = predictor.predict_all([sample], windows=True)
    changes = answer.windows["crystal_system"]
    assert len(changes) == 15  # 10.01 to 80.08 degrees in windows of 5
    hidden = sample.cleaned.pattern.copy()
    hidden[1250:1500] = np.nan  # 30 to 35 degrees
    best = answer.classes["crystal_system"].best
    cleaned = type(sample.cleaned)(hidden, *list(vars(sample.cleaned).values())[1:])
    (without,) = predictor.predict_all([type(sample)(sample.measured, cleaned)])
    before, after = (a.classes["crystal_system"].probabilities[best] for a in (answer, without))
    assert changes[30.0, 35.0] == pytest.approx(after - before, abs=1e-5)


@pytest.mark.parametrize("formula", ["Na1-xCl", "NaCl0", "Xx2", "", "Na++"])
def test_formulas_that_say_nothing(formula, predictor, write_xy):
    with pytest.raises(UserError):
        predictor.predict(write_xy(), formula)


def test_runs_that_make_no_bundle(runs, bundle, tiny_store, tmp_path):
    with pytest.raises(UserError, match="holds a bundle already"):
        calibrate([runs / "alone"], tiny_store, bundle)
    with pytest.raises(UserError, match="read the pattern alone: a bundle holds one"):
        calibrate([runs / "alone", runs / "alone"], tiny_store, tmp_path / "b")
    with pytest.raises(UserError, match="reads no pattern"):
        calibrate([runs / "formulas"], tiny_store, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_runs_of_other_classes_make_no_bundle(runs, tiny_store, tmp_path):
    shutil.copytree(runs / "alone", tmp_path / "other")
    file = tmp_path / "other" / DESCRIPTION
    description = json.loads(file.read_text())
    for target in description["targets"]:
        target["classes"].reverse()
    file.write_text(json.dumps(description))
    with pytest.raises(UserError, match="differ in classes: crystal_system"):
        calibrate([runs / "fused", tmp_path / "other"], tiny_store, tmp_path / "b")


def test_notes_are_in_the_card(runs, tiny_data, tmp_path, capsys):
    words = {"data": "made up", "left_out": "none", "licence": "MIT", "limits": "tiny"}
    notes = tmp_path / "notes.yaml"
    notes.write_text("\n".join(f"{key}: {text}" for key, text in words.items()))
    command = ["calibrate", str(runs / "alone"), "--data", str(tiny_data), "--notes", str(notes)]
    assert cli.main([*command, "--out", str(tmp_path / "b")]) == 0
    assert read_card(tmp_path / "b").notes.model_dump() == words
    assert "pattern_only space_group: accuracy" in capsys.readouterr().out


def test_a_damaged_card_is_named(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "b")
    (tmp_path / "b" / "card.json").write_text('{"format": 1, "version": "0", "runs": []}')
    with pytest.raises(UserError, match=r"card.json: runs: .*make the bundle again"):
        Predictor(tmp_path / "b")


def test_the_command_prints_one_answer(bundle, write_xy, capsys):
    code = cli.main(["predict", str(write_xy()), "--formula", "NaCl", "--model", str(bundle)])
    shown = capsys.readouterr().out
    assert code == 0
    for words in ("crystal system: ", "space group: ", "Cu K-alpha is assumed", "arPLS", "eV/atom"):
        assert words in shown


def test_the_command_answers_a_folder_and_names_what_is_no_pattern(
    bundle, write_xy, tmp_path, capsys
):
    for k in range(3):
        write_xy(f"good{k}.xy", seed=k)
    (tmp_path / "bad.xy").write_text("10 5\n")
    out = {suffix: tmp_path / f"out.{suffix}" for suffix in ("csv", "html")}
    written = [f"--{suffix}={path}" for suffix, path in out.items()]
    code = cli.main(["predict", str(tmp_path), "--model", str(bundle), *written])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert code == 2
    assert len(errors) == 1
    assert "bad.xy: the number of points is 1" in errors[0]
    rows = list(csv.DictReader(out["csv"].open()))
    assert [row["file"] for row in rows] == [str(tmp_path / f"good{k}.xy") for k in range(3)]
    assert float(rows[0]["crystal_system_probability"]) > 0
    page = out["html"].read_text()
    assert page.count("<section") == 3
    assert "http" not in page
    assert "30 to 35 degrees: without them" in page


def test_json(bundle, write_xy, capsys):
    path = write_xy()
    assert cli.main(["predict", str(path), "--model", str(bundle), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["file"] == str(path)
    assert sum(answer["crystal_system"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert len(answer["space_group"]["probabilities"]) == 5
    assert answer["pattern"]["covered_deg"] == pytest.approx(70, abs=0.1)


def test_a_notebook_shows_the_same(predictor, write_xy):
    shown = predictor.predict(write_xy(), "NaCl", windows=True)._repr_html_()
    assert shown.count("<svg") == 2
    assert 'fill="#ddd"' in shown  # 5 to 10 and 80 to 90 degrees were not measured


def test_without_an_answer_nothing_is_written(bundle, write_xy, tmp_path, capsys):
    path, out = write_xy(counts=0.0), tmp_path / "out.csv"
    assert cli.main(["predict", str(path), "--model", str(bundle), "--csv", str(out)]) == 2
    assert not out.exists()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {path}: all intensities are zero\n"


def test_a_pattern_is_not_written_over(bundle, write_xy, capsys):
    path = write_xy("x.csv", separator=",")
    before = path.read_text()
    assert cli.main(["predict", str(path), "--model", str(bundle), "--csv", str(path)]) == 2
    assert "is one of the patterns" in capsys.readouterr().err
    assert path.read_text() == before


def test_a_missing_standard_is_told_with_the_file(predictor, write_xy):
    path = write_xy()
    with pytest.raises(UserError, match=rf"{path.name}: the lines of Si"):
        predictor.predict(path, standard="Si")


def test_names_in_other_encodings_can_be_printed(predictor, write_xy):
    path = write_xy("Probe_\udce4.xy")  # latin-1
    predictor.predict(path).measured.name.encode()


def test_space_groups_have_their_present_symbols():
    assert class_name("space_group", "166") == "166 (R-3m)"
    assert class_name("space_group", "62") == "62 (Pnma)"
