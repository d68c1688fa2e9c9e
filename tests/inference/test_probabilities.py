"""Calibration against naive formulas and made-up models whose truth is known."""

import gemmi
import numpy as np
import pytest
from scipy.special import softmax

from xxact.inference.probabilities import (
    MIRROR_IMAGES,
    as_told,
    calibration_error,
    calibration_error_by_chance,
    fit_temperatures,
    half_width,
    probabilities,
    threshold,
    with_systems,
)

SYSTEM_ENDS = (2, 15, 74, 142, 167, 194, 230)  # International Tables A


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_the_temperature_of_a_made_up_model_is_found(random):
    honest = random.normal(0, 2, (4000, 5))
    true = np.array([random.choice(5, p=p) for p in softmax(honest, axis=1)])
    found = fit_temperatures({"a": {"phase": 3 * honest}}, {"phase": true})
    assert found["phase"] == pytest.approx({"a": 3}, rel=0.05)


def test_temperatures_of_two_runs_that_see_different_parts_of_the_truth(random):
    parts = random.normal(0, 1.5, (2, 6000, 5))
    true = np.array([random.choice(5, p=p) for p in softmax(parts.sum(0), axis=1)])
    logits = {"a": {"phase": 2 * parts[0]}, "b": {"phase": 0.5 * parts[1]}}
    found = fit_temperatures(logits, {"phase": true})
    assert found["phase"] == pytest.approx({"a": 2, "b": 0.5}, rel=0.1)


def test_a_run_without_a_target_does_not_count_for_it(random):
    logits = {"a": {"phase": random.normal(0, 2, (50, 3))}, "b": {}}
    found = fit_temperatures(logits, {"phase": random.integers(0, 3, 50)})
    assert list(found["phase"]) == ["a"]


def test_unlabelled_samples_do_not_count(random):
    logits, true = random.normal(0, 2, (300, 7)), random.integers(0, 7, 300)
    both = {"a": {"crystal_system": np.concatenate([logits, logits])}}
    labels = {"crystal_system": np.concatenate([true, np.full(300, -1)])}
    expected = fit_temperatures({"a": {"crystal_system": logits}}, {"crystal_system": true})
    found = fit_temperatures(both, labels)
    assert found["crystal_system"] == pytest.approx(expected["crystal_system"])


def test_several_runs_have_the_geometric_mean_of_their_probabilities(random):
    logits = {run: {"phase": random.normal(0, 2, (6, 4))} for run in "ab"}
    found = probabilities(logits, {"phase": {"a": 4.0, "b": 4 / 3}})["phase"]
    a, b = (softmax(logits[run]["phase"], axis=1) for run in "ab")
    expected = a**0.25 * b**0.75
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True))


@pytest.mark.parametrize("has_system_head", [False, True])
def test_space_groups_add_up_to_their_system(random, has_system_head):
    logits = {"space_group": random.normal(0, 2, (6, 230))}
    if has_system_head:
        logits["crystal_system"] = random.normal(0, 2, (6, 7))
    temperatures = {"crystal_system": {"a": 2.0}, "space_group": {"a": 3.0}}
    found = probabilities({"a": with_systems(logits)}, temperatures)
    np.testing.assert_allclose(found["space_group"].sum(1), 1)
    starts = (0, *SYSTEM_ENDS[:-1])
    groups = softmax(logits["space_group"], axis=1)
    summed = []
    for k, (start, stop) in enumerate(zip(starts, SYSTEM_ENDS, strict=True)):
        sums = found["space_group"][:, start:stop].sum(1)
        np.testing.assert_allclose(sums, found["crystal_system"][:, k])
        summed.append(groups[:, start:stop].sum(1))
    untempered = np.stack(summed, axis=1)
    if has_system_head:
        untempered = softmax(logits["crystal_system"], axis=1)
    expected = np.sqrt(untempered) / np.sqrt(untempered).sum(1, keepdims=True)
    np.testing.assert_allclose(found["crystal_system"], expected)
    plain = probabilities(
        {"a": with_systems({"space_group": logits["space_group"]})},
        {name: {"a": 1.0} for name in temperatures},
    )
    for first, second in np.array(MIRROR_IMAGES) - 1:
        for table in (plain["space_group"], groups):
            table[:, first], table[:, second] = table[:, first] + table[:, second], 0
    np.testing.assert_allclose(plain["space_group"], groups)


