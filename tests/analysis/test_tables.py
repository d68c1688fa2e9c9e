"""Cells read the right number of the right run, and only that; missing ones say so."""

import csv
import io
import json
import re
import shutil
import statistics
import subprocess
from pathlib import Path

import fabricate
import pytest

from xxact.analysis import render, tables
from xxact.analysis.figures import BENCHMARKS, TABLES
from xxact.analysis.quantities import NOT_RECORDED
from xxact.analysis.render import NOT_RUN, Source, View
from xxact.experiments.result import result_path, write_result

FORMS = ("markdown", "csv_text", "latex", "terminal")


def _views(keys, committed, yours=None, scale="mini"):
    """Some tables, filled from results that are read once."""
    roots = {"committed": committed} | ({"yours": yours} if yours else {})
    sources = {name: Source(root, scale) for name, root in roots.items()}
    targets = {run: names for source in sources.values() for run, names in source.targets.items()}
    made = [tables.table(k, targets) if k != "costs" else tables.costs(targets) for k in keys]
    return {table.key: View(table, scale, sources) for table in made}


def _view(key, committed, yours=None, scale="mini"):
    return _views([key], committed, yours, scale)[key]


def _cells(view, source="committed") -> dict[tuple[str, str, str], dict[str, str]]:
    rows = csv.DictReader(io.StringIO(render.csv_text(view)))
    return {(r["section"], r["row"], r["column"]): r for r in rows if r["source"] == source}


@pytest.fixture(scope="module")
def cells(whole):
    """The cells of every table with all runs."""
    return {key: _cells(view) for key, view in _views(TABLES, whole).items()}


def test_mean_and_standard_deviation_over_seeds(cells):
    cell = cells["table2"]["energy", "mxm", "best"]
    values = [
        fabricate.make("table2/mxm", seed=k)["metrics"]["best_on_test"][fabricate.ENERGY]
        for k in (0, 1, 2)
    ]
    numbers = [value["mae_mev_per_atom"] for value in values]
    assert float(cell["mean"]) == pytest.approx(statistics.fmean(numbers))
    assert float(cell["std"]) == pytest.approx(statistics.stdev(numbers))
    assert (cell["seeds"], cell["n"], cell["unit"]) == ("0 1 2", "500", "meV/atom")
    assert (cell["scale"], cell["runs"], cell["published"]) == ("mini", "table2/mxm", "43.48")


def test_progress_columns_read_the_curve_at_that_share(cells, results):
    points = [
        next(p for p in fabricate.make("table2/none", seed=k)["curve"] if p["progress"] == 0.15)
        for k in (0, 1, 2)
    ]
    accuracies = [p["test"]["crystal_system"]["accuracy_percent"] for p in points]
    mean = float(cells["table2"]["system", "none", "p15"]["mean"])
    assert mean == pytest.approx(statistics.fmean(accuracies))
    for seed in (0, 1, 2):
        path = result_path(results, "mini", "table2/none", seed)
        content = json.loads(path.read_text())
        content["curve"] = [p for p in content["curve"] if p["progress"] != 0.05]
        write_result(path, content)
    after = _cells(_view("table2", results))
    assert after["system", "none", "p05"]["text"] == NOT_RECORDED
    assert after["system", "none", "p15"] == cells["table2"]["system", "none", "p15"]


def test_rows_of_other_tables_read_their_runs(cells):
    one, other = cells["table1"]["energy", "xxact_multi", "best"], cells["table2"]
    assert one["runs"] == "table2/none"
    assert one["mean"] == other["energy", "none", "best"]["mean"]
    one, other = cells["table1"]["system", "fcn", "best"], cells["table3"]
    assert one["runs"] == "table3/fcn_system_4"
    assert one["mean"] == other["system", "fcn_system_4", "best"]["mean"]


def test_what_has_no_curve_reads_one_value(results):
    path = result_path(results, "mini", "table1/forest_xrd_energy", 0)
    content = json.loads(path.read_text())
    content["cost"] |= {"steps": 0, "samples_per_s": None, "parameters": None}
    write_result(path, content)
    found = _cells(_view("table1", results))
    readings = {found["energy", "forest_xrd", r]["mean"] for r in ("best", "final", "selected")}
    assert len(readings) == 1
    for seed in (1, 2):
        result_path(results, "mini", "table1/forest_xrd_energy", seed).unlink()
    costs = _cells(_view("costs", results))
    assert costs["runs", "table1/forest_xrd_energy", "rate"]["text"] == "n/a"
    assert "made-up processor, 2 cores, float32" in costs["runs", "table2/none", "hardware"]["text"]


