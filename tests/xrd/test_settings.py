"""Symbols of space groups against pymatgen's tables of short and full symbols."""

import pytest
from pymatgen.symmetry.groups import SpaceGroup

from xxact.xrd.settings import settings_of_symbol

FULL = SpaceGroup.full_sg_mapping  # e.g. P-32/m1: P-3m1


def numbers(symbol: str) -> set[int]:
    return {setting.number for setting in settings_of_symbol(symbol)}


def test_every_short_and_full_symbol_of_the_international_tables():
    for full, short in FULL.items():
        expected = {SpaceGroup(short).int_number}
        for symbol in (full, full.replace("_", ""), short, short.replace("_", "")):
            assert numbers(symbol) == expected, symbol


@pytest.mark.parametrize(
    ("symbol", "number"),
    [
        ("R 3 2/m", 166),
        ("R 32/c", 167),
        ("P 3 2/m 1", 164),
        ("P 3 1 2/c", 163),
        ("F 4/m 3 2/m", 225),
    ],
)
def test_a_lost_bar_over_the_three_follows_from_the_centre(symbol, number):
    assert numbers(symbol) == {number}
