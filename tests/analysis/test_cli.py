"""The commands end to end, each in its own process where imports matter."""

import argparse
import re
import subprocess
import sys

import fabricate
import pytest

from xxact.analysis import cli, figures, report
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


def test_heavy_packages_are_not_imported(trees):
    script = """
import argparse, sys
from xxact.analysis import cli
commands = argparse.ArgumentParser()
cli.add_parser(commands.add_subparsers())
for line in ("report", "compare", "results adopt"):
    options = commands.parse_args(line.split())
    assert options.func(options) == 0, line
heavy = {"torch", "pymatgen", "deepspeed", "sklearn", "pandas", "numba"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_figures_print_table_2_and_what_was_written(trees, capsys):
    assert _run("figures") == 0
    out = capsys.readouterr().out
    assert re.search(r"contrastive \+ MXM +\| +43.82 \| +[\d.]+ ± [\d.]+", out)
    assert "wrote results/tables/mini/table2.{md,csv,tex}" in out
    assert "wrote results/figures/mini/figure6.{png,pdf}" in out
    for name in ("tables/mini/table1.md", "tables/mini/table2.tex", "figures/mini/figure6.pdf"):
        assert (trees / "results" / name).stat().st_size


def test_own_results_beside_the_committed_ones(trees, capsys):
    before = sorted((trees / "results").rglob("*"))
    assert _run("figures", "--results", "runs") == 0
    out = capsys.readouterr().out
    assert re.search(r"published \| +committed \| +yours", out)
    assert (trees / "runs/tables/mini/table2.md").exists()
    assert sorted((trees / "results").rglob("*")) == before


def test_without_any_result_everything_is_not_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _run("figures") == 0
    assert "not run" in capsys.readouterr().out
    with pytest.raises(UserError, match="missing at scale mini"):
        _run("figures", "--strict")


def test_a_damaged_result_is_named(trees):
    path = result_path("results", "mini", "table2/mxm", 1)
    path.write_text(path.read_text().replace('"wall_s"', '"wall_clock"'))
    with pytest.raises(UserError) as caught:
        _run("figures")
    assert "results/mini/table2/mxm/seed1.json" in str(caught.value)
    assert "cost.wall_s" in str(caught.value)


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
    assert "copied elsewhere/mini/table2/none/seed0.json" in capsys.readouterr().out


def test_the_report_is_one_page_that_needs_no_network(trees):
    assert _run("report") == 0
    page = (trees / "results/report.html").read_text()
    assert page.startswith("<!doctype html>")
    sources = re.findall(r'(?:src|href)="([^"]{1,60})', page)
    assert all(s.startswith(("data:", "#", "https://arxiv.org/abs/")) for s in sources)
    assert not re.search(r"<script|@import|url\(", page)
    anchors = set(re.findall(r'id="?([\w-]+)', page))
    assert {s[1:] for s in sources if s.startswith("#")} <= anchors
    for text in ("not run", "undecided", "What reproduces", "made-up processor", "--fabricated"):
        assert text in page
    for notes in report.notes().values():
        for note in notes:
            assert note["title"].replace('"', "&quot;") in page
    assert _run("report") == 0
    assert (trees / "results/report.html").read_text() == page


def test_html_is_well_formed(trees):
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

    _run("report", "--results", "runs")
    checker = Checker()
    checker.feed((trees / "runs/report.html").read_text())
    assert checker.open == []