def test_transfer_carries_its_own_target_and_unit(whole, tmp_path):
    text = render.markdown(_view("table1", whole))
    row = [line for line in text.splitlines() if "XRD transformer, from crystal" in line]
    assert "0.191" in row[0]
    assert "GPa" in row[1]
    assert "transfer to the unseen target, MAE (eV); here: bulk modulus" in text
    fabricate.write_tree(tmp_path, "mp-small", ["table1/xrd_system_transfer"], (0,))
    text = render.markdown(_view("table1", tmp_path, scale="mp-small"))
    assert "GPa" not in text
    assert "here:" not in text


@pytest.mark.parametrize("form", FORMS)
def test_missing_cells_say_so_and_are_never_empty_or_zero(tmp_path, form):
    fabricate.write_tree(tmp_path, "mini", fabricate.FIRST, (0,))
    view = _view("table1", tmp_path)
    text = getattr(render, form)(view)
    assert text.count(NOT_RUN) >= len(view.missing()) - 1 > 20
    for section in view.table.sections:
        laid_out = view.grids[section.key]
        assert (laid_out.map(len) > 0).all(axis=None)
        assert NOT_RUN in render.html(view, section)


def test_committed_and_yours_stand_below_each_other(whole, tmp_path):
    own = fabricate.write_tree(tmp_path / "runs", "mini", ["table2/none"], (7,))
    view = _view("table2", whole, own)
    lines = list(view.grids["energy"].index)[:3]
    assert lines == [("none", who) for who in ("published", "committed", "yours")]
    found = _cells(view, "yours")
    assert found["energy", "none", "final"]["seeds"] == "7"
    assert found["energy", "mxm", "final"]["text"] == NOT_RUN
    assert "yours" not in render.markdown(_view("table2", whole))


def test_table_4_has_micro_and_macro_average(cells):
    by_seed = []
    for k in (0, 1, 2):
        classes = fabricate.make("table2/none", seed=k)["per_class"]["crystal_system"]
        by_seed.append(statistics.fmean(c["accuracy_percent"] for c in classes.values()))
    macro, micro = (cells["table4"]["system", row, "none"] for row in ("macro", "micro"))
    assert float(macro["mean"]) == pytest.approx(statistics.fmean(by_seed))
    assert micro["mean"] == cells["table2"]["system", "none", "final"]["mean"]
    assert (micro["published"], macro["published"]) == ("97.20", "")


def test_derived_tables_read_both_spaces_and_explained_variance(cells):
    one, other = (
        float(cells["table5"][space, "cubic", "xrd"]["mean"])
        for space in ("embedding", "projection")
    )
    assert one - other == pytest.approx(0.1)
    scores = [
        fabricate.make("table2/pretrain_mxm", seed=k)["metrics"]["final"]["test"]["objective"]
        for k in (0, 1, 2)
    ]
    explained = float(cells["table2"]["explained", "mxm", "_sqrt"]["mean"])
    wanted = statistics.fmean(score["mxm_explained_variance_sqrt"] for score in scores)
    assert explained == pytest.approx(wanted)


def test_gaps_and_laws_pair_seeds(cells):
    found = cells["scaling"]
    size = {m: found[m, "1000k", "best"] for m in ("crabnet", "xxact")}
    gap = float(found["gap", "1000k", "gap"]["mean"])
    assert gap == pytest.approx(float(size["crabnet"]["mean"]) - float(size["xxact"]["mean"]))
    assert found["gap", "1000k", "gap"]["published"] == "66.2"
    assert float(found["fit", "xxact", "exponent"]["mean"]) == pytest.approx(-0.3, abs=0.03)
    assert found["fit", "xxact", "exponent"]["published"] == "-0.335"
    assert found["gap", "4500k", "gap"]["seeds"] == "0 1 2"


