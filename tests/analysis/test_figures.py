"""Figures are the same bytes from the same results, and absent where their data is."""

import fabricate
import pytest
from xxact.analysis.confusion import confusion
from xxact.analysis.curves import curve

from xxact.analysis import distributions, figures
from xxact.analysis.figures import FIGURES, check_complete, trees, write_scale
from xxact.analysis.provenance import Tree
from xxact.errors import UserError
from xxact.experiments.result import data_path, result_path

BY_KEY = {figure.key: figure for figure in FIGURES}


@pytest.mark.parametrize("key", BY_KEY)
def test_the_same_results_give_the_same_bytes(whole, tmp_path, key):
    tree = Tree(whole, "mini")
    first = BY_KEY[key].draw(tree, None, tmp_path / "first")
    second = BY_KEY[key].draw(Tree(whole, "mini"), None, tmp_path / "second")
    assert [path.suffix for path in first] == [".png", ".pdf"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert b"CreationDate" not in first[1].read_bytes()


def test_without_data_nothing_is_written(tmp_path):
    written = write_scale(Tree(tmp_path / "none", "mini"), None, tmp_path / "out")
    assert not (tmp_path / "out/figures").exists()
    for figure in FIGURES:
        assert written.figures[figure.key] == []
        assert figure.title in written.missing


@pytest.fixture
def two_figures(monkeypatch):
    """Draw figures 4 and 6 alone, for speed."""
    monkeypatch.setattr(figures, "FIGURES", (BY_KEY["figure4"], BY_KEY["figure6"]))


def test_the_whole_training_part_alone_is_no_scaling_experiment(tmp_path):
    whole_part = ["table2/none", "table1/crabnet_energy"]
    tree = Tree(fabricate.write_tree(tmp_path / "runs", "mini", whole_part, (0,)), "mini")
    assert BY_KEY["figure3"].draw(tree, None, tmp_path / "out") == []
    fabricate.write_tree(tmp_path / "runs", "mini", ["scaling/crabnet_1000k"], (0,))
    tree = Tree(tmp_path / "runs", "mini")
    assert BY_KEY["figure3"].draw(tree, None, tmp_path / "out")


@pytest.mark.usefixtures("two_figures")
def test_an_old_figure_goes_when_its_data_is_gone(results, tmp_path):
    out = tmp_path / "out"
    write_scale(Tree(results, "mini"), None, out)
    assert (out / "figures/mini/figure4.png").exists()
    data_path(results, "mini").unlink()
    write_scale(Tree(results, "mini"), None, out)
    assert not (out / "figures/mini/figure4.png").exists()
    assert (out / "figures/mini/figure6.png").exists()


def test_figure_6_draws_beside_committed_curves(whole, tmp_path):
    own = fabricate.write_tree(tmp_path / "runs", "mini", ["table2/none", "table2/mxm"], (5,))
    tree, beside = Tree(own, "mini"), Tree(whole, "mini")
    alone = BY_KEY["figure6"].draw(tree, None, tmp_path / "alone")
    both = BY_KEY["figure6"].draw(tree, beside, tmp_path / "both")
    assert alone[0].read_bytes() != both[0].read_bytes()


def test_curve_is_mean_and_spread_over_seeds(whole):
    results = Tree(whole, "mini").results("table2/none")
    drawn = curve(results, "crystal_system")
    assert len(drawn.progress) == 40
    assert drawn.progress[-1] == 100
    last = [r.curve[-1].test["crystal_system"]["accuracy_percent"] for r in results]
    assert drawn.mean[-1] == pytest.approx(sum(last) / 3)
    assert drawn.std[-1] > 0


def test_confusion_is_summed_over_seeds(whole):
    tree = Tree(whole, "mini")
    single = [r.per_class.confusion for r in tree.results("table2/mxm")]
    assert confusion(tree, "table2/mxm")[2][3] == sum(matrix[2][3] for matrix in single)
    assert confusion(tree, "table1/xrd_energy") is None


def test_every_element_has_its_own_place():
    places = distributions.PLACES
    assert len(places) == len(set(places.values())) == 118
    groups = {s: column + 1 for s, (_, column) in places.items()}
    # IUPAC groups of some elements at the corners of their blocks
    wanted = {"H": 1, "He": 18, "Be": 2, "B": 13, "Sc": 3, "Zn": 12, "Hf": 4, "Lu": 3, "Rn": 18}
    assert {s: groups[s] for s in wanted} == wanted
    assert places["La"][0] > places["Fr"][0]
    assert places["U"][0] == places["Ac"][0]


def test_errors_by_element_are_means_over_seeds(whole):
    errors = distributions.element_errors(Tree(whole, "mini"), "table2/none")
    assert errors["O"] == (70.0, 22)


@pytest.mark.usefixtures("two_figures")
def test_complete_or_every_missing_cell_by_name(results, tmp_path):
    whole = write_scale(Tree(results, "mini"), None, tmp_path / "out")
    check_complete([whole])
    for seed in (0, 1, 2):
        result_path(results, "mini", "table3/fcn_system_2", seed).unlink()
    less = write_scale(Tree(results, "mini"), None, tmp_path / "out")
    with pytest.raises(UserError, match=r"3 missing at scale mini") as caught:
        check_complete([less])
    assert "table3/fcn_system_2" in str(caught.value)
    with pytest.raises(UserError, match="every cell"):
        check_complete([])


def test_scales_of_the_shown_tree(whole, tmp_path):
    assert [(c.scale, y) for c, y in trees(tmp_path / "none", None)] == [("mini", None)]
    own = fabricate.write_tree(tmp_path / "runs", "mp-small", ["table2/none"], (0,))
    ((committed, yours),) = trees(whole, own)
    assert committed.scale == yours.scale == "mp-small"
    assert committed.runs == []
