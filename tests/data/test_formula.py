"""Formulas as people type them: read as pymatgen reads them, or by hand, or refused."""

import csv
import lzma

import numpy as np
import pytest

from xxact.data.elements import SYMBOLS
from xxact.data.formula import FormulaError, parse_formula


def read(formula: str) -> dict[str, float]:
    numbers, amounts = parse_formula(formula)
    return {SYMBOLS[z]: round(float(a), 9) for z, a in zip(numbers, amounts, strict=True)}


BLUE_VITRIOL = {"Cu": 1, "S": 1, "O": 9, "H": 10}


@pytest.mark.parametrize(
    "formula",
    [
        "CuSO4·5H2O",
        "CuSO4 · 5 H2O",
        "CuSO4•5H2O",
        "CuSO4⋅5H2O",
        "CuSO4*5H2O",
        "CuSO4\u00d75H2O",
        "CuSO4x5H2O",
        "CuSO4 x 5 H2O",
        "CuSO4 . 5H2O",
        "CuSO4. 5H2O",
        "CuSO4.(H2O)5",
        "CuSO4(H2O)5",
        "Cu[SO4](H2O)5",
        "CuSO₄·5H₂O",
        "CuSO_4·5H_{2}O",
        "CuSO_4_·5H_2_O",
        "CuSO<sub>4</sub>·5H<sub>2</sub>O",
        "CuSO4·5D2O",
        "CuSO4.H2O·4H2O",
        "\u00a0CuSO4\u00a0·\u00a05H2O ",
    ],
)
def test_one_hydrate_in_many_hands(formula):
    assert read(formula) == BLUE_VITRIOL


@pytest.mark.parametrize(
    ("formula", "amounts"),
    [
        ("D2O", {"H": 2, "O": 1}),
        ("LiT", {"Li": 1, "H": 1}),
        ("DHO", {"H": 2, "O": 1}),
        ("CaSO4·0.5H2O", {"Ca": 1, "S": 1, "O": 4.5, "H": 1}),
        ("CaSO4·1/2H2O", {"Ca": 1, "S": 1, "O": 4.5, "H": 1}),
        ("CaSO4.H2O", {"Ca": 1, "S": 1, "O": 5, "H": 2}),
        ("CaCl2·2NH3·4H2O", {"Ca": 1, "Cl": 2, "N": 2, "H": 14, "O": 4}),
        ("3CaO·Al2O3", {"Ca": 3, "O": 6, "Al": 2}),
        ("(CuSO4·5H2O)2", {k: 2 * v for k, v in BLUE_VITRIOL.items()}),
        ("K3[Fe(CN)6]", {"K": 3, "Fe": 1, "C": 6, "N": 6}),
        ("{Co[(NH3)2]3}Cl3", {"Co": 1, "N": 6, "H": 18, "Cl": 3}),
        ("H2O@C60", {"H": 2, "O": 1, "C": 60}),
        ("Fe 2 O 3", {"Fe": 2, "O": 3}),
        ("Cl4 Na4", {"Cl": 4, "Na": 4}),
        # decimals that are decimals
        ("YBa2Cu3O6.5", {"Y": 1, "Ba": 2, "Cu": 3, "O": 6.5}),
        ("Li0.5CoO2", {"Li": 0.5, "Co": 1, "O": 2}),
        ("Li.5CoO2", {"Li": 0.5, "Co": 1, "O": 2}),
        ("La1.85Sr0.15CuO4", {"La": 1.85, "Sr": 0.15, "Cu": 1, "O": 4}),
        ("LaFeAsO0.7H0.3", {"La": 1, "Fe": 1, "As": 1, "O": 0.7, "H": 0.3}),
        ("LaNi4.7H6", {"La": 1, "Ni": 4.7, "H": 6}),
        ("Na0.5H2O", {"Na": 0.5, "H": 2, "O": 1}),
        ("WO2.05H2O", {"W": 1, "O": 3.05, "H": 2}),
        ("Ca5(PO4)3.5OH", {"Ca": 5, "P": 3.5, "O": 15, "H": 1}),
        ("Na1.5CoO2", {"Na": 1.5, "Co": 1, "O": 2}),
        ("Na1.5NH0.5", {"Na": 1.5, "N": 1, "H": 0.5}),
        ("Li1.2Ni0.13Co0.13Mn0.54O2", {"Li": 1.2, "Ni": 0.13, "Co": 0.13, "Mn": 0.54, "O": 2}),
        ("C6H6.HCl", {"C": 6, "H": 7, "Cl": 1}),
        ("CaCl2.6NH3.2H2O", None),
        ("CaCl2.2H2O.1NH3", None),
        ("Na2CO3.10H2O", None),
        ("CuSO4.5(H2O)", None),
        ("CuSO4.5H2O", None),
        ("CuSO4/5H2O", None),
        ("LiNi1/2Mn1/2O2", {"Li": 1, "Ni": 0.5, "Mn": 0.5, "O": 2}),
        ("Zn(NO3)2.6H2O", None),
        ("MgCl.6H2O", None),
        ("CaCl2.8NH3", None),
        ("CuCl2.2CH3OH", None),
        ("(CuSO4.5H2O)2", None),
        ("CaSO4.0.5H2O", None),
    ],
)
def test_dots(formula, amounts):
    if amounts is None:
        with pytest.raises(FormulaError, match=r"ambiguous|two numbers"):
            parse_formula(formula)
    else:
        assert read(formula) == amounts


