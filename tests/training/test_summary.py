"""What a finished training has to say."""

import copy

import numpy as np
import pytest

from xxact.training.loop import Training
from xxact.training.summary import summarise

ENERGY = "formation_energy_per_atom"


def test_final_scores_are_of_the_predictions_that_are_kept(make_spec, tiny_store, tmp_path, quiet):
    """On a GPU the last evaluation differs from them by rounding; here it is made to."""
    training = Training(make_spec(), tiny_store, tmp_path, seed=0)
    training.run(quiet(tmp_path))
    exact = copy.deepcopy(training.state.curve[-1]["test"])
    (metric,) = set(exact[ENERGY]) - {"n"}
    training.state.curve[-1]["test"][ENERGY][metric] *= 1 + 1e-4
    summary, outputs = summarise(training)
    final = summary["metrics"]["final"]["test"][ENERGY]
    true = tiny_store.values(ENERGY)[tiny_store.indices("test")]
    assert final[metric] == pytest.approx(1000 * np.nanmean(np.abs(outputs[ENERGY] - true)))
    assert final == pytest.approx(exact[ENERGY], rel=1e-6)
