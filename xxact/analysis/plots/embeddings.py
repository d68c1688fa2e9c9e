"""Figure 2: embeddings projected to two dimensions, coloured by crystal system."""

from __future__ import annotations

from pathlib import Path

from xxact.analysis import frame
from xxact.analysis.plots import style
from xxact.analysis.published import printed
from xxact.analysis.tables import EMBEDDED_RUNS
from xxact.data.targets import CRYSTAL_SYSTEMS

RUNS = tuple(run for _, run in EMBEDDED_RUNS.values())


@style.figure("figure2", "Figure 2: embeddings in two dimensions", RUNS)
def figure2(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Panels in the order of Table 5; a run that is absent has no panel, without any no figure."""
    import seaborn as sns
    from matplotlib.lines import Line2D

    found = frame.load_embeddings(root, scale)
    found = found[found["seed"] == found.groupby("run")["seed"].transform("min")]
    panels = [key for key, (_, run) in EMBEDDED_RUNS.items() if run in set(found["run"])]
    if not panels:
        return None
    silhouettes = _silhouettes(root, scale)
    colours = dict(zip(CRYSTAL_SYSTEMS, style.SYSTEM_COLOURS, strict=True))
    figure, axes = style.grid(len(panels), 2.5, 0.7)
    for axis, key in zip(axes, panels, strict=True):
        label, run = EMBEDDED_RUNS[key]
        shown = found[found["run"] == run]
        look = {"s": 6, "alpha": 0.65, "linewidth": 0, "rasterized": True, "legend": False}
        place = {"x": "x", "y": "y", "hue": "crystal_system", "hue_order": CRYSTAL_SYSTEMS}
        sns.scatterplot(shown, **place, palette=colours, ax=axis, **look)
        paper = printed(f"table5/rows/mean/{key}")
        axis.set_title(f"{label}\n{silhouettes[run]} (published {paper})", fontsize=8)
        axis.set(xticks=[], yticks=[])
        for which, name in enumerate("xy"):
            share = shown[f"{name}_share"].iloc[0]
            explained = "" if share != share else f" ({100 * share:.0f} %)"
            axis.set(**{f"{name}label": f"component {which + 1}{explained}"})
    dot = {"linestyle": "none", "marker": "o", "markersize": 5}
    handles = [Line2D([], [], color=c, label=system, **dot) for system, c in colours.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=7, handletextpad=0.1)
    counts = found.groupby("run").size()
    style.note_below(
        figure,
        f"{style.data_set(root, scale)}, a sample of n {counts.max()} of the test split, "
        f"{style.seeds(found)}",
        "silhouettes by crystal system, mean over samples and seeds: in the embedding space | "
        "in this projection",
    )
    return figure


def _silhouettes(root: Path, scale: str) -> dict[str, str]:
    """Run -> its mean silhouettes in both spaces, in words."""
    found = frame.load_silhouettes(root, scale)
    found = found[found["class"] == "mean"]
    means = found.groupby(["run", "space"])["value"].mean().unstack()
    means = means.reindex(columns=["embedding", "projection"])
    return {
        run: " | ".join("-" if v != v else f"{v:z.2f}" for v in values)
        for run, *values in means.itertuples()
    }
