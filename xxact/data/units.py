"""Whether two units, as people write them, are of one quantity, and how many of one the other is.

Only what is certain is converted: energies in electronvolts and pressures, with their prefixes and
per whatever both say alike. Other units are equal when they are spelled alike.
"""

from __future__ import annotations

import re

_PREFIXES = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
#: Quantity and size of each unit.
_BASES = {"ev": ("energy", 1.0), "pa": ("pressure", 1.0), "bar": ("pressure", 1e5)}
_PREFIXED = re.compile(r"([mM]|[kK]|[gG]|[tT]|)(ev|pa|bar)", re.IGNORECASE)
#: Ways to write "per atom" after a unit.
_PER = re.compile(r"\s*(?:/|\bper\b)\s*|[\s·*](?=\w+(?:\^?-1|⁻¹)$)", re.IGNORECASE)


def factor(given: str, wanted: str) -> float | None:
    """What a value in the unit `given` is multiplied by to be in `wanted`; None if not certain.

    >>> factor("Mbar", "GPa"), factor("meV per atom", "eV/atom"), factor("", "eV")
    (100.0, 0.001, None)
    """
    (top, *below), (wanted_top, *wanted_below) = _split(given), _split(wanted)
    if below != wanted_below:
        return None
    if top == wanted_top:
        return 1.0
    known, other = _known(top), _known(wanted_top)
    if known is None or other is None or known[0] != other[0]:
        return None
    return known[1] / other[1]


def _split(unit: str) -> list[str]:
    """A unit and what it is per, in one way of writing."""
    top, *below = _PER.split(" ".join(unit.split()))
    return [top, *(re.sub(r"\^?-1$|⁻¹$|s$", "", word.lower()) for word in below)]


def _known(unit: str) -> tuple[str, float] | None:
    """Quantity and size of a unit of energy or pressure. m is milli and M is mega."""
    match = _PREFIXED.fullmatch(unit)
    if match is None:
        return None
    prefix, base = match.groups()
    prefix = {"K": "k", "g": "G", "t": "T"}.get(prefix, prefix)
    quantity, size = _BASES[base.lower()]
    return quantity, _PREFIXES[prefix] * size
