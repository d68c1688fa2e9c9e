"""CrabNet's own benchmark has its own scale, table and gap, and nothing else."""

import json

import fabricate
import pytest
from xxact.analysis.cells import view
from xxact.analysis.crabnet_check import SCALE, table

from xxact.analysis import cli, report
from xxact.analysis.figures import BENCHMARKS, trees, write_scale
from xxact.analysis.provenance import Tree
from xxact.experiments.result import data_path, result_path, write_data_summary, write_result


@pytest.fixture
def benchmark(tmp_path):
    """Two seeds of CrabNet with 8.8 and 9.0 GPa, and a forest, at the benchmark's scale."""
    root = tmp_path / "results"
    for run, errors in (("crabnet", (8.8, 9.0)), ("forest", (12.5, 12.7))):
        for seed, error in enumerate(errors):
            content = fabricate.make(f"crabnet_check/{run}", SCALE, seed)
            score = {"bulk_modulus": {"mae_gpa": error, "n": 732}}
            content["spec"]["targets"] = ["bulk_modulus"]
            content["curve"], content["per_class"] = [], None
            content["metrics"] = {"final": {"validation": score, "test": score}}
            write_result(result_path(root, SCALE, f"crabnet_check/{run}", seed), content)
    write_data_summary(data_path(root, SCALE), fabricate.make_data(SCALE))
    return root


def test_the_gap_is_relative_to_the_published_error(benchmark):
    filled = view(table(), Tree(benchmark, SCALE))
    errors, gap = filled.table.sections
    assert filled.filled(errors, "crabnet", "selected").committed.mean == pytest.approx(8.9)
    assert str(filled.filled(errors, "crabnet", "selected").cell.published) == "8.69"
    assert filled.filled(errors, "crabnet", "best").cell.published is None
    wanted = 100 * ((8.8 + 9.0) / 2 / 8.69 - 1)
    assert filled.filled(gap, "crabnet", "selected").committed.mean == pytest.approx(wanted)
    assert filled.missing() == []
    assert filled.missing_runs() == set()


def test_the_scale_has_one_table_and_no_figure(benchmark, tmp_path):
    written = write_scale(Tree(benchmark, SCALE), None, tmp_path / "out")
    assert [v.table.key for v in written.views] == ["crabnet_check", "costs"]
    assert written.figures == {}
    assert written.missing == []
    assert set(BENCHMARKS) == {SCALE}


def test_the_report_sets_it_beside_the_other_scales(benchmark, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("xxact.analysis.figures.FIGURES", ())
    for path in (whole / "mini").rglob("*.json"):
        to = benchmark / path.relative_to(whole)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(path.read_text())
    path, _ = report.write_report(list(trees(benchmark, None)), tmp_path / "out")
    page = path.read_text()
    assert page.index('id="mini"') < page.index('id="aflow"')
    summary = page[page.index("id=summary") : page.index('id="mini"')]
    assert "<th>mini</th>" in summary
    assert "<th>aflow</th>" not in summary
    assert "error above the published one" in page


def test_figures_print_it(benchmark, monkeypatch, capsys):
    monkeypatch.chdir(benchmark.parent)
    import argparse

    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    options = parser.parse_args(["figures"])
    assert options.func(options) == 0
    out = capsys.readouterr().out
    assert "CrabNet against its authors" in out
    assert "8.90 ± 0.14" in out
    assert json.loads(data_path(benchmark, SCALE).read_text())["name"] == SCALE
