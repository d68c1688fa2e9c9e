"""Figures show the numbers of the results, in the same bytes each time; absent without them."""

import subprocess
import sys

import fabricate
import numpy as np
import pandas as pd
import pytest

from xxact.analysis import frame
from xxact.analysis.plots import (
    FIGURES,
    confusion,
    curves,
    distributions,
    elements,
    masked,
    pattern_adds,
    style,
)
from xxact.analysis.plots.__main__ import main
from xxact.experiments.result import result_path

BY_KEY = {figure.key: figure for figure in FIGURES}


@pytest.fixture(autouse=True)
def _coarse(monkeypatch) -> None:
    """Few pixels, for speed."""
    monkeypatch.setitem(style._SETTINGS, "figure.dpi", 40)


@pytest.fixture
def kept(monkeypatch) -> pd.DataFrame:
    """Predictions of both models: of pairs 200 meV/atom apart XxaCT-NN sees a quarter."""
    random = np.random.default_rng(0)
    pairs = 40
    formula = np.repeat(np.arange(pairs), 2)
    base = random.normal(-1, 0.5, pairs)[formula]
    true = base + np.tile([-0.1, 0.1], pairs)
    frames = []
    for run in pattern_adds.RUNS:
        for seed in (0, 1):
            error = random.normal(0, 0.05, pairs)[formula]
            sees = 0.25 if "xxact" in run else 0.0
            other = base + error if sees else np.nan
            frames.append(
                pd.DataFrame(
                    {
                        "scale": "mini",
                        "run": run,
                        "seed": seed,
                        "target": fabricate.ENERGY,
                        "id": [f"made-up-{k}" for k in range(2 * pairs)],
                        "true": true,
                        "predicted": base + error + sees * (true - base),
                        "permuted_any": other,
                        # one formula in four has no other crystal to take the pattern of
                        "permuted_formula": np.where(formula % 4 > 0, other, np.nan),
                        "formula": formula,
                        "formula_in_training": formula % 2 == 0,
                    }
                )
            )
    made = pd.concat(frames, ignore_index=True)
    monkeypatch.setattr(frame, "load_predictions", lambda root, scale, runs: made)
    return made


