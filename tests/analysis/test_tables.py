"""Cells read the right number of the right run, and only that."""

import csv
import io
import json
import re
import statistics
from pathlib import Path

import fabricate
import pytest
from xxact.analysis.cells import NOT_RUN, view
from xxact.analysis.derived import costs, table4, table5

from xxact.analysis import measures as m
from xxact.analysis import render
from xxact.analysis.figures import TABLES
from xxact.analysis.provenance import Tree
from xxact.analysis.tables import table1, table2, table3
from xxact.experiments.result import read_result, result_path, write_result


def _csv(table, committed, yours=None) -> dict[tuple[str, str, str], dict[str, str]]:
    rows = csv.DictReader(io.StringIO(render.csv_text(view(table, committed, yours))))
    return {(r["section"], r["row"], r["column"]): r for r in rows}


def test_mean_and_standard_deviation_over_seeds(whole):
    cell = _csv(table2(), Tree(whole, "mini"))["energy", "mxm", "best"]
    values = [
        fabricate.make("table2/mxm", seed=k)["metrics"]["best_on_test"][fabricate.ENERGY]
        for k in (0, 1, 2)
    ]
    numbers = [value["mae_mev_per_atom"] for value in values]
    assert float(cell["committed"]) == pytest.approx(statistics.fmean(numbers))
    assert float(cell["committed_std"]) == pytest.approx(statistics.stdev(numbers))
    assert cell["committed_seeds"] == "0 1 2"
    assert cell["committed_n"] == "500"
    assert (cell["scale"], cell["part"], cell["runs"]) == ("mini", "test", "table2/mxm")


def test_progress_columns_read_the_curve_at_that_share(whole):
    cell = _csv(table2(), Tree(whole, "mini"))["system", "none", "p15"]
    wanted = [
        next(p for p in fabricate.make("table2/none", seed=k)["curve"] if p["progress"] == 0.15)
        for k in (0, 1, 2)
    ]
    accuracies = [p["test"]["crystal_system"]["accuracy_percent"] for p in wanted]
    assert float(cell["committed"]) == pytest.approx(statistics.fmean(accuracies))


def test_progress_that_was_not_evaluated_is_not_recorded(results):
    path = result_path(results, "mini", "table2/none", 0)
    content = json.loads(path.read_text())
    content["curve"] = [p for p in content["curve"] if p["progress"] != 0.05]
    result = read_result(_rewrite(path, content))
    assert m.score_at(m.ENERGY, 0.05)([result]).text == m.NOT_RECORDED
    assert m.score_at(m.ENERGY, 0.15)([result]).value is not None


def test_multi_task_row_reads_the_run_of_table_2(whole):
    cells = _csv(table1(), Tree(whole, "mini"))
    shared = _csv(table2(), Tree(whole, "mini"))
    one, other = cells["energy", "xxact_multi", "best"], shared["energy", "none", "best"]
    assert one["committed"] == other["committed"]
    assert one["runs"] == "table2/none"


def test_convolutional_rows_read_the_runs_of_table_3(whole):
    cells = _csv(table1(), Tree(whole, "mini"))
    shared = _csv(table3(), Tree(whole, "mini"))
    for row, run in (("fcn", "fcn_system_4"), ("fcn_mlp", "fcn_mlp_system_4")):
        one, other = cells["system", row, "best"], shared["system", run, "best"]
        assert one["runs"] == other["runs"] == f"table3/{run}"
        assert one["committed"] == other["committed"] != NOT_RUN


def test_commands_train_what_a_table_reads_and_no_more(tmp_path):
    none = Tree(tmp_path, "mp")
    assert table2().commands(none) == ["python experiments/table2/run.py --local --scale mp"]
    run = "python experiments/{}/run.py --local --scale mini"
    none = Tree(tmp_path, "mini")
    assert table1().commands(none) == [
        run.format("table1"),
        f"{run.format('table2')} --only none",
        f"{run.format('table3')} --only fcn_energy_2 fcn_mlp_energy_2 fcn_mlp_system_4"
        " fcn_system_4",
    ]
    assert table4().commands(none) == [
        f"{run.format('table1')} --only xrd_system",
        f"{run.format('table2')} --only contrastive contrastive_mxm mxm none",
    ]


