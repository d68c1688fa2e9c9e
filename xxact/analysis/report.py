"""`report.html`: one self-contained page with every table, figure and verdict of every scale."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from xxact.analysis import cells, pipeline, render, speed
from xxact.analysis import claims as c
from xxact.analysis.figures import BENCHMARKS, Figure, Written, figures_of, write_scale
from xxact.analysis.provenance import Tree
from xxact.analysis.published import published
from xxact.files import write_atomically

escape = html.escape


@dataclass(frozen=True)
class ScaleReport:
    """What the page shows of one scale."""

    written: Written
    committed: Tree
    yours: Tree | None
    claims: list[c.Claim]

    @property
    def scale(self) -> str:
        """Name of the scale."""
        return self.written.scale

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of the scale."""
        return figures_of(self.scale)

    @property
    def shown(self) -> Tree:
        """The tree that figures and verdicts are about."""
        return self.yours or self.committed


def write_report(
    trees: Sequence[tuple[Tree, Tree | None]], out: Path
) -> tuple[Path, list[Written]]:
    """Write tables and figures of every scale and the page that holds them all."""
    reports = []
    for committed, yours in trees:
        written = write_scale(committed, yours, out)
        claims = [] if committed.scale in BENCHMARKS else c.claims(yours or committed)
        reports.append(ScaleReport(written, committed, yours, claims))
    benchmarks = trees[0][0].root / "benchmarks"
    sections = [pipeline.section(benchmarks, out / "figures" / "benchmarks")]
    sections.append(speed.section(benchmarks))
    path = out / "report.html"
    write_atomically(path, page(reports, sections).encode("utf-8"))
    return path, [report.written for report in reports]


def page(reports: Sequence[ScaleReport], sections: Sequence[str]) -> str:
    """The whole page; `sections` are those that are about no scale."""
    body = "\n".join(
        [
            _head(reports),
            _summary(reports),
            *(part for report in reports for part in _scale(report)),
            *sections,
            _notes(),
        ]
    )
    style = _package_text("report.css")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>XxaCT-NN: what reproduces</title>\n<style>\n{style}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


@cache
def _package_text(name: str) -> str:
    return (resources.files("xxact.analysis") / name).read_text(encoding="utf-8")


def _head(reports: Sequence[ScaleReport]) -> str:
    paper = published().paper
    bars = [
        '<a href="#summary">What reproduces</a> <a href="#pipeline">The data pipeline</a> '
        '<a href="#speed">Training speed</a> '
        '<a href="#notes">Notes on the paper</a>'
    ]
    for report in reports:
        links = [f'<a href="#{report.scale}"><b>{escape(report.scale)}</b></a>']
        links += [
            f'<a href="#{report.scale}-{view.table.key}">{escape(view.table.short_title)}</a>'
            for view in report.written.views
        ]
        if report.figures:
            links.append(f'<a href="#{report.scale}-figures">Figures</a>')
        bars.append(" ".join(links))
    navigation = "".join(f"<nav>{bar}</nav>" for bar in bars)
    return (
        "<h1>XxaCT-NN: what was claimed, what came out here</h1>\n"
        f"<p>{escape(paper.title)}. {escape(paper.authors)}. "
        f'<a href="https://arxiv.org/abs/{paper.arxiv}">arXiv {paper.arxiv}</a>. The paper trains '
        f"on {paper.samples['train']:,} and tests on {paper.samples['test']:,} entries of "
        f"{escape(paper.data_set)}; each scale below says what it trains on. In every table: "
        "published, committed"
        + (" and yours" if any(r.yours for r in reports) else "")
        + f" one below the other. {escape(render.LEGEND)}</p>\n{navigation}"
    )


def _verdict(verdict: str) -> str:
    return f'<span class="v {verdict.replace(" ", "-")}">{verdict}</span>'


def _summary(reports: Sequence[ScaleReport]) -> str:
    """Verdicts of every statement at every scale that is no benchmark of its own."""
    reports = [report for report in reports if report.claims]
    if not reports:
        return ""
    header = "".join(f"<th>{escape(report.scale)}</th>" for report in reports)
    lines = [f"<tr><th>statement of the paper</th>{header}</tr>"]
    for k, claim in enumerate(reports[0].claims):
        cells = "".join(f"<td>{_verdict(report.claims[k].verdict)}</td>" for report in reports)
        lines.append(f"<tr><th>{escape(_sentence(claim.statement))}</th>{cells}</tr>")
    return (
        "<h2 id=summary>What reproduces and what does not</h2>\n"
        f"<p>{escape(c.RULE)}{_whose(reports)}</p>\n"
        f'<div class="scroll words"><table>{"".join(lines)}</table></div>'
    )


def _whose(reports: Sequence[ScaleReport]) -> str:
    return " The verdicts are about your own results." if reports[0].yours else ""


