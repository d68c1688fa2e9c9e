"""Every published number is printed, and nothing else is printed as published."""

from decimal import Decimal

import pytest

from xxact.analysis import render, tables
from xxact.analysis.figures import BENCHMARKS, TABLES
from xxact.analysis.published import printed, published
from xxact.analysis.render import Source, View

# The tables of PAPER.md section 5 as they are printed there, typed a second time by hand.
PRINTED = {
    "table1": """147.6 92.5 28.2 96.8 0.063 0.1387 40.4 97.2 0.083 131 67.8 0.233 420.7 92.3
        422 92.1 0.200 0.191 16""",
    "table2": """167 97 81 45.7 83.4 93.6 95.8 97.19 105 87 76 44.49 93.9 95.9 96.4 97.21
        101 79 72 43.48 94.7 96.3 96.5 97.21 91 80 68 43.82 95.2 96.2 96.7 97.32
        4.2 1.8 1.2""",
    "table3": "422.8 420.7 90.78 92.29 147.1 147.6 83.2 89.93 92.51",
    "table4": """74.31 88.26 87.51 87.28 87.87 87.15 94.36 94.15 94.10 94.48 83.24 94.81 95.20
        95.19 95.30 97.77 99.32 99.34 99.34 99.37 93.95 98.55 98.63 98.61 98.62 87.32 96.37 96.33
        96.73 96.73 99.60 99.81 99.81 99.84 99.83 92.14 97.20 97.21 97.21 97.32""",
    "table5": """0.07 0.19 0.33 0.36 0.37 0.37 -0.03 0.05 0.42 0.45 0.49 0.50 0.06 0.21 0.44 0.48
        0.52 0.51 0.14 0.38 0.41 0.43 0.50 0.49 0.06 0.24 0.45 0.47 0.55 0.53 0.13 0.37 0.51 0.53
        0.59 0.58 0.14 0.52 0.39 0.41 0.47 0.46 0.08 0.29 0.42 0.45 0.50 0.50""",
    "scaling": "0.14 -0.046 0.07 -0.335 66.2 97.6",
    # CrabNet's authors (Wang et al. 2021), with all digits 8.69176, 9.10341, 8.81999, 11.90719
    "crabnet_check": "8.69 9.10 8.82 11.91",
}


def _numbers(value) -> list[str]:
    """Every number of a part of `published.yaml`."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in _numbers(part)]
    return [value] if isinstance(value, str) else []


@pytest.fixture(scope="module")
def views(whole):
    source = Source(whole, "mini")
    keys = (*TABLES, *(key for keys in BENCHMARKS.values() for key in keys))
    return {key: View(tables.table(key), "mini", {"committed": source}) for key in keys}


@pytest.mark.parametrize("key", PRINTED)
def test_cells_hold_exactly_the_published_numbers(views, key):
    cells = [cell.published for s in views[key].table.sections for cell in s.cells.values()]
    found = sorted(str(number) for number in cells if number is not None)
    wanted = PRINTED[key].split()
    if key == "table5":  # beside both spaces
        wanted *= 2
    if key == "table1":  # CrabNet's transfer has one number and no stated source: beside both
        wanted.append("0.233")
    assert found == sorted(wanted)


@pytest.mark.parametrize("key", PRINTED)
def test_every_number_of_the_file_is_printed(views, key):
    parts = published()[key]
    numbers = [n for name in ("rows", "speed_up", "fits", "gap") for n in _numbers(parts.get(name))]
    text = render.markdown(views[key])
    assert numbers
    for number in numbers:
        assert number in text


def test_digits_are_kept_as_printed():
    assert printed("table4/rows/micro/none") == Decimal("97.2")
    assert str(printed("table4/rows/micro/none")) == "97.20"
    assert printed("table1/rows/fcn/transfer_energy") is None