def test_crabnet_check_is_relative_to_its_authors_error(tmp_path):
    for seed, error in enumerate((8.8, 9.0)):
        for row, more in (("crabnet", 0.7), ("crabnet_mat2vec", 0.0)):
            content = fabricate.make(f"crabnet_check/{row}", "aflow", seed)
            score = {"bulk_modulus": {"mae_gpa": error + more, "n": 732}}
            content["spec"]["targets"] = ["bulk_modulus"]
            content["curve"], content["per_class"] = [], None
            content["metrics"] = {"final": {"validation": score, "test": score}}
            fabricate.write_one(tmp_path, content)
    view = _view("crabnet_check", tmp_path, scale="aflow")
    found = _cells(view)
    for row, error, published in (("crabnet_mat2vec", 8.9, "8.69"), ("crabnet", 9.6, "9.10")):
        assert found["mae", row, "selected"]["text"] == f"{error:.2f} ± 0.14"
        assert found["mae", row, "selected"]["published"] == published
        wanted = 100 * (error / 8.69 - 1)
        assert float(found["gap", row, "selected"]["mean"]) == pytest.approx(wanted)
    assert view.missing_runs() == {"crabnet_check/forest"}
    assert "crabnet_check" in BENCHMARKS["aflow"]


# --- commands ------------------------------------------------------------------------------------


def test_commands_train_what_a_table_reads_and_no_more(results):
    run = "python experiments/{}/run.py --local --scale mini --seeds 3"
    assert _view("table2", results).commands() == [run.format("table2")]
    assert _view("table4", results).commands() == [
        f"{run.format('table1')} --only crabnet_system xrd_system",
        f"{run.format('table2')} --only contrastive contrastive_mxm mxm none",
    ]
    result_path(results, "mini", "table2/mxm", 2).unlink()
    some = "contrastive contrastive_mxm none pretrain_contrastive pretrain_contrastive_mxm"
    assert set(_view("table2", results).commands()) == {
        "python experiments/table2/run.py --local --scale mini --seeds 2 --only mxm",
        f"{run.format('table2')} --only {some} pretrain_mxm",
    }


def test_declared_runs_are_rows_of_the_experiments():
    folder = Path(__file__).parents[2] / "experiments"
    for key in (*TABLES, "crabnet_check"):
        for run in tables.table(key).runs:
            assert (folder / f"{run}.yaml").exists(), (key, run)


def test_rows_that_did_not_run_are_a_note_of_the_open_division_beyond_the_home_scale(tmp_path):
    fabricate.write_tree(tmp_path, "mp-small", ["open/energy", "open/raw"], (0, 1))
    source = Source(tmp_path, "mp-small")
    table = tables.without_absent(tables.table("open"), source.seeds.keys())
    view = View(table, "mp-small", {"committed": source})
    assert {section.key: [*section.rows] for section in table.sections} == {
        "energy": ["energy"],
        "ablations": ["raw"],
    }
    assert not any(NOT_RUN in text for text in view.filled["text"])
    note = table.notes[-1]
    assert "formation energy, MAE (XxaCT-NN, single-target;" in note
    assert "crystal system, accuracy (no row)" in note
    run = "python experiments/open/run.py --local --scale mp-small --seeds 2 --only energy raw"
    assert view.commands() == [run]
    both = {run for section in table.sections for c in section.cells.values() for run in c.runs}
    assert tables.without_absent(table, both) is table


def test_a_row_that_ran_in_part_is_shown_without_the_columns_that_did_not():
    runs = {"open/scratch_10", "open/masked_10", "open/masked_30"}
    table = tables.without_absent(tables.table("open"), runs)
    for section in table.sections:
        assert [*section.rows] == ["scratch", "masked"]
        assert [*section.columns] == ["10", "30"]
        assert section.cells.keys() == {(r, c) for r in section.rows for c in section.columns}
    assert [section.key for section in table.sections] == ["labels_energy", "labels_system"]
    assert "after contrastive pretraining; 1 %; 3 %; all labels" in table.notes[-1]


# --- speed-ups -----------------------------------------------------------------------------------


def _with_curve(path, values, steps=20):
    """Give a result evaluations; `values` are (MAE, accuracy)."""
    content = json.loads(path.read_text())
    content["curve"] = [
        {
            "step": steps * (k + 1),
            "progress": (k + 1) / len(values),
            "test": {
                fabricate.ENERGY: {"mae_mev_per_atom": mae, "n": 5},
                "crystal_system": {"accuracy_percent": accuracy, "n": 5},
            },
        }
        for k, (mae, accuracy) in enumerate(values)
    ]
    write_result(path, content)