def test_commands_train_as_many_seeds_as_there_are(results):
    run = "python experiments/{}/run.py --local --scale mini --seeds 3"
    assert table2().commands(Tree(results, "mini")) == [run.format("table2")]
    result_path(results, "mini", "table2/mxm", 2).unlink()
    some = "contrastive contrastive_mxm none pretrain_contrastive pretrain_contrastive_mxm"
    assert set(table2().commands(Tree(results, "mini"))) == {
        "python experiments/table2/run.py --local --scale mini --seeds 2 --only mxm",
        f"{run.format('table2')} --only {some} pretrain_mxm",
    }


def test_make_reproduce_trains_what_table_1_shares_with_table_3():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    shared = re.search(r"^SHARED = (.*)$", makefile, re.MULTILINE)[1].split()
    wanted = {run.split("/")[1] for run in table1().runs if run.startswith("table3/")}
    assert set(shared) == wanted


def test_a_forest_has_no_speed_and_one_value(results):
    path = result_path(results, "mini", "table1/forest_xrd_energy", 0)
    content = json.loads(path.read_text())
    content["cost"] |= {"steps": 0, "samples_per_s": None, "parameters": None}
    result = read_result(_rewrite(path, content))
    assert m.of_cost("samples_per_s", "samples/s")([result]).text == m.NOT_APPLICABLE
    cells = _csv(table1(), Tree(results, "mini"))
    readings = {
        cells["energy", "forest_xrd", r]["committed"] for r in ("best", "final", "selected")
    }
    assert len(readings) == 1


def test_transfer_carries_its_own_target_and_unit(whole):
    text = render.markdown(view(table1(), Tree(whole, "mini")))
    row = next(line for line in text.splitlines() if "XRD transformer, from crystal" in line)
    assert "0.191" in row
    assert "GPa" in row
    assert "transfer to the unseen target, MAE (eV); here: bulk modulus" in text


def test_at_a_scale_with_band_gaps_the_unit_is_the_published_one(tmp_path):
    fabricate.write_tree(tmp_path, "mp-small", ["table1/xrd_system_transfer"], (0,))
    text = render.markdown(view(table1(), Tree(tmp_path, "mp-small")))
    row = next(line for line in text.splitlines() if "XRD transformer, from crystal" in line)
    assert "GPa" not in row
    assert "here:" not in text


@pytest.mark.parametrize("form", ["markdown", "csv_text", "latex", "terminal"])
def test_missing_cells_say_so_and_are_never_empty_or_zero(tmp_path, form):
    fabricate.write_tree(tmp_path / "results", "mini", fabricate.FIRST, (0,))
    text = getattr(render, form)(view(table1(), Tree(tmp_path / "results", "mini")))
    row = next(line for line in text.splitlines() if "FCN+MLP" in line or "fcn_mlp" in line)
    assert NOT_RUN in row


def test_committed_and_yours_stand_side_by_side(whole, tmp_path):
    own = fabricate.write_tree(tmp_path / "runs", "mini", ["table2/none"], (7,))
    filled = view(table2(), Tree(whole, "mini"), Tree(own, "mini"))
    header = render.markdown(filled).splitlines()[6]
    assert "5 % of training: published | 5 % of training: committed" in header
    assert "5 % of training: yours" in header
    assert "seeds yours" in header
    cells = _csv(table2(), Tree(whole, "mini"), Tree(own, "mini"))
    assert cells["energy", "none", "final"]["yours_seeds"] == "7"
    assert cells["energy", "mxm", "final"]["yours"] == NOT_RUN
    assert "yours" not in render.markdown(view(table2(), Tree(whole, "mini")))


