"""Chemical formulas as people type them, to atomic numbers and amounts.

A formula is one or more parts with `·`, `•`, `*`, `@`, a multiplication sign, an `x` before a
number or a dot between them (`CuSO4·5H2O`); a part is an optional coefficient, then elements and
brackets of three kinds with their amounts. Subscripts (`₂`, `_2`, `_2_`, `<sub>2</sub>`) and blanks
are read; D and T are hydrogen.

A dot is a decimal point (`YBa2Cu3O6.5`, `Li.5CoO2`) where digits follow, and separates parts where
a letter, a bracket or a blank does (`CuSO4.H2O`). Where a number with a point could be both, since
a molecule with hydrogen comes after it (`CuSO4.5H2O`: 4.5 H2O, or 5 H2O beside SO4), the formula is
refused rather than guessed. So are charges, ranges, variables (`Na1-xCl`) and alternatives
(`(Fe,Mg)O`): they do not say what the material is made of.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from xxact.data.elements import ATOMIC_NUMBERS
from xxact.errors import UserError

#: Isotopes with symbols of their own.
ISOTOPES = {"D": "H", "T": "H"}

_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_MARKUP = re.compile(r"<sub>([\d.]+)</sub>|\$?_\{([\d.]+)\}\$?|\$?_([\d.]+)[$_]?")
#: A mass number, or so many atoms: an element alone in brackets behind a number.
_ISOTOPE = re.compile(r"\[\d+[A-Z][a-z]?\]", re.ASCII)
#: What stands between parts; the last but one is a multiplication sign.
_DOTS = "·•⋅∙*\u00d7@"
_TOKEN = re.compile(
    rf"(?P<separator>\s*(?:[{_DOTS}]\s*|\.\s+|\.(?=[A-Z(\[{{])|(?<=[\s\d)\]}}])x\s*(?=\d)))"
    r"|(?P<element>[A-Z][a-z]?)"
    r"|(?P<number>\d+/\d+|\d+\.\d+|\d+|\.\d+)"
    r"|(?P<open>[(\[{])"
    r"|(?P<close>[)\]}])"
    r"|(?P<blank>\s+)",
    re.ASCII,
)
#: Sums and products of amounts up to this stay finite.
_LARGEST_AMOUNT = 1e30
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_CHARGE = re.compile(r"[\^⁺⁻⁰¹²³⁴-⁹+\-\u2212\u2013]")
#: Numbers that could also be an amount, a dot or slash, and a whole number of molecules.
_TWO_READINGS = re.compile(r"(?:[1-9]\d*)?[./][1-9]\d*", re.ASCII)
_MOLECULE = re.compile(r"(?:(?:Cl|[HDTCNOFS](?![a-z]))\d*|[()\[\]{}]\d*)+", re.ASCII)
_HYDROXIDE = re.compile(r"\W*O[HDT]\W*\d*", re.ASCII)


class FormulaError(UserError, ValueError):
    """A formula that cannot be read. `reason`: `unreadable_formula` or `unknown_element`."""

    def __init__(self, message: str, reason: str = "unreadable_formula"):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):
        return type(self), (str(self), self.reason)


def parse_formula(formula: str) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers (n,) and amounts (n,) of the elements of a formula, in order of appearance.

    Raises `FormulaError` where it cannot be read, or could be read in two ways.
    """
    plain = " ".join(formula.translate(_SUBSCRIPTS).split())
    text = _MARKUP.sub(lambda m: m[1] or m[2] or m[3], plain)
    if not text:
        raise FormulaError("the formula is empty")
    if isotope := _ISOTOPE.search(text):
        raise FormulaError(f"'{formula:.80}': {isotope[0]} looks like an isotope: leave it out")
    try:
        amounts = _amounts(text)
    except FormulaError as error:
        raise FormulaError(f"'{formula:.80}': {error}", error.reason) from None
    numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol in amounts])
    return numbers, np.array(list(amounts.values()))


