"""Every YAML on disk is valid at every scale, and every mistake is named with its place."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from xxact import cli
from xxact.analysis.figures import BENCHMARKS as BENCHMARK_TABLES
from xxact.analysis.figures import FIGURES, TABLES
from xxact.analysis.published import published
from xxact.analysis.tables import table
from xxact.errors import UserError
from xxact.experiments import suite
from xxact.experiments.baselines import BaselineSpec
from xxact.experiments.spec import Row, Scale, read_spec, resolve
from xxact.training.spec import OptimizerSpec

#: How the rows of a scale of their own begin; those of CrabNet's check have no other scale.
ROWS_OF = {"aflow": "crabnet_check/", "mp-amcsd": "open/shipped_"}
SCALES = sorted(path.stem for path in (suite.EXPERIMENTS / "scales").glob("*.yaml"))
ROWS = [
    name
    for folder in sorted(suite.EXPERIMENTS.iterdir())
    if (folder / "run.py").exists()
    for name in suite.row_names(folder.name)
]

ROW = """
reproduces: a test
model: xxact_nn
objective: supervised
targets: [crystal_system]
"""


CASES = [
    (name, scale)
    for name in ROWS
    for scale in SCALES
    if name.startswith(ROWS_OF.get(scale, ""))
    and (scale == "aflow" or not name.startswith(ROWS_OF["aflow"]))
]


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_every_row_resolves_at_every_scale_of_its_table(name, scale):
    spec = resolve(suite.load_row(name), suite.load_scale(scale), name)
    assert isinstance(spec, BaselineSpec) or spec.epochs > 0
    if spec.init:
        assert spec.init in ROWS
        start, row = suite.load_row(spec.init), suite.load_row(name)
        if isinstance(spec, BaselineSpec):
            assert start.targets == row.targets
        else:
            assert (start.model, start.change) == (row.model, row.change)


@pytest.mark.parametrize("name", SCALES)
def test_the_commands_that_make_a_scales_data_fit_together(name):
    scale, fetched = suite.load_scale(name), set()
    for command in scale.prepare.split("&&"):
        program, *words = shlex.split(command)
        assert program == "xxact"
        options = cli._parser().parse_args(words)
        if words[:2] == ["data", "fetch"]:
            fetched.add(options.out)
            continue
        files = [Path(text.split("=")[-1]) for text in options.input]
        assert {file.parent for file in files} == fetched
        assert options.out == Path(scale.data)


def test_the_paper_scale_is_the_paper():
    spec = resolve(suite.load_row("table2/mxm"), suite.load_scale("paper"), "")
    assert (spec.batch_size, spec.epochs) == (32768, 50)
    assert spec.optimizer.model_dump() == {
        "start_lr": 1e-6,
        "peak_lr": 5e-4,
        "final_lr": 1e-7,
        "warmup_fraction": 0.1,
        "weight_decay": 0.01,
        "betas": (0.9, 0.98),
    }
    assert spec.model.fusion.layers == 12
    pretraining = resolve(suite.load_row(spec.init), suite.load_scale("paper"), "")
    assert (pretraining.objective, pretraining.epochs) == ("mxm", 100)


def read_row(tmp_path, text):
    path = tmp_path / "row.yaml"
    path.write_text(text)
    return read_spec(path, Row)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROW + "objectiv: mxm\n", r"row\.yaml: objectiv: unknown key \(did you mean 'objective'"),
        (ROW + "model: crabnet\n", r"row\.yaml.*'model' is given twice.*line 6"),
        (ROW.replace("reproduces: a test\n", ""), r"row\.yaml: reproduces: Field required"),
        (ROW + "train_fraction: 1.5\n", r"row\.yaml: train_fraction: .*less than or equal to 1"),
        (ROW.replace("supervised", "supervisd"), r"row\.yaml: objective: .*'supervised'"),
        ("model: [", r"row\.yaml: not valid YAML.*line 1"),
        ("- 1\n", r"row\.yaml: expected keys and values"),
    ],
    ids=["unknown", "twice", "missing", "range", "choice", "yaml", "list"],
)
def test_mistakes_in_a_row_are_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_row(tmp_path, text)


def test_all_mistakes_are_named_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        read_row(tmp_path, ROW + "objectiv: mxm\ntrain_fraction: 0\n")
    assert len(str(error.value).splitlines()) == 2


def test_a_misspelt_key_deep_in_a_scale_is_named_with_its_path(tmp_path):
    text = (suite.EXPERIMENTS / "scales" / "mini.yaml").read_text()
    path = tmp_path / "scale.yaml"
    path.write_text(text.replace("fusion: {width:", "fusion: {widht:"))
    with pytest.raises(UserError, match=r"models\.xxact_nn\.fusion\.widht.*did you mean 'width'"):
        read_spec(path, Scale)


def test_numbers_that_yaml_takes_for_strings_are_numbers(tmp_path):
    text = (suite.EXPERIMENTS / "scales" / "mini.yaml").read_text()
    path = tmp_path / "scale.yaml"
    path.write_text(text + "\n")
    assert isinstance(read_spec(path, Scale).optimizer.peak_lr, float)
    path.write_text(text.replace("  peak_lr:", "  start_lr: 5e-7\n  peak_lr:", 1))
    assert read_spec(path, Scale).optimizer.start_lr == 5e-7


def test_a_scale_gives_a_model_settings_of_its_own_and_a_row_has_the_last_word(tmp_path):
    path = tmp_path / "scale.yaml"
    text = (suite.EXPERIMENTS / "scales" / "paper.yaml").read_text()
    path.write_text(text + "optimizer_of: {crabnet: {peak_lr: 1e-3, weight_decay: 0}}\n")
    scale, row = read_spec(path, Scale), suite.load_row("table1/crabnet_energy")
    own = resolve(row, scale, "").optimizer
    assert (own.peak_lr, own.weight_decay, own.final_lr) == (1e-3, 0, 1e-7)
    assert resolve(suite.load_row("table2/none"), scale, "").optimizer.peak_lr == 5e-4
    last = resolve(row.model_copy(update={"optimizer": OptimizerSpec(peak_lr=2e-3)}), scale, "")
    assert (last.optimizer.peak_lr, last.optimizer.weight_decay) == (2e-3, 0)
    path.write_text(text + "optimizer_of: {crabnt: {peak_lr: 1e-3}}\n")
    with pytest.raises(UserError, match=r"'crabnt', which is none \(did you mean 'crabnet'"):
        read_spec(path, Scale)


def test_unknown_rows_scales_and_models_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no row 'nome' \(did you mean 'none'"):
        suite.load_row("table2/nome")
    with pytest.raises(UserError, match=r"no scale 'minni' \(did you mean 'mini'"):
        suite.load_scale("minni")
    row = read_row(tmp_path, ROW.replace("xxact_nn", "xxact"))
    with pytest.raises(UserError, match="no model 'xxact'"):
        resolve(row, suite.load_scale("mini"), "row.yaml")


def test_a_row_changes_keys_of_its_scales_model_and_no_other(tmp_path):
    scale = suite.load_scale("mini")
    row = read_row(tmp_path, ROW + "change: {xrd: {tokens: 34}, fusion: {layers: 1}}\n")
    model, own = resolve(row, scale, "row.yaml").model, scale.models["xxact_nn"]
    assert (model.xrd.tokens, model.fusion.layers) == (34, 1)
    assert model.composition == own.composition
    assert replace(model.xrd, tokens=17) == own.xrd
    assert resolve(row.model_copy(update={"change": {}}), scale, "row.yaml").model == own


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        ("xxact_nn", "{xrd: {tokns: 34}}", r"row\.yaml: model\.xrd\.tokns.*mean 'tokens'"),
        ("xxact_nn", "{xrd: {tokens: 16}}", "do not divide"),
        ("crabnet", "{xrd: {tokens: 34}}", "has no part 'xrd'"),
        ("constant", "{xrd: {tokens: 34}}", r"row\.yaml: change"),
    ],
)
def test_changes_that_fit_no_model_are_named(tmp_path, model, change, message):
    row = read_row(tmp_path, ROW.replace("xxact_nn", model) + f"change: {change}\n")
    with pytest.raises(UserError, match=message):
        resolve(row, suite.load_scale("mini"), "row.yaml")


def test_the_recipe_of_masked_modelling_is_the_papers_unless_a_row_says_so():
    scale = suite.load_scale("mini")
    published = resolve(suite.load_row("table2/pretrain_mxm"), scale, "")
    assert (published.mask_fraction, published.mxm_scale) == (0.05, "raw")
    assert published.mxm_activation == "relu"
    changed = resolve(suite.load_row("open/pretrain_closed_sqrt"), scale, "")
    assert changed.model_copy(update={"mxm_scale": "raw", "reproduces": ""}) == (
        published.model_copy(update={"reproduces": ""})
    )


def test_a_row_that_its_scale_has_no_length_for_is_named():
    scale = suite.load_scale("aflow")
    row = suite.load_row("crabnet_check/crabnet")
    with pytest.raises(UserError, match=r"row\.yaml: this row is a transfer"):
        resolve(row.model_copy(update={"transfer": True}), scale, "row.yaml")
    with pytest.raises(UserError, match=r"row\.yaml: this row is a pretraining"):
        resolve(row.model_copy(update={"objective": "mxm"}), scale, "row.yaml")


def test_the_loss_of_crabnets_authors_needs_their_output_net(tmp_path):
    scale = suite.load_scale("aflow")
    spec = resolve(suite.load_row("crabnet_check/crabnet_mat2vec"), scale, "row.yaml")
    assert spec.regression_loss == "robust_l1"
    assert spec.model.composition.element_vectors == "mat2vec"
    row = read_row(tmp_path, f"{ROW}regression_loss: robust_l1\n")
    with pytest.raises(UserError, match="'robust_l1' needs the output net of crabnet"):
        resolve(row, suite.load_scale("mini"), "row.yaml")


def test_the_scaling_rows_are_the_fractions_they_are_named_after():
    names = suite.row_names("scaling")
    assert len(names) == 2 * (7 + 2)
    for name in names:
        row = suite.load_row(name)
        model, size, *control = name.split("/")[1].split("_")
        # half a thousand: a name is rounded to thousands of the paper's samples
        assert row.train_fraction == pytest.approx(int(size[:-1]) / 4500, abs=0.51 / 4500)
        assert row.equal_steps == (control == ["steps"])
        assert row.model == {"crabnet": "crabnet", "xxact": "xxact_nn"}[model]


def test_the_lengths_of_table_3_have_the_papers_ratio():
    scale = suite.load_scale("paper")
    epochs = {
        name.split("/")[1]: resolve(suite.load_row(name), scale, name).epochs
        for name in suite.row_names("table3")
    }
    assert epochs == {key: int(row["epochs"]) for key, row in published()["table3"]["rows"].items()}


def test_every_run_that_a_table_or_figure_reads_is_a_row():
    keys = [*TABLES, *(key for declared in BENCHMARK_TABLES.values() for key in declared)]
    read = {run for key in keys for run in table(key).runs}
    read |= {run for figure in FIGURES for run in figure.runs}
    assert read == set(ROWS)


def test_impossible_combinations_are_named(tmp_path):
    row = read_row(tmp_path, ROW.replace("supervised", "mxm"))
    with pytest.raises(UserError, match="takes no targets"):
        resolve(row, suite.load_scale("mini"), "row.yaml")
    row = read_row(tmp_path, ROW + "together: true\n")
    with pytest.raises(UserError, match="'together' is of several targets"):
        resolve(row, suite.load_scale("mini"), "row.yaml")
    row = read_row(tmp_path, ROW + "transfer: true\n")
    with pytest.raises(UserError, match="'init'"):
        resolve(row, suite.load_scale("mini"), "row.yaml")
