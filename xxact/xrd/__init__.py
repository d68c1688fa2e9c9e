"""Powder diffraction of crystals: reflections, broadening to a pattern, symmetry. No learning here.

`simulate_pattern(structure)` is the whole path in one call; `reflections.reflections` and `broaden`
are its two halves for many crystals, `space_group_number` finds the symmetry. The names below are
imported on first use, since they bring Numba, torch or moyopy with them.
"""

from importlib import import_module

_HOME = {
    "Crystal": "crystal",
    "CrystalError": "crystal",
    "Reflections": "reflections",
    "broaden": "broadening",
    "simulate_pattern": "pattern",
    "space_group_number": "symmetry",
}

__all__ = [
    "Crystal",
    "CrystalError",
    "Reflections",
    "broaden",
    "simulate_pattern",
    "space_group_number",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
