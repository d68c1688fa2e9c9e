"""Figure 2: embeddings projected to two dimensions, coloured by crystal system, six panels."""

from __future__ import annotations

from pathlib import Path

from xxact.analysis import measures as m
from xxact.analysis import style
from xxact.analysis.derived import EMBEDDED_RUNS
from xxact.analysis.provenance import Tree
from xxact.analysis.published import published
from xxact.data.targets import CRYSTAL_SYSTEMS
from xxact.experiments.result import Embedding, Result


def figure2(tree: Tree, beside: Tree | None, folder: Path) -> list[Path]:
    """Panels in the paper's order; a run that is absent has no panel, and without any no figure."""
    embedded = {
        key: results
        for key, (_, run) in EMBEDDED_RUNS.items()
        if (results := [r for r in tree.results(run) if r.embedding])
    }
    if not embedded:
        return []
    columns = min(3, len(embedded))
    rows = -(-len(embedded) // columns)
    with style.drawing(rows, columns, (3.3 * columns, 3.2 * rows + 0.7)) as (figure, axes):
        for axis in axes.flat[len(embedded) :]:
            axis.remove()
        for axis, (key, results) in zip(axes.flat, embedded.items(), strict=False):
            _panel(axis, key, results)
        _legend(figure)
        first = next(iter(embedded.values()))[0]
        style.note_below(
            figure,
            f"scale {tree.scale}, seed {first.seed}, {first.embedding.n} samples of the part "
            f"{first.embedding.part}; silhouettes in the embedding space | in this projection "
            "(mean over seeds)",
        )
        return style.save(figure, folder, "figure2")


def _panel(axis, key: str, results: list[Result]) -> None:
    embedding = results[0].embedding
    for system, colour in zip(CRYSTAL_SYSTEMS, style.SYSTEM_COLOURS, strict=True):
        chosen = [
            xy
            for xy, name in zip(embedding.pca, embedding.crystal_system, strict=True)
            if name == system
        ]
        if chosen:
            x, y = zip(*chosen, strict=True)
            axis.scatter(x, y, s=5, color=colour, alpha=0.6, linewidths=0, rasterized=True)
    axis.set_title(f"{EMBEDDED_RUNS[key][0]}\n{_silhouettes(key, results)}", fontsize=8.5)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(_variance(embedding, 0), fontsize=7.5)
    axis.set_ylabel(_variance(embedding, 1), fontsize=7.5)


def _silhouettes(key: str, results: list[Result]) -> str:
    texts = []
    for space in ("embedding", "projection"):
        value = m.aggregate([results], m.silhouette(space, "mean"))
        texts.append("-" if value.mean is None else f"{value.mean:.2f}")
    return f"{texts[0]} | {texts[1]} (published {published().table5.value('mean', key)})"


def _variance(embedding: Embedding, component: int) -> str:
    ratio = embedding.explained_variance_ratio
    share = f" ({100 * ratio[component]:.0f} %)" if component < len(ratio) else ""
    return f"component {component + 1}{share}"


def _legend(figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=5, color=colour, label=system)
        for system, colour in zip(CRYSTAL_SYSTEMS, style.SYSTEM_COLOURS, strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=7, handletextpad=0.1)
