"""Symbols and operators of space-group settings, against gemmi's table and spglib's types."""

import gemmi
import numpy as np
import pytest
from pymatgen.symmetry.groups import SpaceGroup

from xxact.xrd.crystal import CrystalError
from xxact.xrd.settings import (
    has_one_setting,
    keep_metric,
    number_of_hall,
    number_of_operators,
    operators_of,
    operators_of_hall,
    parse_operators,
    same_operators,
    settings_of_number,
    settings_of_symbol,
)

SETTINGS = list(gemmi.spacegroup_table())
CUBIC = np.eye(3) * 5.0
HEXAGONAL = np.array([[5.0, 0, 0], [-2.5, 2.5 * 3**0.5, 0], [0, 0, 7.0]])


def test_every_extended_symbol_means_its_own_setting():
    for setting in SETTINGS:
        assert setting.xhm() in [found.xhm() for found in settings_of_symbol(setting.xhm())]


def test_hall_symbols_give_operators_and_number():
    for setting in SETTINGS[::7]:
        operators = operators_of_hall(setting.hall)
        assert same_operators(operators, operators_of(setting.operations()))
        assert number_of_hall(setting.hall) == setting.number
    assert operators_of_hall("no Hall symbol") is None


def test_a_number_alone_leaves_origins_and_axes_open():
    assert [s.xhm() for s in settings_of_number(227)] == ["F d -3 m:1", "F d -3 m:2"]
    assert [s.xhm() for s in settings_of_number(166)] == ["R -3 m:H", "R -3 m:R"]
    assert [n for n in (2, 225, 227) if has_one_setting(n)] == [225]


@pytest.mark.parametrize(
    ("code", "found"), [("", 2), (":2", 1), (" Z", 1), (" (origin choice 1)", 1), (":3", 0)]
)
def test_suffixes(code, found):
    assert len(settings_of_symbol(f"F d -3 m{code}")) == found


@pytest.mark.parametrize("symbol", ["P 1", "P 21/c", "I 41/a m d:2", "R -3 c:R", "F d -3 m:1"])
def test_written_operators_are_read(symbol):
    group = gemmi.find_spacegroup_by_name(symbol).operations()
    texts = [operator.triplet() for operator in group]
    assert same_operators(parse_operators(texts), operators_of(group))
    decimals = [text.replace("1/2", "0.5").replace("1/3", "0.3333") for text in texts]
    assert same_operators(parse_operators(decimals), operators_of(group))


@pytest.mark.parametrize(
    "texts", [["x,y"], ["x,y,q"], ["x,y,1/0"], ["x,x,z"], ["x,y,z", "-y,x,z"], [""]]
)
def test_operators_that_are_none_or_no_group_are_refused(texts):
    with pytest.raises(CrystalError) as caught:
        parse_operators(texts)
    assert caught.value.reason == "unreadable_symmetry"


def test_the_metric_tells_axes_apart():
    cubic, hexagonal = (operators_of(settings_of_number(n)[0].operations()) for n in (225, 194))
    assert [keep_metric(cubic, lattice) for lattice in (CUBIC, HEXAGONAL)] == [True, False]
    assert [keep_metric(hexagonal, lattice) for lattice in (CUBIC, HEXAGONAL)] == [False, True]


@pytest.mark.parametrize("number", [2, 14, 62, 88, 141, 152, 167, 194, 205, 221, 227])
def test_operators_have_the_number_of_their_type(number):
    operators = operators_of(settings_of_number(number)[0].operations())
    lattice = HEXAGONAL if 143 <= number <= 194 else CUBIC
    assert number_of_operators(operators, lattice) == number


FULL = SpaceGroup.full_sg_mapping  # e.g. P-32/m1: P-3m1


def types_of(symbol: str) -> set[int]:
    return {setting.number for setting in settings_of_symbol(symbol)}


def test_every_short_and_full_symbol_of_the_international_tables():
    for full, short in FULL.items():
        expected = {SpaceGroup(short).int_number}
        for symbol in (full, full.replace("_", ""), short, short.replace("_", "")):
            assert types_of(symbol) == expected, symbol


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
    assert types_of(symbol) == {number}
