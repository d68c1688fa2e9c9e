"""Accuracies on the space group by training examples, against counting by hand."""

import fabricate
import numpy as np
import pytest

from xxact.analysis import frame, space_groups
from xxact.experiments import predictions
from xxact.experiments.result import data_path, write_data_summary


@pytest.fixture
def tree(tmp_path):
    """One run, with the columns of its predictions."""
    fabricate.write_tree(tmp_path, "mini", ["open/group_conv"], (0,))
    kept = predictions.read(tmp_path / "mini/open/group_conv/seed0.npz")
    return tmp_path, kept["space_group.true"], kept["space_group.probability"]


def test_accuracies_by_hand(tree):
    root, true, probability = tree
    found = {
        (row.quantity, row.n): row.value
        for part in space_groups.quantities(space_groups.ranks(root, "mini"))
        for row in part.itertuples()
    }
    examples = np.array([(0, 5, 50, 500, 5000)[k % 5] for k in true])
    limits = {"all": (0, 10**9), "0": (0, 9), "10": (10, 99), "100": (100, 999)}
    limits["1000"] = (1000, 10**9)
    for name, (least, most) in limits.items():
        own = (examples >= least) & (examples <= most)
        for top in (1, 5):
            likeliest = np.argsort(-probability[own].astype(float), axis=1, kind="stable")[:, :top]
            want = 100 * np.mean([t in row for t, row in zip(true[own], likeliest, strict=True)])
            # equal probabilities count against the true one
            got = found[f"space_group/top{top}_{name}", own.sum()]
            assert got == pytest.approx(want, abs=1.0)


def test_the_rank_is_the_last_of_equals(tree):
    root, true, probability = tree
    ranks = frame.load_predictions(root, "mini")["rank"].to_numpy()
    want = [(row >= row[t]).sum() for t, row in zip(true, probability, strict=True)]
    assert ranks.tolist() == want


def test_without_numbers_of_groups_all_test_samples_are_read_together(tree):
    root, true, _ = tree
    summary = fabricate.make_data("mini")
    del summary["space_groups"]
    write_data_summary(data_path(root, "mini"), summary)
    parts = space_groups.quantities(space_groups.ranks(root, "mini"))
    n = {q: k for part in parts for q, k in zip(part["quantity"], part["n"], strict=True)}
    assert n == {"space_group/top1_all": len(true), "space_group/top5_all": len(true)}