def test_table_4_has_micro_and_macro_average(whole):
    cells = _csv(table4(), Tree(whole, "mini"))
    by_seed = []
    for k in (0, 1, 2):
        classes = fabricate.make("table2/none", seed=k)["per_class"]["crystal_system"]
        by_seed.append(statistics.fmean(c["accuracy_percent"] for c in classes.values()))
    macro, micro = cells["system", "macro", "none"], cells["system", "micro", "none"]
    assert float(macro["committed"]) == pytest.approx(statistics.fmean(by_seed))
    final = _csv(table2(), Tree(whole, "mini"))["system", "none", "final"]
    assert micro["committed"] == final["committed"]
    assert micro["published"] == "97.20"
    assert macro["published"] == ""


def test_table_5_has_both_spaces(whole):
    cells = _csv(table5(), Tree(whole, "mini"))
    one, other = (float(cells[s, "cubic", "xrd"]["committed"]) for s in ("embedding", "projection"))
    assert one - other == pytest.approx(0.1)


def test_costs_name_the_hardware(whole):
    text = render.markdown(view(costs([Tree(whole, "mini")]), Tree(whole, "mini")))
    assert "made-up processor, 2 cores, float32" in text
    assert "1234567" in text


def _rewrite(path, content):
    write_result(path, content)
    return path


# --- speed-ups -----------------------------------------------------------------------------------


def _with_curve(path, values, steps=20):
    """Give a result five evaluations; `values` are (MAE, accuracy), 25 % is not among them."""
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
    return _rewrite(path, content)


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
    cells = _csv(table2(), Tree(two_runs, "mini"))
    # baseline: 2 x 30 = 60 steps; pretrained: 2 x 20 = 40 steps; its pretraining: 480 steps
    assert float(cells["speed_up", "none", "steps"]["committed"]) == 60
    assert float(cells["speed_up", "mxm", "steps"]["committed"]) == 40
    assert float(cells["speed_up", "mxm", "speed_up"]["committed"]) == pytest.approx(60 / 40)
    counted = cells["speed_up", "mxm", "with_pretraining"]["committed"]
    assert float(counted) == pytest.approx(60 / (40 + 480))
    assert float(cells["speed_up", "mxm", "resolution"]["committed"]) == 20


def test_speed_up_that_is_not_reached(two_runs):
    cells = _csv(table2(), Tree(two_runs, "mini"))
    assert cells["speed_up", "contrastive", "speed_up"]["committed"] == "not reached"
    assert cells["speed_up", "contrastive", "with_pretraining"]["committed"] == "not reached"


def test_speed_up_pairs_seeds_and_counts_those_that_fail(two_runs):
    for run in ("none", "mxm"):
        fabricate.write_tree(two_runs, "mini", [f"table2/{run}"], (1,))
    _with_curve(result_path(two_runs, "mini", "table2/mxm", 1), [(150, 50)] * 8)
    cell = _csv(table2(), Tree(two_runs, "mini"))["speed_up", "mxm", "speed_up"]
    assert cell["committed"] == "not reached (1 of 2 seeds); 1.50"


# --- one JSON, one cell --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Every run with one seed, and the cells of all tables as they are with all of them."""
    root = fabricate.write_tree(tmp_path_factory.mktemp("single"), "mini", fabricate.ALL, (0,))
    return root, [_csv(table(), Tree(root, "mini")) for table in TABLES]


@pytest.mark.parametrize("run", fabricate.ALL)
def test_deleting_a_json_changes_only_what_derives_from_it(single, run):
    root, before = single
    path = result_path(root, "mini", run, 0)
    kept = path.rename(path.with_suffix(".deleted"))
    tree = Tree(root, "mini")
    kept.rename(path)
    changed = 0
    for table, old in zip(TABLES, before, strict=True):
        for place, cell in _csv(table(), tree).items():
            if run in cell["runs"].split():
                assert cell["committed"] == NOT_RUN
                changed += 1
            else:
                assert cell == old[place]
    assert changed