@pytest.fixture
def two_runs(tmp_path):
    """By hand: the baseline has 80 meV and 90 % at 25 %, which is its second evaluation of eight.

    The pretrained run has the energy at its first evaluation, both only at its second.
    """
    root = fabricate.write_tree(tmp_path, "mini", fabricate.FIRST, (0,))
    after = [(60, 95)] * 5
    baseline = [(150, 70), (80, 90), (70, 92), *after]
    _with_curve(result_path(root, "mini", "table2/none", 0), baseline, steps=30)
    pretrained = [(79, 80), (75, 90), (70, 91), *after]
    _with_curve(result_path(root, "mini", "table2/mxm", 0), pretrained, steps=20)
    worse = [(150, 50)] * 8
    _with_curve(result_path(root, "mini", "table2/contrastive", 0), worse, steps=20)
    return root


def test_speed_up_by_hand(two_runs):
    found = _cells(_view("table2", two_runs))
    # baseline: 2 x 30 = 60 steps; pretrained: 2 x 20 = 40 steps; its pretraining: 480 steps
    wanted = {
        "steps": 40,
        "speed_up": 60 / 40,
        "with_pretraining": 60 / (40 + 480),
        "resolution": 20,
    }
    for column, value in wanted.items():
        assert float(found["speed_up", "mxm", column]["mean"]) == pytest.approx(value)
    assert float(found["speed_up", "none", "steps"]["mean"]) == 60
    for column in ("speed_up", "with_pretraining"):
        assert found["speed_up", "contrastive", column]["text"] == "not reached"


def test_speed_up_pairs_seeds_and_counts_those_that_fail(two_runs):
    for run in ("none", "mxm"):
        fabricate.write_tree(two_runs, "mini", [f"table2/{run}"], (1,))
    _with_curve(result_path(two_runs, "mini", "table2/mxm", 1), [(150, 50)] * 8)
    cell = _cells(_view("table2", two_runs))["speed_up", "mxm", "speed_up"]
    assert cell["text"] == "not reached (1 of 2 seeds); 1.50"


# --- one result, one cell ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "run", ["table2/none", "table2/pretrain_mxm", "table1/crabnet_energy", "scaling/xxact_281k"]
)
def test_deleting_a_result_changes_only_what_derives_from_it(results, cells, run):
    for seed in (0, 1, 2):
        result_path(results, "mini", run, seed).unlink()
    changed = 0
    for key, view in _views(TABLES, results).items():
        for place, cell in _cells(view).items():
            if run in cell["runs"].split():
                assert cell["text"] == NOT_RUN
                changed += 1
            elif cell["runs"] != "table2/mxm" or "resolution" not in place:
                assert cell == cells[key][place]
    assert changed


# --- one file more -------------------------------------------------------------------------------


def test_a_new_row_and_a_new_target_are_one_yaml_each(results):
    """A run that no declaration names has its row; its target's unit comes from its scores."""
    content = fabricate.make("table1/crabnet_energy")
    content["run"], content["seed"] = "table1/my_model_energy", 0
    write_result(result_path(results, "mini", content["run"], 0), content)
    view = _view("table1", results)
    cell = _cells(view)["energy", "my_model_energy", "final"]
    wanted = content["metrics"]["final"]["test"][fabricate.ENERGY]["mae_mev_per_atom"]
    assert float(cell["mean"]) == wanted
    assert "my model energy" in render.markdown(view)
    content["run"], content["spec"]["targets"] = "table1/my_target", ["bulk_modulus"]
    content["metrics"] = {"final": {"test": {"bulk_modulus": {"mae_gpa": 12.5, "n": 500}}}}
    content["curve"], content["per_element"] = [], None
    write_result(result_path(results, "mini", content["run"], 0), content)
    found = Source(results, "mini").values["table1/my_target", "bulk_modulus/final"]
    assert (found["mean"], found["unit"]) == (12.5, "GPa")


# --- LaTeX ---------------------------------------------------------------------------------------


def test_latex_escapes_everything_it_prints(whole):
    for key, view in _views(TABLES, whole).items():
        text = render.latex(view)
        body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
        assert not re.search(r"(?<!\\)[%#]", body), key
        assert not re.search(r"(?<!\\)_(?![^{]*\})", re.sub(r"\\label\{.*?\}", "", body)), key
        assert text.count("{") == text.count("}")
        assert text.count("\\begin{") == text.count("\\end{")
        assert not set("±≤≥<>") & set(body)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no TeX is installed")
def test_latex_compiles(whole, tmp_path):
    packages = "".join(rf"\usepackage{{{p}}}" for p in ("booktabs", "multirow"))
    body = "\n".join(map(render.latex, _views(TABLES, whole).values()))
    text = rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "tables.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
