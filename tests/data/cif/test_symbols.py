"""Elements in the type symbols and labels of CIFs."""

import pytest

from xxact.data.cif.symbols import Contents, read_label, read_type_symbol
from xxact.xrd.crystal import CrystalError


def whole(number, *implied):
    return Contents(((number, 1.0),), frozenset(implied))


@pytest.mark.parametrize(
    ("symbol", "elements", "contents"),
    [
        ("Fe3+", None, whole(26)),
        ("CL", None, whole(17)),
        ("O2-", None, whole(8)),
        ("D", None, whole(1)),
        ("OH2", None, whole(8, 1)),
        ("NO3", None, whole(7, 8)),
        ("Va", None, Contents()),
        ("0.8Nb + 0.2Zr", None, Contents(((41, 0.8), (40, 0.2)))),
        ("HO", {67}, whole(67)),
        ("HO", {1, 8}, whole(8, 1)),
    ],
)
def test_type_symbols(symbol, elements, contents):
    assert read_type_symbol(symbol, elements and frozenset(elements)) == contents


@pytest.mark.parametrize(
    ("label", "elements", "contents"),
    [
        ("Na1", None, whole(11)),
        ("O2A", None, whole(8)),
        ("OW1", None, whole(8, 1)),
        ("SiT1", None, whole(14)),
        ("CA1", {20}, whole(20)),
        ("CA1", {6}, whole(6)),
        ("HW1", None, whole(1)),
        ("Vac2", None, Contents()),
    ],
)
def test_labels(label, elements, contents):
    assert read_label(label, elements and frozenset(elements)) == contents


@pytest.mark.parametrize("read", [read_type_symbol, read_label])
def test_what_names_no_element_is_refused(read):
    with pytest.raises(CrystalError) as caught:
        read("Qq1", None)
    assert caught.value.reason == "unknown_element"
