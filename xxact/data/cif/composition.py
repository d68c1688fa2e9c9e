"""The formula and Z that a CIF states, held against the atoms that were read.

Formulas are rounded and idealised: `Ca0.5 Sr0.5` for 0.504 and 0.496, `Fe S` where 0.91 of the iron
is there. So amounts may differ by the rounding of the formula's digits and by 3 %, or by 15 % for
an element that is on partly filled sites. An element on one side alone is never sound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from xxact.data.cif.block import Block, parse_number
from xxact.data.cif.symbols import HYDROGEN, atomic_number, element_names
from xxact.data.elements import SYMBOLS
from xxact.xrd.crystal import Crystal, CrystalError

_TOLERANCE = 0.03
_PARTIAL_TOLERANCE = 0.15
_AMOUNT = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*|\.\d+|)(?:\(\d+\))?")
_CHARGE = re.compile(r"\s+\d*[+-]$")


@dataclass(frozen=True)
class Composition:
    """What a file says of its composition; `formula` is None where it says nothing readable.

    formula: amount and half of its last digit by atomic number.
    text: the formula as it stands there.
    z: Z, or None.
    scales: how many times the formula the cell may hold, by Z; empty without one.
    """

    formula: dict[int, tuple[float, float]] | None
    text: str
    z: float | None
    scales: tuple[float, ...]

    @property
    def elements(self) -> frozenset[int] | None:
        """Atomic numbers in the formula."""
        return None if self.formula is None else frozenset(self.formula)


def parse_composition(block: Block) -> Composition:
    """`_chemical_formula_sum`, or the structural formula without it, and Z.

    Z counts units of the formula; but pymatgen writes what the whole cell holds as the sum, and a Z
    that counts units of the reduced or the structural formula.
    """
    total, structural = (block.text(f"_chemical_formula_{x}") for x in ("sum", "structural"))
    text = total or structural
    formula = _parse_formula(text)
    z_text = block.text("_cell_formula_units_z")
    if not z_text:
        return Composition(formula, text, None, ())
    z = parse_number(z_text, "_cell_formula_units_Z", "wrong_z")
    if z <= 0:
        raise CrystalError("wrong_z", f"_cell_formula_units_Z cannot be {z_text}")
    if formula is None:
        return Composition(None, text, z, ())
    sizes = [_size(formula), _size(formula, gcd=True), _size(_parse_formula(structural) or formula)]
    scales = tuple(z * size / _size(formula) for size in sizes)
    return Composition(formula, text, z, scales)


def check_composition(
    crystal: Crystal,
    stated: Composition,
    implied: Iterable[tuple[str, frozenset[int], bool]],
) -> None:
    """Refuse a crystal that is not what its file says: `missing_element`, `wrong_composition`,
    `wrong_z`.

    implied: see `block.Sites`. What is said to be there has to be among the atoms; only a
    formula that agrees can show that it is all there, if a type symbol says so.
    """
    amounts = np.bincount(crystal.atomic_numbers, crystal.occupancies)
    read = {int(z): amounts[z] for z in np.flatnonzero(amounts)}
    for what, elements, by_label in implied:
        if not elements <= read.keys() or not (by_label or stated.formula):
            names = element_names(elements)
            raise CrystalError(
                "missing_element",
                f"{what} says that there is {_word(elements, names)} whose place the file does "
                "not give",
            )
    if stated.formula is None:
        return
    lost, extra = stated.formula.keys() - read.keys(), read.keys() - stated.formula.keys()
    if lost or extra:
        sides = [f"{_word(lost, element_names(lost))} has no site"] if lost else []
        sides += [f"the sites have {element_names(extra)}, which is not in it"] if extra else []
        message = f"the formula of the file is '{stated.text}': " + "; ".join(sides)
        raise CrystalError("missing_element", message)
    partial = {int(z) for z in crystal.atomic_numbers[crystal.occupancies < 1 - 1e-6]}
    free = [read[z] / amount for z, (amount, _) in stated.formula.items()]
    if any(_agree(read, stated.formula, scale, partial) for scale in stated.scales or free):
        return
    cell = " ".join(f"{SYMBOLS[z]}{amount:.4g}" for z, amount in read.items())
    if any(_agree(read, stated.formula, scale, partial) for scale in free):
        units = next(s for s in free if _agree(read, stated.formula, s, partial))
        raise CrystalError(
            "wrong_z",
            f"the file states Z {stated.z:g} and the formula '{stated.text}', but its cell holds "
            f"{cell}: {units:.4g} formula units",
        )
    raise CrystalError(
        "wrong_composition",
        f"the formula of the file is '{stated.text}', but its cell holds {cell}",
    )


def _size(formula: dict[int, tuple[float, float]], gcd: bool = False) -> float:
    """Atoms of a formula; with `gcd`, of the reduced formula."""
    amounts = [amount for amount, _ in formula.values()]
    whole = gcd and all(amount == int(amount) for amount in amounts)
    return sum(amounts) / (math.gcd(*map(int, amounts)) if whole else 1)


def _agree(read: dict, formula: dict, scale: float, partial: set[int]) -> bool:
    """Whether the atoms are `scale` times the formula, within what rounding explains."""
    return all(
        abs(read[z] / scale - amount)
        <= rounding + amount * (_PARTIAL_TOLERANCE if z in partial else _TOLERANCE)
        for z, (amount, rounding) in formula.items()
    )


def _parse_formula(text: str) -> dict[int, tuple[float, float]] | None:
    """Amounts by atomic number; None if the text is no plain formula."""
    text = _CHARGE.sub("", text.strip())
    plain = re.sub(r"\s", "", text)
    if not plain or not re.fullmatch(rf"(?:{_AMOUNT.pattern})+", plain):
        return _parse_brackets(text) if plain else None
    formula: dict[int, tuple[float, float]] = {}
    for symbol, digits in _AMOUNT.findall(plain):
        number, amount = atomic_number(symbol), float(digits or 1)
        if not number:
            return None
        decimals = len(digits.partition(".")[2])
        rounding = 0.5 * 10.0**-decimals if decimals else 0.0
        known = formula.get(number, (0.0, 0.0))
        formula[number] = (known[0] + amount, known[1] + rounding)
    return {z: entry for z, entry in formula.items() if entry[0] > 0} or None


def _parse_brackets(text: str) -> dict[int, tuple[float, float]] | None:
    """Amounts of a formula with brackets, by pymatgen; None where it can only guess."""
    if re.search(r"[^A-Za-z0-9.()\[\]{}\s]|\.(?!\d)|\s\d", text):
        return None
    from pymatgen.core import Composition as PymatgenComposition

    try:
        amounts = PymatgenComposition(text).get_el_amt_dict()
    except (ValueError, KeyError, TypeError):
        return None
    numbers = {str(symbol): atomic_number(str(symbol)) for symbol in amounts}
    if not all(numbers.values()):
        return None
    return {numbers[str(s)]: (float(a), 0.0) for s, a in amounts.items() if a > 0} or None


def _word(elements, names: str) -> str:
    """`hydrogen` by name: it is the one that goes missing."""
    return "hydrogen" if set(elements) == {HYDROGEN} else names
