"""What the pattern adds to the formula, from the kept predictions of formation energies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import pattern
from xxact.analysis.plots import style

if TYPE_CHECKING:
    import pandas as pd

#: Runs that are compared, both trained on the formation energy alone.
MODELS = {
    "table1/crabnet_energy": "CrabNet (composition)",
    "table1/xxact_energy": "XxaCT-NN (XRD + composition)",
}
RUNS = tuple(MODELS)
#: Column of the predictions -> whose pattern the model read.
PATTERNS = {
    "predicted": "own",
    "permuted_formula": "polymorph's",
    "permuted_any": "any other's",
}


def energies(root: Path, scale: str) -> pd.DataFrame:
    """The predictions of both models, with their names (see `pattern.energies`)."""
    found = pattern.energies(root, scale, RUNS)
    return found.assign(model=found["run"].map(MODELS))


def by_formula(found: pd.DataFrame) -> pd.DataFrame:
    """Absolute errors in meV/atom, with the `kind` of formula: in training, or new."""
    kind = found["formula_in_training"].map({True: "in training", False: "new"})
    return found.assign(kind=kind, error=(found["predicted"] - found["true"]).abs())


def by_pattern(found: pd.DataFrame) -> pd.DataFrame:
    """Absolute errors in meV/atom, with the `kind` of pattern that the model read.

    Of the same samples everywhere: those whose formula has another crystal in the data set.
    """
    swapped = found.dropna(subset=list(PATTERNS))["id"].unique()
    found = found[found["id"].isin(swapped)]
    errors = found.melt(["model", "seed", "id", "true"], list(PATTERNS), "kind").dropna()
    kind = errors["kind"].map(PATTERNS)
    return errors.assign(kind=kind, error=(errors["value"] - errors["true"]).abs())


@style.figure("pattern_adds", "What the pattern adds", RUNS)
def figure(root: Path, scale: str, beside: Path | None) -> style.Canvas | None:
    """Differences within formulas; errors on formulas seen and new, and with wrong patterns."""
    from matplotlib.patches import Patch

    found = energies(root, scale)
    if found.empty:
        return None
    seen, swapped = by_formula(found), by_pattern(found)
    canvas, axes = style.panels(1, 3, 3.1, width_ratios=(1.2, 0.9, 1.3))
    differences, formulas, patterns = axes[0]
    _differences(differences, found)
    _bars(formulas, seen, ["in training", "new"])
    formulas.set(title="formula", ylabel="test MAE (meV/atom)")
    _bars(patterns, swapped, list(PATTERNS.values()))
    patterns.set(title="pattern that it reads", ylabel="")
    colours = {m: c for m, c in style.MODEL_COLOURS.items() if m in set(found["model"])}
    handles = [Patch(color=colour, label=model) for model, colour in colours.items()]
    canvas.legend(handles=handles, loc="outside upper center", ncols=2)
    within = found.dropna(subset="true_difference")
    n = [f"{part['id'].nunique():,}" for part in (within, seen, swapped)]
    style.note_below(
        canvas,
        f"{style.data_set(root, scale)}, {style.seeds(found)}, last weights; points: first "
        "seed; error bars: standard deviation over seeds",
        f"n test samples: {n[0]} with others of their formula (left), {n[1]} (middle), {n[2]} "
        "with another crystal of the formula (right)",
    )
    return canvas


def _differences(axis, found: pd.DataFrame) -> None:
    """Predicted against true differences of the first seed, with the slopes over all seeds."""
    import seaborn as sns

    found = found.dropna(subset="true_difference")
    first = found[found["seed"] == found["seed"].min()]
    place = {"x": "true_difference", "y": "predicted_difference", "hue": "model"}
    look = {"s": 5, "alpha": 0.4, "linewidth": 0, "rasterized": True, "legend": False}
    sns.scatterplot(first, **place, palette=style.MODEL_COLOURS, ax=axis, **look)
    # a few strange crystals are left outside, so that the rest can be seen
    reach = float(first["true_difference"].abs().quantile(0.98)) if len(first) else 1.0
    words = []
    for run, slopes in pattern.slopes(found).groupby("run")["slope"]:
        mean, spread, model = slopes.mean(), slopes.std(), MODELS[run]
        axis.axline((0, 0), slope=mean, color=style.MODEL_COLOURS[model])
        plus_minus = "" if spread != spread else f" ± {spread:.2f}"
        words.append(f"{model.split(' (')[0]}: slope {mean:z.2f}{plus_minus}")
    axis.axline((0, 0), slope=1, color="black", linestyle="--", linewidth=0.8)
    axis.text(0.03, 0.97, "\n".join(words), transform=axis.transAxes, va="top", fontsize=7)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), title="within a formula")
    axis.set(xlabel="true difference\n(meV/atom)", ylabel="predicted difference (meV/atom)")


def _bars(axis, errors: pd.DataFrame, order: list[str]) -> None:
    """Mean errors with their spread over seeds."""
    import seaborn as sns

    means = errors.groupby(["model", "seed", "kind"], as_index=False)["error"].mean()
    models = [model for model in style.MODEL_COLOURS if model in set(means["model"])]
    look = {"errorbar": "sd", "capsize": 0.2, "err_kws": {"linewidth": 1}, "saturation": 1}
    look |= {"order": order, "hue_order": models, "palette": style.MODEL_COLOURS, "legend": False}
    sns.barplot(means, x="kind", y="error", hue="model", ax=axis, **look)
    for bars in axis.containers:
        axis.bar_label(bars, fmt="%.0f", fontsize=7, label_type="center", color="white")
    axis.grid(False, axis="x")
    axis.tick_params(axis="x", labelsize=7)
    axis.set(xlabel="")