@pytest.mark.parametrize(
    ("formula", "message", "reason"),
    [
        ("", "is empty", "unreadable_formula"),
        ("  ", "is empty", "unreadable_formula"),
        ("SO4^2-", r"'\^' is a charge", "unreadable_formula"),
        ("SO4²⁻", "is a charge", "unreadable_formula"),
        ("Na+", "is a charge", "unreadable_formula"),
        ("[Fe(CN)6]4-", "is a charge", "unreadable_formula"),
        ("Na1-xCoO2", "is a charge or a range", "unreadable_formula"),
        ("NaxCoO2", "'x' is neither an element nor a number", "unreadable_formula"),
        ("CuSO4·xH2O", "'x' is neither", "unreadable_formula"),
        ("CuSO4 x H2O", "'x' is neither", "unreadable_formula"),
        ("CuSO4 5H2O", "two numbers", "unreadable_formula"),
        ("NaI 2H2O", "an amount or a coefficient", "unreadable_formula"),
        ("(Fe,Mg)2SiO4", "',' has no meaning", "unreadable_formula"),
        ("Al2O3:Cr", "':' has no meaning", "unreadable_formula"),
        ("(NaCl", r"the bracket '\)' is missing", "unreadable_formula"),
        ("NaCl)", r"the bracket '\)' closes none", "unreadable_formula"),
        ("(NaCl]", r"the bracket '\]' closes none", "unreadable_formula"),
        ("Na()Cl", "nothing between", "unreadable_formula"),
        ("NaCl·", "nothing between", "unreadable_formula"),
        ("·NaCl", "nothing between", "unreadable_formula"),
        ("NaCl··H2O", "nothing between", "unreadable_formula"),
        ("5", "nothing between", "unreadable_formula"),
        ("CaSO4·1/0H2O", "divides by zero", "unreadable_formula"),
        ("nacl", "'n' is neither", "unreadable_formula"),
        ("NaCL", "L is not a chemical element", "unknown_element"),
        ("Xx2O3", "Xx is not a chemical element", "unknown_element"),
        ("\u0421aO", "'\u0421' has no meaning", "unreadable_formula"),  # a Cyrillic C
        ("Na٣Cl", "has no meaning", "unreadable_formula"),  # an Arabic digit
        ("Na" + "9" * 400, "is too large", "unreadable_formula"),
        ("[13C]O2", r"\[13C\] looks like an isotope", "unreadable_formula"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(formula, message, reason):
    with pytest.raises(FormulaError, match=message) as caught:
        parse_formula(formula)
    assert caught.value.reason == reason


def test_deep_brackets():
    deep = 5000
    assert read("(" * deep + "Na" + ")" * deep + "Cl") == {"Na": 1, "Cl": 1}


def test_formulas_of_the_field_are_read_as_pymatgen_reads_them(test_data):
    from pymatgen.core import Composition

    formulas = set()
    for path in sorted((test_data / "composition_benchmark").glob("*.csv*")):
        opener = lzma.open if path.suffix == ".xz" else open
        with opener(path, "rt", newline="") as stream:
            formulas |= {row["formula"] for row in csv.DictReader(stream)}
    assert len(formulas) > 1000
    for formula in sorted(formulas):
        expected = Composition(formula).get_el_amt_dict()
        found = read(formula)
        assert set(found) == {str(symbol) for symbol in expected}
        np.testing.assert_allclose([found[str(s)] for s in expected], list(expected.values()))