@pytest.fixture
def drawn(monkeypatch) -> list:
    """The axes of what is drawn while the test runs, in place of files."""
    axes = []
    monkeypatch.setattr(style, "save", lambda figure, *_: axes.extend(figure.axes) or axes)
    return axes


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("key", BY_KEY)
def test_the_same_results_give_the_same_bytes(whole, tmp_path, key):
    first = BY_KEY[key].draw(whole, "mini", tmp_path / "first")
    second = BY_KEY[key].draw(whole, "mini", tmp_path / "second")
    assert [path.name for path in first] == [f"{key}.png", f"{key}.pdf"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert b"CreationDate" not in first[1].read_bytes()


@pytest.mark.parametrize("key", BY_KEY)
def test_without_its_data_a_figure_is_not_drawn(tmp_path, key):
    root = tmp_path / "runs"
    path = result_path(root, "mini", "table3/fcn_energy_1", 0)
    fabricate.write_result(path, fabricate.make("table3/fcn_energy_1"))
    assert BY_KEY[key].draw(root, "mini", tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_the_whole_training_split_alone_is_no_scaling_experiment(tmp_path):
    root = fabricate.write_tree(tmp_path, "mini", ["table2/none", "table1/crabnet_energy"], (0,))
    assert BY_KEY["figure3"].draw(root, "mini", tmp_path / "out") == []
    fabricate.write_tree(tmp_path, "mini", ["scaling/crabnet_1000k"], (0,))
    assert BY_KEY["figure3"].draw(root, "mini", tmp_path / "out")


@pytest.mark.parametrize("key", ["figure3", "figure6"])
def test_committed_results_stand_beside_ones_own(whole, tmp_path, key):
    runs = ["table2/none", "table2/mxm", "scaling/xxact_1000k"]
    own = fabricate.write_tree(tmp_path / "runs", "mini", runs, (5,))
    alone = BY_KEY[key].draw(own, "mini", tmp_path / "alone")
    both = BY_KEY[key].draw(own, "mini", tmp_path / "both", whole)
    assert alone[0].read_bytes() != both[0].read_bytes()
    other = fabricate.write_tree(tmp_path / "other", "mp-small", runs, (5,))
    beside_none = BY_KEY[key].draw(own, "mini", tmp_path / "none", other)
    assert beside_none[1].stat().st_size > 0


def test_the_floor_of_the_formula_stands_in_figure_3(whole, tmp_path, drawn):
    BY_KEY["figure3"].draw(whole, "mini", tmp_path)
    labels = {text.get_text() for axis in drawn for text in axis.get_legend().get_texts()}
    assert "floor of the formula: 82 meV/atom" in labels


def test_curves_are_the_mean_and_the_spread_over_seeds(whole, tmp_path, drawn):
    BY_KEY["figure6"].draw(whole, "mini", tmp_path)
    scores = np.array(
        [
            [p["test"]["crystal_system"]["accuracy_percent"] for p in result["curve"]]
            for result in (fabricate.make("table2/mxm", seed=seed) for seed in (0, 1, 2))
        ]
    )
    panel = drawn[5]  # bottom right: accuracy, MXM
    line = panel.lines[1]
    np.testing.assert_allclose(line.get_xdata(), np.linspace(2.5, 100, 40))
    np.testing.assert_allclose(line.get_ydata(), scores.mean(axis=0))
    band = panel.collections[1].get_paths()[0].vertices
    spread = scores.mean(axis=0)[-1] + np.array([-1, 1]) * scores.std(axis=0, ddof=1)[-1]
    np.testing.assert_allclose(band[band[:, 0] == 100, 1].min(), spread[0])
    np.testing.assert_allclose(band[band[:, 0] == 100, 1].max(), spread[1])


def test_a_curve_has_the_points_that_all_its_seeds_have(results):
    path = result_path(results, "mini", "table2/none", 1)
    changed = fabricate.make("table2/none", seed=1)
    del changed["curve"][7]
    fabricate.write_result(path, changed)
    points = curves.curves(results, "mini").groupby(["row", "seed"])["progress"].nunique()
    assert set(points["none"]) == {39}
    assert set(points["mxm"]) == {40}


def test_confusion_is_summed_over_seeds(whole):
    found = frame.load_confusion(whole)
    single = [
        fabricate.make("table2/mxm", seed=seed)["per_class"]["confusion"] for seed in (0, 1, 2)
    ]
    summed = confusion.confusion(found, "table2/mxm")
    np.testing.assert_array_equal(summed, np.sum(single, axis=0))


def test_shares_are_of_the_split(whole):
    found = distributions.counts(whole, "mini", "crystal_system")
    described = fabricate.make_data("mini")
    cubic = found[(found["name"] == "cubic") & (found["split"] == "test")].iloc[0]
    wanted = 100 * described["crystal_systems"]["test"]["cubic"] / described["n"]["test"]
    assert cubic["share"] == pytest.approx(wanted)


def test_every_element_has_its_own_place():
    places = elements.PLACES
    assert len(places) == len(set(places.values())) == 118
    groups = {s: column + 1 for s, (_, column) in places.items()}
    # IUPAC groups of some elements at the corners of their blocks
    wanted = {"H": 1, "He": 18, "Be": 2, "B": 13, "Sc": 3, "Zn": 12, "Hf": 4, "Lu": 3, "Rn": 18}
    assert {s: groups[s] for s in wanted} == wanted
    assert places["La"][0] > places["Fr"][0]
    assert places["U"][0] == places["Ac"][0]


def test_errors_by_element_are_means_over_seeds(results):
    for seed in (0, 1, 2):
        changed = fabricate.make("table2/none", seed=seed)
        changed["per_element"][fabricate.ENERGY]["O"]["mae_mev_per_atom"] = 60.0 + seed
        if seed == 2:
            del changed["per_element"][fabricate.ENERGY]["U"]
        fabricate.write_result(result_path(results, "mini", "table2/none", seed), changed)
    errors = elements.element_errors(results, "mini").set_index(["run", "element"])
    assert errors.loc[("table2/none", "O"), "value"] == 61.0
    assert ("table2/none", "U") not in errors.index
    assert ("table1/crabnet_energy", "U") in errors.index


@pytest.mark.usefixtures("kept")
def test_within_a_formula_a_composition_tells_nothing(whole, tmp_path, drawn):
    found = pattern_adds.energies(whole, "mini")
    pair = found[(found["run"] == "table1/xxact_energy") & (found["formula"] == 3)]
    np.testing.assert_allclose(pair["true_difference"].abs(), 100)
    np.testing.assert_allclose(pair["predicted_difference"] / pair["true_difference"], 0.25)
    crabnet = found[found["run"] == "table1/crabnet_energy"]
    np.testing.assert_allclose(crabnet["predicted_difference"], 0, atol=1e-9)
    BY_KEY["pattern_adds"].draw(whole, "mini", tmp_path)
    words = drawn[0].texts[0].get_text()
    assert "CrabNet: slope 0.00" in words
    assert "XxaCT-NN: slope 0.25" in words


def test_wrong_patterns_are_compared_on_the_same_samples(kept, tmp_path):
    errors = pattern_adds.by_pattern(pattern_adds.energies(tmp_path, "mini"))
    samples = errors.groupby(["model", "kind"])["id"].agg(frozenset)
    assert len(samples) == 4  # CrabNet reads no pattern that could be another's
    swapped = kept.dropna()["id"]
    assert set(samples) == {frozenset(swapped)}
    assert len(set(swapped)) == 60
    own = errors[(errors["kind"] == "own") & errors["model"].str.startswith("XxaCT")]
    row = own.iloc[0]
    one = kept[(kept["id"] == row["id"]) & (kept["run"] == "table1/xxact_energy")]
    wanted = 1000 * (one["predicted"] - one["true"]).abs()
    assert row["error"] == pytest.approx(wanted[one["seed"] == row["seed"]].item())


def test_explained_variance_of_every_pretraining_that_reports_it(whole, results):
    found = masked.explained(whole, "mini")
    assert list(dict.fromkeys(found["label"]))[:2] == ["MXM", "contrastive + MXM"]
    one = fabricate.make("table2/pretrain_mxm")["metrics"]["final"]["test"]["objective"]
    row = found[(found["run"] == "table2/pretrain_mxm") & (found["seed"] == 0)].iloc[0]
    assert row["value"] == pytest.approx(100 * one["mxm_explained_variance"])
    other = fabricate.make("table2/pretrain_mxm") | {"run": "open/pretrain_blocks"}
    fabricate.write_result(result_path(results, "mini", other["run"], 0), other)
    assert "open/pretrain_blocks" in set(masked.explained(results, "mini")["label"])


def test_a_figure_is_drawn_alone(whole, tmp_path, capsys):
    here = ["--results", str(whole), "--out", str(tmp_path)]
    assert main(["figure4", *here]) == 0
    assert (tmp_path / "mini/figure4.png").exists()
    assert "figure4.pdf" in capsys.readouterr().out
    assert main(["figure4", "--scale", "mp", *here]) == 2
    assert "no results of figure4 at scale mp" in capsys.readouterr().err
    assert main(["figure4", "--results", str(tmp_path / "none")]) == 2
    assert "holds no result" in capsys.readouterr().err


def test_naming_the_figures_loads_no_library_that_draws():
    program = (
        "import sys; import xxact.analysis.plots;"
        "sys.exit(bool({'torch', 'seaborn', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
