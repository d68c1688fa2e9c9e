"""What is no powder pattern is told in one line; what can be put right is, with a remark."""

import numpy as np
import pytest

from xxact.errors import UserError
from xxact.inference.measured import measured_pattern
from xxact.inference.radiation import of_word

X = np.arange(10, 60, 0.05)
Y = 10.0 + 100 * np.exp(-0.5 * ((X - 30) / 0.2) ** 2)
CU = of_word("CuKa")


def with_value(column, value):
    changed = column.copy()
    changed[7] = value
    return changed


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:1], Y[:1], "number of points is 1, and"),
        (X[:99], Y[:99], "number of points is 99, and"),
        (np.radians(X), Y, "look like radians"),
        (X * 1000, Y, "are no 2-theta in degrees"),
        (X, 0 * Y, "all intensities are zero"),
        (X, 0 * Y + 3, "all intensities are 3"),
        (X, -Y, "all intensities are zero or negative"),
        (X, np.where(X < 40, -Y, Y), "are negative"),
        (X, with_value(Y, np.nan), r"1 values of intensity .* point 8"),
        (with_value(X, np.inf), Y, "values of 2-theta are no numbers"),
        (X[::-1] + 3 * (X % 0.2), Y, "the angles go up and down"),
        (0 * X + 20, Y, "have 1 different angles"),
        (np.arange(10, 90, 0.5), np.arange(160), "do not resolve lines"),
        (X, Y[:-1], "two columns of one length"),
    ],
)
def test_no_powder_pattern(x, y, message):
    with pytest.raises(UserError, match=f"^sample: .*{message}") as caught:
        measured_pattern("sample", x, y, CU)
    assert "\n" not in str(caught.value)


def test_descending_angles_are_turned_round():
    found = measured_pattern("sample", X[::-1], Y[::-1], CU)
    np.testing.assert_array_equal(found.two_theta_deg, X)
    np.testing.assert_array_equal(found.counts, Y)
    assert found.remarks == ("the angles descend: the scan was turned round",)


def test_points_at_one_angle_are_averaged():
    found = measured_pattern("sample", [*X[:50], *X[49:]], [*Y[:50], Y[49] + 2, *Y[50:]], CU)
    np.testing.assert_array_equal(found.two_theta_deg, X)
    assert found.counts[49] == Y[49] + 1
    assert "averaged" in found.remarks[0]


def test_overlapping_scans_are_put_in_order():
    x = np.concatenate([X[:500], X[480:] + 0.01])
    found = measured_pattern("sample", x, np.arange(len(x)) + 1.0, CU)
    np.testing.assert_array_equal(found.two_theta_deg, np.sort(x))
    assert found.counts[found.two_theta_deg == X[490]] == 491
    assert "2 overlapping scans" in found.remarks[0]


def test_gaps_are_told():
    kept = (X < 24.98) | (X > 31.02)
    found = measured_pattern("sample", X[kept], Y[kept], CU)
    assert len(found.gaps_deg) == 1
    np.testing.assert_allclose(found.gaps_deg[0], (24.95, 31.05))
    assert "nothing was measured from 24.95 to 31.05" in found.remarks[0]


def test_padding_is_left_out_and_rare_zeros_are_kept():
    padded = measured_pattern("sample", X, np.where(X > 59.7, 0, Y), CU)
    assert padded.two_theta_deg[-1] < 59.71
    assert "padding" in padded.remarks[0]
    sparse = np.where(np.arange(len(X)) % 2, 0, Y)
    sparse[-3:] = 0
    assert len(measured_pattern("sample", X, sparse, CU).counts) == len(X)


def test_some_negative_intensities_are_a_remark():
    found = measured_pattern("sample", X, np.where(X < 11, -1, Y), CU)
    assert found.remarks == ("20 of 1000 intensities are negative",)


def test_copper_is_assumed_with_a_remark():
    found = measured_pattern("sample", X, Y)
    assert found.radiation.learned_from == "assumed"
    assert found.radiation.alpha1 == pytest.approx(1.54056)
    assert "Cu K-alpha is assumed" in found.remarks[0]


def test_one_line_without_background_is_no_padding():
    counts = np.zeros(500)
    counts[200] = 1000.0
    assert len(measured_pattern("x", 10 + 0.1 * np.arange(500), counts).counts) == 500


def test_numbers_that_overflow_are_no_counts():
    with pytest.raises(UserError, match="too large"):
        measured_pattern("x", 10 + 0.1 * np.arange(500), np.full(500, 1e300))
