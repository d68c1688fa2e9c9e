"""Columns of text, however they are written."""

import numpy as np
import pytest

from xxact.errors import UserError
from xxact.inference.columns import read_columns

ANGLES = np.round(10 + 0.1 * np.arange(120), 3)
COUNTS = 5.0 + np.arange(120) % 7
PAIRS = list(zip(ANGLES.tolist(), COUNTS.tolist(), strict=True))


def text(separator=" ", rows=None):
    rows = zip(ANGLES, COUNTS, strict=True) if rows is None else rows
    return "\n".join(separator.join(map(str, row)) for row in rows)


@pytest.mark.parametrize("separator", [" ", "\t", ",", ";", " , ", "   "])
def test_separators(separator):
    angles, counts = read_columns(text(separator))
    np.testing.assert_array_equal(angles, ANGLES)
    np.testing.assert_array_equal(counts, COUNTS)


@pytest.mark.parametrize("separator", ["\t", ";", " "])
def test_decimal_commas(separator):
    angles, counts = read_columns(text(separator).replace(".", ","))
    np.testing.assert_array_equal(angles, ANGLES)
    np.testing.assert_array_equal(counts, COUNTS)


@pytest.mark.parametrize(
    "heading",
    [
        "# made up\n",
        "26.11.2020 10.30 1.5 h\n",
        ". . .\n",
        "2theta intensity\n",
        "sample 7\n10\n\n",
        "'a'\n; b\n",
        "Angle,Counts\n",
    ],
)
def test_headings_and_comments(heading):
    np.testing.assert_array_equal(read_columns(heading + text())[0], ANGLES)


def test_quoted_numbers():
    rows = [(f'"{a}"', f'"{c}"') for a, c in zip(ANGLES, COUNTS, strict=True)]
    np.testing.assert_array_equal(read_columns(text(",", rows)), (ANGLES, COUNTS))


def test_quoted_decimal_commas():
    rows = [(f'"{a}"'.replace(".", ","), f'"{c}"'.replace(".", ",")) for a, c in PAIRS]
    np.testing.assert_array_equal(read_columns(text(",", rows)), (ANGLES, COUNTS))


def test_whole_angles_before_a_blank_are_no_decimal_commas():
    rows = [(f"{a:g}", f"{c:.0f} ") for a, c in PAIRS]
    np.testing.assert_array_equal(read_columns(text(",", rows)), (ANGLES, COUNTS))


@pytest.mark.parametrize(("separator", "quote"), [("\t", ""), (";", ""), (",", '"')])
def test_commas_for_thousands(separator, quote):
    rows = [(a, f"{quote}{c + 1000:,.1f}{quote}") for a, c in PAIRS]
    np.testing.assert_array_equal(read_columns(text(separator, rows)), (ANGLES, COUNTS + 1000))


@pytest.mark.parametrize("mark", [".", "'", "\u00a0", "\u202f"])
def test_marks_between_thousands_beside_decimal_commas(mark):
    rows = [(f"{a:.3f}".replace(".", ","), f"{c + 1000:.0f}") for a, c in PAIRS]
    rows = [(a, f"{c[:1]}{mark}{c[1:]},5") for a, c in rows]
    np.testing.assert_allclose(read_columns(text(";", rows)), (ANGLES, COUNTS + 1000.5))


@pytest.mark.parametrize("names", ["q,I", "d,I", "E (keV),I", "time (s),counts", "TOF,counts"])
def test_a_first_column_that_is_no_angle_is_refused(names):
    with pytest.raises(UserError, match="and 2-theta is expected"):
        read_columns(f"{names}\n" + text(","))


def test_units_may_follow_the_names():
    rows = [(c, a) for a, c in PAIRS]
    found = read_columns("Intensity,2Theta\n[counts],[deg]\n" + text(",", rows))
    np.testing.assert_array_equal(found, (ANGLES, COUNTS))


def test_names_tell_the_columns():
    rows = [(1.5, a, 2.0, c) for a, c in zip(ANGLES, COUNTS, strict=True)]
    found = read_columns("time,2Theta,monitor,Intensity\n" + text(",", rows))
    np.testing.assert_array_equal(found, (ANGLES, COUNTS))
    angles, counts = read_columns(
        "[Scan points]\nAngle,TimePerStep,Intensity\n"
        + text(",", [(a, 1.0, c) for a, c in zip(ANGLES, COUNTS, strict=True)])
    )
    np.testing.assert_array_equal((angles, counts), (ANGLES, COUNTS))


def test_numbers_of_points_are_no_angles():
    rows = [(k + 1, a, c) for k, (a, c) in enumerate(zip(ANGLES, COUNTS, strict=True))]
    np.testing.assert_array_equal(read_columns(text(" ", rows)), (ANGLES, COUNTS))


def test_a_column_that_only_falls_is_no_counts():
    rows = [(a, 0.77 / np.sin(np.radians(a / 2)), c) for a, c in PAIRS]
    np.testing.assert_array_equal(read_columns(text(" ", rows)), (ANGLES, COUNTS))
    zeros = [(a, 0.0, c) for a, c in PAIRS]
    np.testing.assert_array_equal(read_columns(text(" ", zeros))[1], 0)


def test_a_line_that_is_no_data_is_named():
    lines = text().splitlines()
    lines[50] = "15.0 abc"
    with pytest.raises(UserError, match=r"line 51, '15.0 abc', is not 2 numbers"):
        read_columns("\n".join(lines))
    lines[50] = "15.0"
    with pytest.raises(UserError, match="line 51"):
        read_columns("\n".join(lines))


@pytest.mark.parametrize("ending", ["21.9", "21.9 3.0 1.0"])
def test_nothing_after_the_data_is_dropped_that_looks_like_data(ending):
    with pytest.raises(UserError, match=f"line 121, '{ending}', is not 2 numbers"):
        read_columns(f"{text()}\n{ending}\n")
    np.testing.assert_array_equal(read_columns(f"{text()}\nEND OF FILE\n")[0], ANGLES)


@pytest.mark.parametrize("content", ["", "nothing to see", "1\n2\n3\n4\n5\n6\n7"])
def test_no_columns(content):
    with pytest.raises(UserError, match="no two columns"):
        read_columns(content)
