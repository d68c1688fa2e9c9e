"""The commands end to end, each in its own process where imports matter."""

import argparse
import json
import re
import subprocess
import sys

import fabricate
import pytest

from xxact.analysis import cli, figures, provenance, report
from xxact.analysis.published import declared
from xxact.errors import UserError
from xxact.experiments.result import result_path

FIGURE_6 = next(figure for figure in figures.FIGURES if figure.key == "figure6")


def _run(*arguments) -> int:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    options = parser.parse_args([str(a) for a in arguments])
    return options.func(options)


@pytest.fixture
def trees(tmp_path, monkeypatch):
    """`results` and `runs` in the current folder, as in a checkout; one figure, for speed."""
    monkeypatch.setattr(figures, "FIGURES", (FIGURE_6,))
    monkeypatch.chdir(tmp_path)
    fabricate.write_tree(tmp_path / "results", "mini", fabricate.FIRST, (0, 1))
    fabricate.write_tree(tmp_path / "runs", "mini", ["table2/none", "table2/mxm"], (0,))
    return tmp_path


def test_torch_is_not_imported(trees):
    script = """
import argparse, sys
from xxact.analysis import cli
commands = argparse.ArgumentParser()
cli.add_parser(commands.add_subparsers())
for line in ("figures --results runs", "compare", "results adopt"):
    options = commands.parse_args(line.split())
    assert options.func(options) == 0, line
heavy = {"torch", "pymatgen", "deepspeed"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_figures_print_table_2_and_what_was_written(trees, capsys):
    assert _run("figures") == 0
    out = capsys.readouterr().out
    assert re.search(r"contrastive \+ MXM +43.82 +[\d.]+ ± [\d.]+", out)
    assert "wrote results/tables/mini/table2.{md,csv,tex}" in out
    assert "wrote results/figures/mini/figure6.{png,pdf}" in out
    before = {p: p.read_bytes() for p in (trees / "results").rglob("*") if p.is_file()}
    assert _run("figures", "--results", "runs") == 0
    assert re.search(r"published +committed +yours", capsys.readouterr().out)
    assert (trees / "runs/tables/mini/table2.md").exists()
    assert {p: p.read_bytes() for p in (trees / "results").rglob("*") if p.is_file()} == before


def test_from_another_folder_the_output_goes_beside_the_results(trees, monkeypatch):
    package = trees / "xxact/analysis/provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(package))
    (trees / "elsewhere").mkdir()
    monkeypatch.chdir(trees / "elsewhere")
    assert _run("figures") == _run("figures") == 0
    assert (trees / "results/tables/mini/table2.md").exists()
    assert not list((trees / "elsewhere").iterdir())


def test_what_is_missing_is_named(trees):
    with pytest.raises(UserError, match=r"\d+ missing at scale mini") as caught:
        _run("figures", "--strict")
    assert "Table 3, formation energy, MAE: FCN (XRD), 1x" in str(caught.value)
    assert "(table3/fcn_energy_1)" in str(caught.value)
    with pytest.raises(UserError, match="holds no result"):
        _run("figures", "--results", "nowhere")
    path = result_path("results", "mini", "table2/mxm", 1)
    path.write_text(path.read_text().replace('"wall_s"', '"wall_clock"'))
    with pytest.raises(UserError, match=r"results/mini/table2/mxm/seed1\.json.*cost\.wall_s"):
        _run("figures")


def test_an_old_figure_goes_when_its_data_is_gone(trees):
    _run("figures")
    for path in (trees / "results/mini/table2").glob("*/seed*.json"):
        path.unlink()
    _run("figures")
    assert not (trees / "results/figures/mini/figure6.png").exists()


def test_compare_exits_with_1_on_disagreement(trees, capsys):
    assert _run("compare", "runs", "results") == 0
    assert "identical" in capsys.readouterr().out
    path = result_path("runs", "mini", "table2/mxm", 0)
    text = path.read_text()
    path.write_text(re.sub(r'"accuracy_percent": [\d.]+', '"accuracy_percent": 1.0', text))
    assert _run("compare", "runs", "results") == 1
    assert "outside spread" in capsys.readouterr().out
    with pytest.raises(UserError, match="nowhere"):
        _run("compare", "nowhere", "results")


def test_adopt(trees, capsys):
    assert _run("results", "adopt", "table2/none", "--to", "elsewhere") == 0
    out = capsys.readouterr().out
    assert "copied elsewhere/mini/table2/none/seed0.json" in out
    assert "copied elsewhere/mini/table2/none/seed0.npz" in out


def test_the_report_is_one_page_that_needs_no_network(trees):
    fabricate.write_one(trees / "results", fabricate.make("crabnet_check/crabnet", "aflow"))
    assert _run("report") == 0
    page = (trees / "results/report.html").read_text()
    assert page.startswith("<!doctype html>")
    sources = re.findall(r'(?:src|href)="([^"]{1,60})', page)
    assert all(s.startswith(("data:", "#", "https://arxiv.org/abs/")) for s in sources)
    assert not re.search(r"<script|@import|url\(", page)
    anchors = set(re.findall(r'id="?([\w-]+)', page))
    assert {s[1:] for s in sources if s.startswith("#")} <= anchors
    for text in ("not run", "What the paper claims", "made-up processor", "--fabricated"):
        assert text in page
    # a figure and the verdicts come first, and a benchmark of its own has none
    assert page.index("<img") < page.index('id="summary"') < page.index('id="mini"')
    summary = page[page.index('id="summary"') : page.index('id="mini"')]
    assert "<th>mini</th>" in summary
    assert "<th>aflow</th>" not in summary
    assert "error above the published 8.69 GPa" in page
    for notes in declared("notes").values():
        for note in notes:
            assert note["title"].replace('"', "&#34;") in page
    _well_formed(page)
    assert _run("report") == 0
    assert (trees / "results/report.html").read_text() == page


def test_measured_speed_is_shown_and_what_was_not_measured_says_so(tmp_path):
    hardware = {"device": "cpu", "name": "A & B", "cores": 2, "load_average": 0.5}
    stage = {"xxact_ms": 0.0625, "reference_ms": 0.75, "ratio": 12.0}
    data = {"n": 1234, "input": "synthetic", "mean_sites": 7.25, "store_bytes_per_entry": 678.4}
    data |= {"stages": {"parse": stage}, "largest_pattern_difference": 3e-5}
    data |= {"space_groups_that_differ": 2, "hardware": hardware}
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/data.json").write_text(json.dumps(data))
    found = report.benchmarks(tmp_path, tmp_path / "figures")
    first, second, third = found["The data pipeline"]
    assert first.table.loc["parse"].tolist() == ["0.062", "0.750", "12.0"]
    assert "1,234 entries of 7.2 sites" in first.words
    assert "A & B (2 cores, load 0.5)" in first.words
    assert second.table is third.table is None
    page = report.page([], found)
    assert "A &amp; B" in page
    assert page.count('class="missing">not run') == 6
    assert "python benchmarks/train.py" in page


def _well_formed(page: str) -> None:
    from html.parser import HTMLParser

    class Checker(HTMLParser):
        void = frozenset({"meta", "br", "img"})

        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in self.void:
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    checker = Checker()
    checker.feed(page)
    assert checker.open == []
