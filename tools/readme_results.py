"""Write the results of README.md from `results/`: python tools/readme_results.py

What stands between the two comments there is what this prints; a test holds one against the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from xxact.analysis import load, load_data, load_runs
from xxact.analysis.published import printed
from xxact.analysis.render import mean_and_std
from xxact.experiments.suite import REPOSITORY, row_names

README = REPOSITORY / "README.md"
BLOCK = re.compile(r"(?<=<!-- begin results -->\n).*(?=<!-- end results -->)", re.DOTALL)
SCALES = ("mini", "mp-small")
TARGETS = {"formation_energy_per_atom": "energy", "crystal_system": "system"}
#: Label -> runs on energy and on crystal system, and where the paper prints its numbers.
ROWS = {
    "CrabNet (composition)": ("table1/crabnet_energy", "table1/crabnet_system", "crabnet"),
    "XRD transformer (pattern)": ("table1/xrd_energy", "table1/xrd_system", "xrd"),
    "PXRDPIAYN FCN+MLP (both), 2 and 4 times the epochs": (
        "table3/fcn_mlp_energy_2",
        "table3/fcn_mlp_system_4",
        "fcn_mlp",
    ),
    "the same at XxaCT-NN's epochs": (
        "table3/fcn_mlp_energy_1",
        "table3/fcn_mlp_system_1",
        "fcn_mlp_equal",
    ),
    "XxaCT-NN, one target (both)": ("table1/xxact_energy", "table1/xxact_system", "xxact_single"),
    "XxaCT-NN, both targets (both)": ("table2/none", "table2/none", "xxact_multi"),
    "random forest (both; not the paper's)": (
        "table1/forest_both_energy",
        "table1/forest_both_system",
        "forest",
    ),
}
#: What it is in the paper -> experiment and command.
COMMANDS = {
    "Table 1": ("table1", "python experiments/table1/run.py --local"),
    "Table 2, Figure 6": ("table2", "python experiments/table2/run.py --local"),
    "Table 3": ("table3", "make reproduce-rest"),
    "Figure 3": ("scaling", "python experiments/scaling/run.py --local"),
}


def block(results: Path) -> str:
    """The two tables, as Markdown."""
    runs = load_runs(results)
    shown = {run for *own, _ in ROWS.values() for run in own}
    scales = [s for s in SCALES if shown & set(runs.loc[runs["scale"] == s, "run"])]
    return "\n\n".join([_markdown(_results(results, scales)), _markdown(_costs(runs, scales)), ""])


def _markdown(rows: Iterator[dict[str, str]]) -> str:
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _results(results: Path, scales: Sequence[str]) -> Iterator[dict[str, str]]:
    """Energy / system of each model: published, and ours with n and seeds."""
    scores, data = load(results), load_data(results)
    scores = scores[(scores["split"] == "test") & (scores["reading"] == "final")]
    by_run = scores.set_index(["scale", "run", "target"]).sort_index()
    tests = data[(data["kind"] == "split") & (data["split"] == "test")].set_index("scale")["n"]
    for label, (*runs, row) in ROWS.items():
        numbers = [printed(f"table1/rows/{row}/{key}") for key in TARGETS.values()]
        line = {"": label, "published": " / ".join("-" if x is None else str(x) for x in numbers)}
        for scale in scales:
            texts, seeds = [], []
            for run, target in zip(runs, TARGETS, strict=True):
                if (scale, run, target) not in by_run.index:
                    texts.append("not run")
                    continue
                own = by_run.loc[[(scale, run, target)]]
                texts.append(mean_and_std(list(own["value"]), own["unit"].iloc[0]))
                seeds.append(len(own))
            column = f"`{scale}` (n = {tests[scale]:,})"
            counted = " and ".join(map(str, dict.fromkeys(seeds)))
            line[column] = f"{' / '.join(texts)} (seeds: {counted or 'none'})"
        yield line


def _costs(runs: pd.DataFrame, scales: Sequence[str]) -> Iterator[dict[str, str]]:
    """Minutes for a seed of the rows that were run: of each the quickest, whose machine had least
    work beside it."""
    quickest = runs.sort_values("wall_s").drop_duplicates(["scale", "run"])
    for name, (experiment, command) in COMMANDS.items():
        line = {"in the paper": name, "command": f"`{command}`"}
        rows = row_names(experiment)
        for scale in scales:
            own = quickest[(quickest["scale"] == scale) & quickest["run"].isin(rows)]
            text = f"{own['wall_s'].sum() / 60:.0f} min" if len(own) else "not run"
            if 0 < len(own) < len(rows):
                text += f" for {len(own)} of {len(rows)} rows"
            line[f"cost of a seed at `{scale}`"] = text
        yield line
    rest = {f"cost of a seed at `{scale}`": "-" for scale in scales}
    yield {"in the paper": "the other tables and figures", "command": "`make figures`"} | rest


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    content = block(REPOSITORY / "results")
    README.write_text(BLOCK.sub(lambda _: content, text), encoding="utf-8")
