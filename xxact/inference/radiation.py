"""The wavelengths that a pattern was measured with, and where they were learned."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Literal

from xxact.errors import UserError
from xxact.xrd.reflections import WAVELENGTHS_ANGSTROM

#: Anodes of X-ray tubes.
ANODES = ("Ag", "Mo", "Cu", "Co", "Fe", "Cr")
#: Wavelengths that a powder pattern of 5 to 90 degrees of Cu K-alpha can be had with.
SHORTEST_ANGSTROM, LONGEST_ANGSTROM = 0.1, 3.0
#: A number this close, as a fraction, to a tube's K-alpha-1 or mean K-alpha is that tube's.
_SAME = 1e-3
#: Intensity of K-alpha-2 over that of K-alpha-1: half as many electrons in the 2p1/2 level.
ALPHA2_RATIO = 0.5

#: Of a user's numbers, in angstrom.
_UNITS = {"": 1.0, "a": 1.0, "å": 1.0, "angstrom": 1.0, "nm": 10.0, "pm": 0.01}
_NUMBER = re.compile(
    rf"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*({'|'.join(_UNITS)})", re.IGNORECASE
)
_NAMES = {name.lower(): name for name in WAVELENGTHS_ANGSTROM}
_NAMES |= {anode.lower(): f"{anode}Ka" for anode in ANODES}

Source = Literal["file", "user", "assumed"]


@dataclass(frozen=True)
class Radiation:
    """Wavelengths in angstrom: `alpha2` is that of a doublet's second line, None without one.

    `certain`: whether the source says that the second line is there or not; a bare number, as
    1.5406, does not. `learned_from`: "file", "user" or "assumed".
    """

    alpha1: float
    alpha2: float | None = None
    certain: bool = True
    learned_from: Source = "user"

    @property
    def mean(self) -> float:
        """Wavelength of the centre of the two lines, or of the one."""
        if self.alpha2 is None:
            return self.alpha1
        return (self.alpha1 + ALPHA2_RATIO * self.alpha2) / (1 + ALPHA2_RATIO)

    @property
    def is_of_a_tube(self) -> bool:
        """Whether it is a characteristic line, and so not polarised, as a synchrotron's."""
        return any(abs(w / self.alpha1 - 1) < _SAME for w in WAVELENGTHS_ANGSTROM.values())

    def alone(self) -> Radiation:
        """The first line without the second."""
        return replace(self, alpha2=None, certain=True)

    def __str__(self) -> str:
        if self.alpha2 is None:
            return f"{self.alpha1:.5f} A"
        return f"{self.alpha1:.5f} and {self.alpha2:.5f} A"


def tube(anode: str, learned_from: Source, certain: bool = True) -> Radiation:
    """The K-alpha doublet of an anode."""
    lines = (WAVELENGTHS_ANGSTROM[f"{anode}Ka{number}"] for number in (1, 2))
    return Radiation(*lines, certain, learned_from)


def check_wavelength(wavelength: float) -> None:
    """`UserError` for a wavelength beyond 0.1 to 3 angstrom, or of a tube in nanometres."""
    if anode_of(10 * wavelength):
        raise UserError(
            f"the wavelength {wavelength:g} looks like nanometres: write {10 * wavelength:g}"
        )
    if not SHORTEST_ANGSTROM <= wavelength <= LONGEST_ANGSTROM:
        raise UserError(
            f"a wavelength of {wavelength:g} angstrom is none of powder diffraction: it has to be"
            f" from {SHORTEST_ANGSTROM:g} to {LONGEST_ANGSTROM:g}, as 1.5406"
        )


def of_number(wavelength: float, learned_from: Source) -> Radiation:
    """The radiation of a wavelength in angstrom.

    K-alpha-1 and the mean of K-alpha-1 and K-alpha-2 are what programs write of the doublet, so
    that either is read as the doublet, though not for certain. `UserError` beyond 0.1 to 3.
    """
    check_wavelength(wavelength)
    anode = anode_of(wavelength)
    if anode:
        return tube(anode, learned_from, certain=False)
    return Radiation(wavelength, learned_from=learned_from)


def anode_of(wavelength: float) -> str | None:
    """The anode whose K-alpha-1, or mean of both lines, a wavelength is."""
    for anode in ANODES:
        doublet = tube(anode, "assumed")
        if min(abs(wavelength / w - 1) for w in (doublet.alpha1, doublet.mean)) < _SAME:
            return anode
    return None


def of_word(word: str) -> Radiation:
    """The radiation that a user names: `CuKa` (a doublet), `CuKa1` (one line), `Cu`, `1.5406`,
    `0.15406 nm`."""
    text = unicodedata.normalize("NFKC", word).strip()  # subscripts become numbers
    if number := _NUMBER.fullmatch(text):
        return of_number(float(number[1]) * _UNITS[number[2].lower()], "user")
    plain = re.sub(r"[\s_-]", "", text.lower()).removesuffix("1,2")
    for letter, spellings in {"a": ("alpha", "\u03b1"), "b": ("beta", "\u03b2")}.items():
        for spelling in spellings:
            plain = plain.replace(spelling, letter)
    name = _NAMES.get(plain) or _NAMES.get(f"{plain}1")
    if name is None:
        known = ", ".join(f"{anode}Ka" for anode in ANODES)
        raise UserError(
            f"'{word:.40}' is no wavelength: give a number in angstrom, or one of {known} (CuKa1 is"
            " the first line alone)"
        )
    if name.endswith("Ka"):
        return tube(name.removesuffix("Ka"), "user")
    return Radiation(WAVELENGTHS_ANGSTROM[name])
