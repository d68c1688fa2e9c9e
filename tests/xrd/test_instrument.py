"""What measurements are drawn from: ranges, sources, shares, and what a draw depends on."""

import numpy as np
import pytest

from xxact.xrd.instrument import RANGES, Range, column, draw


def test_every_range_has_a_source_and_is_one():
    for name, range_ in RANGES.items():
        assert range_.source, name
        assert range_.low < range_.high, name
        assert 0 < range_.share <= 1, name


@pytest.mark.parametrize("name", RANGES)
def test_values_fill_their_range(name):
    range_, values = RANGES[name], column(draw(0, 4000), name)
    drawn = values[values != np.float32(range_.otherwise)] if range_.share < 1 else values
    assert len(drawn) / len(values) == pytest.approx(range_.share, abs=0.03)
    assert drawn.min() >= np.float32(range_.low)
    assert drawn.max() <= np.float32(range_.high)
    middle = np.sqrt(range_.low * range_.high) if range_.log else (range_.low + range_.high) / 2
    assert np.mean(drawn < middle) == pytest.approx(0.5, abs=0.05)


def test_a_logarithmic_range_is_even_in_the_logarithm():
    values = Range(1.0, 100.0, "", log=True).at(np.array([0.0, 0.25, 0.5, 1.0]))
    assert values == pytest.approx([1, 10**0.5, 10, 100])


def test_a_draw_follows_from_seed_and_place():
    assert np.array_equal(draw(7, 20), draw(7, 20))
    assert np.array_equal(draw(7, 20)[:5], draw(7, 5))
    assert not np.array_equal(draw(7, 20), draw(8, 20))


def test_without_cuts_everything_else_stays():
    whole, cut = draw(3, 50, cut=False), draw(3, 50)
    assert (column(whole, "first_deg") == 5).all()
    assert (column(whole, "last_deg") == 90).all()
    others = [k for k, name in enumerate(RANGES) if name not in ("first_deg", "last_deg")]
    assert np.array_equal(whole[:, others], cut[:, others])