@dataclass
class _Level:
    """What was read since a bracket was opened: finished parts, the current one, its last unit."""

    closing: str = ""
    finished: Counter[str] = field(default_factory=Counter)
    part: Counter[str] = field(default_factory=Counter)
    coefficient: float | None = None
    unit: Counter[str] | None = None  # an element or a bracket that may still get its amount

    def begin(self, unit: Counter[str] | None) -> None:
        """Add the last unit to the part, and go on with another one."""
        _add(self.part, self.unit or {})
        self.unit = unit

    def multiply(self, number: float) -> None:
        """Take a number as the amount of the last unit, or as the part's coefficient."""
        if self.unit is not None:
            _add(self.part, self.unit, number)
            self.unit = None
        elif not self.part and self.coefficient is None:
            self.coefficient = number
        else:
            raise FormulaError("two numbers follow each other; write adducts as in CuSO4·5H2O")

    def end_part(self) -> None:
        """Close the current part; an empty one is an error."""
        self.begin(None)
        if not self.part:
            raise FormulaError("there is nothing between two separators, or in a bracket")
        _add(self.finished, self.part, 1.0 if self.coefficient is None else self.coefficient)
        self.part, self.coefficient = Counter(), None


def _amounts(text: str) -> Counter[str]:
    levels = [_Level()]
    place, after_blank = 0, False
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _stray(text[place])
        kind, token = match.lastgroup, match[0]
        level, place = levels[-1], match.end()
        if kind == "element":
            level.begin(Counter({_element(token): 1.0}))
        elif kind == "number":
            rest = text[place:]
            if level.unit is not None:
                _check_amount(token, rest, after_blank)
            level.multiply(_number(token))
        elif kind == "open":
            level.begin(None)
            levels.append(_Level(_CLOSING[token]))
        elif kind == "close":
            if token != level.closing:
                raise FormulaError(f"the bracket '{token}' closes none")
            level.end_part()
            levels.pop()
            levels[-1].begin(level.finished)
        elif kind == "separator":
            level.end_part()
        after_blank = kind == "blank"
    if len(levels) > 1:
        raise FormulaError(f"the bracket '{levels[-1].closing}' is missing")
    levels[0].end_part()
    return levels[0].finished


def _check_amount(number: str, rest: str, after_blank: bool) -> None:
    """Refuse a number behind an element or bracket that may be meant as something else."""
    following = re.match(rf"[^\s{_DOTS}.]*", rest)[0]
    if after_blank and following:
        raise FormulaError(f"is {number} an amount or a coefficient? Write CuSO4·5H2O or Fe2O3")
    if not _TWO_READINGS.fullmatch(number):
        return
    fraction = following[-1:].isdigit() and re.match(r"\.\d", rest[len(following) :])
    molecule = _MOLECULE.fullmatch(following) and not _HYDROXIDE.fullmatch(following)
    has_hydrogen = re.search("[HDT]", following) and re.search("[CNOFS]", following)
    if molecule and has_hydrogen and not fraction:
        molecules = re.split("[./]", number)[1]
        raise FormulaError(
            f"the {number[-len(molecules) - 1]} in '{number}{following}' is ambiguous: write "
            f"·{molecules}{following} for {molecules} molecules, or put {following} first for the "
            f"amount {number}"
        )


def _number(token: str) -> float:
    """An amount; also `1/2`, as in CaSO4·1/2H2O."""
    numerator, _, denominator = token.partition("/")
    if denominator and not float(denominator):
        raise FormulaError(f"'{token}' divides by zero")
    number = float(numerator) / float(denominator or 1)
    if number > _LARGEST_AMOUNT:
        raise FormulaError(f"the amount {token:.20} is too large")
    return number


def _element(symbol: str) -> str:
    symbol = ISOTOPES.get(symbol, symbol)
    if symbol not in ATOMIC_NUMBERS:
        raise FormulaError(f"{symbol} is not a chemical element", "unknown_element")
    return symbol


def _stray(character: str) -> FormulaError:
    """The error for a character that no token starts with."""
    if _CHARGE.match(character):
        return FormulaError(f"'{character}' is a charge or a range: write the neutral formula")
    if character.islower():
        return FormulaError(f"'{character}' is neither an element nor a number")
    return FormulaError(f"'{character}' has no meaning in a formula")


def _add(total: Counter[str], unit: Counter[str] | dict, factor: float = 1.0) -> None:
    for symbol, amount in unit.items():
        total[symbol] += factor * amount
