"""Accuracies on the space group, by how many training examples the group has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xxact.analysis import frame
from xxact.data.targets import SPACE_GROUP

if TYPE_CHECKING:
    import pandas as pd

#: Fewest and most training examples of a group, by which test samples are split.
EXAMPLES = {"all": (0, None), "0": (0, 9), "10": (10, 99), "100": (100, 999), "1000": (1000, None)}
#: A test sample counts where its group is among so many of the likeliest.
TOP = (1, 5)


def ranks(root: str | Path, scale: str) -> pd.DataFrame:
    """Rank of the true group of each test sample, with the training `examples` of that group.

    NaN examples where the data set does not say how many groups it has.
    """
    found = frame.load_predictions(root, scale)
    found = found[found["target"] == SPACE_GROUP.name].reset_index(drop=True)
    counts = frame.load_data(root, scale).query("kind == 'space_group' and split == 'train'")
    names = found["true"].map(dict(enumerate(SPACE_GROUP.classes)))
    return found.assign(examples=names.map(counts.set_index("name")["n"]))


def quantities(found: pd.DataFrame) -> list[pd.DataFrame]:
    """`space_group/top5_100` of every run and seed: accuracies in %, with n test samples.

    found: as of `ranks`. Of groups with at least so many training examples, up to the next limit.
    """
    parts = []
    for name, (least, most) in EXAMPLES.items():
        among = found["examples"].between(least, most or float("inf")) | (name == "all")
        for top in TOP:
            right = found[among].assign(right=100.0 * (found["rank"] <= top))
            scores = right.groupby(["run", "seed"], as_index=False)
            scores = scores.agg(value=("right", "mean"), n=("right", "size"))
            parts.append(scores.assign(quantity=f"space_group/top{top}_{name}", unit="%"))
    return parts