def test_mirror_images_are_the_pairs_that_inversion_turns_into_each_other():
    pairs = set()
    for number in range(1, 231):
        operations = gemmi.find_spacegroup_by_number(number).operations()
        for operation in operations.sym_ops:  # what inversion makes of a symmetry: (R, -t)
            operation.tran = [-part % gemmi.Op.DEN for part in operation.tran]
        inverted = gemmi.GroupOps(list(operations.sym_ops))
        inverted.cen_ops = operations.cen_ops
        image = gemmi.find_spacegroup_by_ops(inverted)
        if image is not None and image.number != number:
            pairs.add((min(number, image.number), max(number, image.number)))
    assert set(MIRROR_IMAGES) == pairs


def test_the_likelier_of_two_mirror_images_has_the_probability_of_both(random):
    logits = random.normal(0, 2, (6, 230))
    groups, temperatures = softmax(logits, axis=1), {"space_group": {"a": 1.0}}
    temperatures["crystal_system"] = {"a": 1.0}
    found = probabilities({"a": with_systems({"space_group": logits})}, temperatures)["space_group"]
    np.testing.assert_allclose(found.sum(1), 1)
    for row, before in zip(found, groups, strict=True):
        assert sorted(row[[151, 153]]) == pytest.approx([0, before[151] + before[153]])  # quartz
        assert (row[151] > row[153]) == (before[151] > before[153])
        assert row[224] == pytest.approx(before[224])  # Fm-3m is its own image
    right = np.full(6, 151)
    told = as_told("space_group", found, right)
    assert set(told) == {151, 153}  # of these samples either is told of some
    np.testing.assert_array_equal(told, np.where(groups[:, 151] > groups[:, 153], 151, 153))
    np.testing.assert_array_equal(as_told("crystal_system", found, right), right)


def test_calibration_error_of_bins_by_hand():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.5, 0.5])
    right = np.array([1, 1, 1, 0, 1, 0])
    assert calibration_error(confidence, right) == pytest.approx(4 / 6 * 0.2)


def test_calibration_error_by_chance_is_that_of_answers_drawn_by_their_confidence(random):
    confidence = random.uniform(0.1, 1, 200)
    drawn = random.uniform(size=(400, 200)) < confidence
    expected = np.mean([calibration_error(confidence, right) for right in drawn])
    assert calibration_error_by_chance(confidence) == pytest.approx(expected, rel=0.05)
    assert calibration_error_by_chance(np.ones(3)) == 0


def test_the_threshold_is_the_lowest_that_keeps_the_risk(random):
    confidence = np.round(random.uniform(0, 1, 500), 2)
    right = random.uniform(0, 1, 500) < confidence
    at = threshold(confidence, right, 0.1)
    assert np.mean(~right[confidence >= at]) <= 0.1
    lower = [t for t in np.unique(confidence) if t < at]
    assert all(np.mean(~right[confidence >= t]) > 0.1 for t in lower)


def test_no_threshold_keeps_the_risk_of_a_model_that_is_always_wrong():
    assert threshold(np.array([0.9, 0.8]), np.array([False, False]), 0.1) == 1.01


def test_intervals_hold_the_share_of_new_values_that_they_promise(random):
    hits = [np.abs(random.normal()) <= half_width(random.normal(size=19), 0.9) for _ in range(4000)]
    assert np.mean(hits) == pytest.approx(0.9, abs=0.015)
    assert half_width(np.array([1.0, -3.0]), 0.9) == 3
