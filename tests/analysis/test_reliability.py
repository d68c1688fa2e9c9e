"""Curves of confidence and risk, against counting by hand."""

import numpy as np

from xxact.analysis.plots.reliability import reliability, risk_at_coverage

CONFIDENCE = np.array([0.9, 0.5, 0.7, 0.6])
RIGHT = np.array([True, False, False, True])


def test_risk_rises_with_what_is_answered():
    coverage, risk = risk_at_coverage(CONFIDENCE, RIGHT)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 1 / 2])


def test_bins_hold_as_many_answers_each():
    confidence, right = np.arange(16) / 16, np.arange(16) >= 10
    mean, share = reliability(confidence, right)
    np.testing.assert_allclose(mean, (np.arange(0, 16, 2) + 0.5) / 16)
    assert share.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