def _scale(report: ScaleReport) -> Iterator[str]:
    yield f'<h2 id="{report.scale}">Scale {escape(report.scale)}</h2>'
    yield _data_line(report.shown)
    yield _missing(report.written)
    if report.claims:
        yield _claim_details(report)
    for view in report.written.views:
        yield _table(report, view)
    if report.figures:
        yield f'<h3 id="{report.scale}-figures">Figures</h3>'
    for figure in report.figures:
        yield _figure(report, figure)


def _data_line(tree: Tree) -> str:
    if not tree.data:
        return "<p>No description of the data set (data.json) is there.</p>"
    parts = ", ".join(f"{part} {n:,}" for part, n in tree.data.n.items() if n)
    return (
        f"<p>Data set {escape(tree.data.name)}: {parts} samples; manifest "
        f"<code>{tree.data.content_sha256[:12]}</code>.</p>"
    )


def _missing(written: Written) -> str:
    missing = written.missing
    if not missing:
        return "<p>Every cell and figure of this scale has its result.</p>"
    runs = sorted(set().union(*(view.missing_runs() for view in written.views)))
    return (
        f"<p>{len(missing)} cells and figures of this scale have no result. Not run: "
        f"{escape(', '.join(runs)) or 'none; something was not recorded'}.</p>"
    )


def _claim_details(report: ScaleReport) -> str:
    lines = ["<tr><th>comparison</th><th>this</th><th>than that</th><th>verdict</th></tr>"]
    for claim in report.claims:
        lines.append(
            f"<tr><th>{escape(_sentence(claim.statement))}</th><td></td><td></td>"
            f"<td>{_verdict(claim.verdict)}</td></tr>"
        )
        for comparison in claim.comparisons:
            values = (
                f"<td>{escape(_side(values, comparison.unit))}</td>"
                for values in (comparison.better, comparison.worse)
            )
            lines.append(
                f"<tr><td class=part>{escape(comparison.label)}</td>{''.join(values)}"
                f"<td>{_verdict(comparison.verdict)}</td></tr>"
            )
    return (
        f"<details><summary>Verdicts at scale {escape(report.scale)}, comparison by comparison"
        f"</summary><div class=scroll><table>{''.join(lines)}</table></div></details>"
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _side(values: tuple[float, ...], unit: str) -> str:
    if not values:
        return c.NOT_RUN
    text = render.mean_and_std(values, unit)
    return f"{text} {unit} ({len(values)} seed{'s' * (len(values) > 1)})".replace("  ", " ")


def _table(report: ScaleReport, view: cells.View) -> str:
    parts = [
        f'<h3 id="{report.scale}-{view.table.key}">{escape(view.table.title)}</h3>',
        f"<p class=again>{escape(' '.join(render.provenance_lines(view)))}</p>",
    ]
    for section in view.table.sections:
        parts.append(f"<h4>{escape(render.heading(view, section))}</h4>")
        parts.append(render.html_table(view, section))
    notes = "".join(f"<li>{escape(note)}</li>" for note in view.table.notes)
    parts.append(f"<ul class=again>{notes}</ul>")
    commands = view.table.commands(report.shown)
    parts.append(_again(*commands) if commands else _commands(report.shown))
    return "\n".join(parts)


def _commands(tree: Tree) -> str:
    """The command of each run, as its results state it."""
    items = "".join(
        f"<li>{escape(run)}, seed {result.seed}: "
        f"<code>{escape(result.provenance.command)}</code></li>"
        for run in tree.runs
        for result in tree.results(run)
    )
    return f"<details><summary>The command of each run</summary><ul>{items}</ul></details>"


def _again(*commands: str) -> str:
    shown = "<br>".join(f"<code>{escape(command)}</code>" for command in commands)
    return f"<p class=again>Again: {shown}</p>"


def _figure(report: ScaleReport, figure: Figure) -> str:
    paths = report.written.figures.get(figure.key) or []
    title = f'<h4 id="{report.scale}-{figure.key}">{escape(figure.title)}</h4>'
    again = _again(*cells.commands(figure.runs, report.shown))
    png = next((path for path in paths if path.suffix == ".png"), None)
    if png is None:
        return f'{title}<p class="missing">not run</p>{again}'
    data = base64.b64encode(png.read_bytes()).decode("ascii")
    image = f'<img alt="{escape(figure.title)}" src="data:image/png;base64,{data}">'
    return f"<figure>{title}{image}</figure>{again}"


def notes() -> dict[str, list[dict[str, str]]]:
    """The notes on the paper: `disagreements` and `choices`, each with title and text."""
    return yaml.safe_load(_package_text("notes.yaml"))


def _notes() -> str:
    titles = {
        "disagreements": "Where the paper does not agree with itself",
        "choices": "What the paper leaves open, and what is done here",
    }
    parts = ["<h2 id=notes>Notes on the paper</h2>"]
    for key, title in titles.items():
        items = "".join(
            f"<li><b>{escape(note['title'])}.</b> {escape(note['text'])}</li>"
            for note in notes()[key]
        )
        parts.append(f"<h3>{title}</h3><ul class=notes>{items}</ul>")
    return "\n".join(parts)
