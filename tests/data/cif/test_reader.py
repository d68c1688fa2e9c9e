"""CIFs are read as they mean it: against pymatgen and spglib, from crystals written down here."""

import csv
import lzma

import gemmi
import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from xxact.data.cif.reader import read_any, read_cif, read_pymatgen_p1
from xxact.xrd.crystal import Crystal, CrystalError
from xxact.xrd.reflections import reflections
from xxact.xrd.symmetry import space_group_number


def cif(cell, atoms, symmetry="", formula="", z="", columns=""):
    """A CIF: (a, b, c, alpha, beta, gamma), rows `label symbol x y z occupancy`, tags as text."""
    names = [f"length_{x}" for x in "abc"] + [f"angle_{x}" for x in ("alpha", "beta", "gamma")]
    lines = ["data_x", *(f"_cell_{n} {v}" for n, v in zip(names, cell, strict=True)), symmetry]
    lines += [f"_chemical_formula_sum '{formula}'"] if formula else []
    lines += [f"_cell_formula_units_Z {z}"] if z else []
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_fract_{x}" for x in "xyz"] + ["_atom_site_occupancy"]
    lines += [columns] if columns else []
    return "\n".join([*lines, *atoms, ""])


def hm(symbol, number=""):
    """The tags of a Hermann-Mauguin symbol and a number."""
    tags = f"_symmetry_space_group_name_H-M '{symbol}'"
    return tags + (f"\n_symmetry_Int_Tables_number {number}" if number else "")


def operators(setting):
    """The operators of a setting, listed."""
    group = gemmi.find_spacegroup_by_name(setting).operations()
    return "\n".join(
        ["loop_", "_space_group_symop_operation_xyz", *(f"'{o.triplet()}'" for o in group)]
    )


CUBE = (5.6402,) * 3 + (90,) * 3
HALITE = ["Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"]
ZIRCONIA = [
    "Zr1 Zr 0.2754 0.0395 0.2083 1",
    "O2 O 0.07 0.3317 0.3447 1",
    "O3 O 0.4496 0.7569 0.4792 1",
]
ZIRCONIA_CELL = (5.1505, 5.2116, 5.3173, 90, 99.23, 90)


def reason(text):
    with pytest.raises(CrystalError) as caught:
        read_cif(text)
    return caught.value.reason, str(caught.value)


def assert_lines(crystal, structure):
    """The pattern of a crystal is that of a pymatgen structure."""
    expected = XRDCalculator("CuKa").get_pattern(structure, two_theta_range=(5, 90))
    got = reflections(crystal)
    assert crystal.site[-1] + 1 == len(structure)
    strong = expected.y > 1
    for angle in expected.x[strong]:
        ours, theirs = (np.abs(x - angle) < 0.01 for x in (got.two_theta, expected.x))
        assert got.intensity[ours].sum() == pytest.approx(expected.y[theirs].sum(), abs=0.5)


def sorted_sites(crystal):
    """Rows (Z, x, y, z) in an order that does not depend on the reader."""
    rows = np.column_stack([crystal.atomic_numbers, crystal.frac_coords])
    return rows[np.lexsort(rows.T[::-1])]


def assert_same(a, b):
    np.testing.assert_array_equal(a.lattice, b.lattice)
    np.testing.assert_array_equal(sorted_sites(a), sorted_sites(b))


def by_pymatgen(text):
    return Crystal.from_structure(Structure.from_str(text, fmt="cif"))


@pytest.mark.parametrize("name", ["mp_structures", "mp_2025", "mp_2025_structures"])
def test_the_quick_and_the_full_reader_equal_cif_parser_on_real_crystals(test_data, name):
    with lzma.open(test_data / f"{name}.csv.xz", "rt", newline="") as stream:
        texts = [row["cif"] for _, row in zip(range(4000), csv.DictReader(stream), strict=False)]
    for text in texts[::40]:
        quick = read_pymatgen_p1(text)
        assert quick is not None
        assert_same(quick, by_pymatgen(text))
        assert_same(quick, read_any(text))


def test_finite_precision_and_negative_coordinates_are_treated_as_in_pymatgen(cubic_cif):
    text = cubic_cif(6.0, [("Na", 0.33333, 0.66667, -0.25), ("Cl", 1.2, 0.3334, 0.9)])
    quick = read_pymatgen_p1(text)
    assert_same(quick, by_pymatgen(text))
    assert quick.frac_coords[0, 0] == 1 / 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.10000000  1\n", "0.10000000  0.9\n"),
        ("  Na  Na0", "  Na+  Na0"),
        ("0.10000000", "0.1000(2)"),
    ],
)
def test_any_other_layout_goes_to_the_full_reader(cubic_cif, old, new):
    changed = cubic_cif(5.6, [("Na", 0.1, 0.1, 0.1), ("Cl", 0.6, 0.6, 0.6)]).replace(old, new)
    assert read_pymatgen_p1(changed) is None
    crystal = read_cif(changed)
    np.testing.assert_allclose(sorted_sites(crystal), sorted_sites(by_pymatgen(changed)))


def test_a_formula_that_the_sites_do_not_have_is_seen_in_the_quick_layout(cubic_cif):
    text = cubic_cif(5.6, [("Na", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5)]).replace(
        "'Na1 Cl1'", "'Na1 Cl1 H1'"
    )
    assert reason(text)[0] == "missing_element"


# Symmetry by name


@pytest.mark.parametrize(
    "symbol",
    [
        "P 21/c",
        "P21/c",
        "p21/c",
        "P_21/c",
        "P2(1)/c",
        "P2_1/c",
        "P 1 21/c 1",
        "P_1_21/c_1",
        "P 2 1/c",
    ],
)
def test_ways_to_write_a_monoclinic_symbol(symbol):
    expected = Structure.from_spacegroup(
        "P2_1/c", Lattice.from_parameters(*ZIRCONIA_CELL), ["Zr", "O", "O"],
        [[float(x) for x in atom.split()[2:5]] for atom in ZIRCONIA],
    )  # fmt: skip
    assert_lines(read_cif(cif(ZIRCONIA_CELL, ZIRCONIA, hm(symbol), "O2 Zr", 4)), expected)


@pytest.mark.parametrize(
    ("order", "symbol"), [("cab", "P 1 1 21/b"), ("cab", "P21/b"), ("bca", "P 21/c 1 1")]
)
def test_unique_axes(order, symbol):
    """A crystal of P 1 21/c 1 with its axes renamed has the same lines."""
    setting = gemmi.find_spacegroup_by_name(symbol if "1 " in symbol else "P 1 1 21/b")
    axes = ["abc".index(x) for x in order]
    cell = [ZIRCONIA_CELL[k] for k in axes] + [ZIRCONIA_CELL[3 + k] for k in axes]
    atoms = [atom.split() for atom in ZIRCONIA]
    atoms = [" ".join([*atom[:2], *(atom[2 + k] for k in axes), "1"]) for atom in atoms]
    renamed = reflections(by_pymatgen(cif(cell, atoms, operators(setting.xhm()))))
    got = reflections(read_cif(cif(cell, atoms, hm(symbol), "O2 Zr", 4)))
    np.testing.assert_allclose(got.two_theta, renamed.two_theta, atol=1e-4)
    np.testing.assert_allclose(got.intensity, renamed.intensity, atol=0.1)


@pytest.mark.parametrize(
    "symbol", ["F m -3 m", "F m 3 m", "Fm3m", "FM-3M", "F 4/m -3 2/m", "Fm-3m", "F_m_-3_m"]
)
def test_ways_to_write_a_cubic_symbol(symbol):
    crystal = read_cif(cif(CUBE, HALITE, hm(symbol), "Na Cl", 4))
    assert_lines(
        crystal,
        Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(5.6402), ["Na", "Cl"], [[0] * 3, [0.5] * 3]
        ),
    )


@pytest.mark.parametrize(
    "tags", ["_space_group_name_Hall '-F 4 2 3'", "_space_group_IT_number 225"]
)
def test_hall_symbol_or_number_alone(tags):
    crystal = read_cif(cif(CUBE, HALITE, tags, "Na Cl", 4))
    assert (len(crystal.site), space_group_number(crystal)) == (8, 225)


@pytest.mark.parametrize("symbol", ["P b n m", "Pbnm", "P_b_n_m"])
def test_permuted_axes(symbol):
    perovskite = Structure.from_spacegroup(
        "Pnma", Lattice.orthorhombic(5.44, 7.64, 5.38), ["Ca", "Ti", "O", "O"],
        [[0.036, 0.25, 0.993], [0, 0, 0.5], [0.484, 0.25, 0.071], [0.289, 0.037, 0.711]],
    )  # fmt: skip
    atoms = [
        "Ca1 Ca 0.993 0.036 0.25 1",
        "Ti1 Ti 0.5 0 0 1",
        "O1 O 0.071 0.484 0.25 1",
        "O2 O 0.711 0.289 0.037 1",
    ]
    assert_lines(read_cif(cif((5.38, 5.44, 7.64, 90, 90, 90), atoms, hm(symbol, 62))), perovskite)


R_GROUPS = {
    146: "R 3",
    148: "R -3",
    155: "R 3 2",
    160: "R 3 m",
    161: "R 3 c",
    166: "R -3 m",
    167: "R -3 c",
}


@pytest.mark.parametrize("ending", [":R", " R", "", " (rhombohedral axes)", ":r"])
@pytest.mark.parametrize("number", R_GROUPS)
def test_rhombohedral_axes(number, ending):
    """Atoms of a hexagonal cell, built by pymatgen, are given on rhombohedral axes."""
    points = np.array([[0.11, 0.45, 0.093], [0.41, 0.02, 0.31]])
    hexagonal = Lattice.hexagonal(7.1, 17.3)
    full = Structure.from_spacegroup(
        R_GROUPS[number].replace(" ", ""), hexagonal, ["Fe", "S"], points
    )
    to_rhombohedral = np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3  # rows: a_R, b_R, c_R
    cell = Lattice(to_rhombohedral @ hexagonal.matrix)
    coords = points @ np.linalg.inv(to_rhombohedral)
    atoms = [
        f"{s}{k} {s} " + " ".join(f"{x:.6f}" for x in c) + " 1"
        for k, (s, c) in enumerate(zip(("Fe", "S"), coords, strict=True))
    ]
    crystal = read_cif(cif(cell.parameters, atoms, hm(R_GROUPS[number] + ending, number)))
    assert (crystal.site[-1] + 1) * 3 == len(full)
    assert space_group_number(crystal) == number
    np.testing.assert_allclose(
        reflections(crystal).two_theta, reflections(full).two_theta, atol=1e-3
    )
    np.testing.assert_allclose(
        reflections(crystal).intensity, reflections(full).intensity, atol=0.05
    )


def test_a_suffix_that_contradicts_the_cell_is_refused():
    bismuth = ["Bi1 Bi 0.2339 0.2339 0.2339 1"]
    rhombohedral = (4.746,) * 3 + (57.23,) * 3
    assert reason(cif(rhombohedral, bismuth, hm("R -3 m :H", 166)))[0] == "wrong_axes"
    assert reason(cif(rhombohedral, bismuth, operators("R -3 m:H")))[0] == "wrong_axes"


TWO_ORIGINS = sorted({s.hm for s in gemmi.spacegroup_table() if s.ext == "2"})


@pytest.mark.parametrize("symbol", TWO_ORIGINS)
def test_both_origins(symbol):
    """Each choice by its suffix is what its listed operators give in pymatgen."""
    system = gemmi.find_spacegroup_by_name(symbol).crystal_system_str()
    cell = {"orthorhombic": (7.1, 8.3, 9.7), "tetragonal": (7.1, 7.1, 9.7), "cubic": (29.1,) * 3}[
        system
    ]
    atoms = ["Fe1 Fe 0.06 0.11 0.17 1"]
    for choice in "12":
        text = cif((*cell, 90, 90, 90), atoms, operators(f"{symbol}:{choice}"))
        for ending in (
            f":{choice}",
            f" :{choice}",
            f" (origin choice {choice})",
            " S" if choice == "1" else " Z",
        ):
            crystal = read_cif(cif((*cell, 90, 90, 90), atoms, hm(f"{symbol} {ending}")))
            np.testing.assert_allclose(
                np.sort(crystal.frac_coords, 0),
                np.sort(by_pymatgen(text).frac_coords, 0),
                atol=1e-6,
            )


SILICON = (5.431,) * 3 + (90,) * 3


def test_an_origin_that_is_not_said_follows_from_z_or_is_refused():
    atoms = ["Si1 Si 0.125 0.125 0.125 1"]
    crystal = read_cif(cif(SILICON, atoms, hm("F d -3 m", 227), "Si", 8))
    assert (len(crystal.site), space_group_number(crystal)) == (8, 227)
    kind, message = reason(cif(SILICON, atoms, hm("F d -3 m", 227)))
    assert kind == "ambiguous_symmetry"
    assert "F d -3 m:1" in message
    assert "F d -3 m:2" in message


@pytest.mark.parametrize(
    ("symmetry", "kind"),
    [
        (hm("P m -3 m", 225), "contradictory_symmetry"),
        (hm("F m -3 m") + "\n_space_group_name_Hall '-P 4 2 3'", "contradictory_symmetry"),
        (hm("I m -3 m") + "\n" + operators("F m -3 m"), "contradictory_symmetry"),
        (hm("no such group"), "unknown_symmetry"),
        (hm("F m -3 m", 231), "unknown_symmetry"),
        (hm("F m -3 m :2"), "unknown_symmetry"),
        ("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'-x,y+1/4,z'", "unreadable_symmetry"),
        ("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'x,y'", "unreadable_symmetry"),
    ],
)
def test_symmetry_that_cannot_be_right_is_refused(symmetry, kind):
    assert reason(cif(CUBE, HALITE, symmetry))[0] == kind


def test_nothing_said_of_symmetry():
    kind, message = reason(cif(CUBE, HALITE, "", "Na Cl", 4))
    assert kind == "wrong_z"
    assert "nothing of its symmetry" in message
    assert len(read_cif(cif(CUBE, HALITE, "", "Na Cl", 1)).site) == 2


def test_all_atoms_under_p1_operators_may_name_their_true_group():
    full = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6402), ["Na", "Cl"], [[0] * 3, [0.5] * 3]
    )
    atoms = [
        f"{s.specie}{k} {s.specie} " + " ".join(map(str, s.frac_coords)) + " 1"
        for k, s in enumerate(full)
    ]
    text = cif(CUBE, atoms, hm("F m -3 m", 225) + "\n" + operators("P 1"), "Na Cl", 4)
    assert len(read_cif(text).site) == 8


# Atoms, values, composition


def test_hydrogen_on_a_shared_site_and_deuterium_count():
    cell = (4.02, 4.02, 8.7, 90, 90, 90)
    atoms = ["O1 O 0.75 0.25 0 0.7", "D1 D 0.75 0.25 0 0.3", "Fe1 Fe 0.75 0.25 0.5 1"]
    crystal = read_cif(cif(cell, atoms, hm("P 4/n m m :2", 129), "Fe O0.7 H0.3"))
    assert sorted(set(crystal.atomic_numbers)) == [1, 8, 26]
    assert crystal.site[-1] + 1 == 4


@pytest.mark.parametrize(
    "symbol",
    ["OH", "OH2", "H2O", "Wat", "NO3", "NH4", "O-H", "PO4", "CO3", "NH4+", "OH-", "CO3-2", "SO42-"],
)
def test_groups_without_places_are_refused(symbol):
    atoms = ["Mg1 Mg 0 0 0 1", f"X1 {symbol} 0.5 0.5 0.5 1"]
    for formula in ("", "Mg O H", "Mg N O3", "Mg O"):
        assert reason(cif(CUBE, atoms, hm("P m -3 m"), formula))[0] == "missing_element"


@pytest.mark.parametrize(
    ("symbol", "formula", "number"),
    [("CO3+", "", 27), ("CO", "", 27), ("CO3", "Mg Co", 27), ("PB2+", "", 82), ("PO", "", 84)],
)
def test_symbols_in_capitals_that_are_no_groups(symbol, formula, number):
    atoms = ["Mg1 Mg 0 0 0 1", f"X1 {symbol} 0.5 0.5 0.5 1"]
    assert number in read_cif(cif(CUBE, atoms, hm("P m -3 m"), formula)).atomic_numbers


def test_attached_hydrogens_are_refused():
    atoms = ["Li1 Li 0 0 0 1 0", "O1 O 0.5 0.5 0.5 1 1"]
    text = cif(CUBE, atoms, hm("P m -3 m"), columns="_atom_site_attached_hydrogens")
    assert "O1" in reason(text)[1]


@pytest.mark.parametrize(
    ("formula", "z", "kind"),
    [
        ("Na Cl H", "", "missing_element"),
        ("Na", "", "missing_element"),
        ("Na Cl2", "", "wrong_composition"),
        ("Na Cl", 2, "wrong_z"),
        ("Na Cl", 0, "wrong_z"),
        ("Na Cl", "four", "wrong_z"),
    ],
)
def test_composition_that_differs_is_refused(formula, z, kind):
    text = cif(CUBE, HALITE, hm("F m -3 m"), formula, "0.0" if z == 0 else z)
    assert reason(text)[0] == kind


@pytest.mark.parametrize("formula", ["Ca0.5 Sr0.5 O", "O1.0 Ca.50 Sr.50", "Ca Sr O2", "", "?"])
def test_rounded_formulas_are_sound_and_occupancies_slightly_above_1_are_scaled(formula):
    atoms = ["Ca1 Ca 0 0 0 0.504", "Sr1 Sr 0 0 0 0.5", "O1 O 0.5 0.5 0.5 1"]
    crystal = read_cif(cif(CUBE, atoms, hm("F m -3 m"), formula))
    calcium = crystal.occupancies[crystal.atomic_numbers == 20]
    assert calcium == pytest.approx(0.504 / 1.004)


@pytest.mark.parametrize(
    ("atom", "kind", "word"),
    [
        ("Cl1 Cl 0.5 0.5 0.5 ?", "invalid_occupancy", "Cl1"),
        ("Cl1 Cl 0.5 0.5 0.5 full", "invalid_occupancy", "full"),
        ("Cl1 Cl 0.5 0.5 0.5 -0.5", "invalid_occupancy", "-0.5"),
        ("Cl1 Cl 0.5 0.5 0.5 0.5(2", "invalid_occupancy", "0.5(2"),
        ("Cl1 Cl 0.5 0.5 0.5 1.5", "invalid_occupancy", "1.5"),
        ("Cl1 Cl 0,5 0,5 0,5 1", "invalid_coordinates", "0,5"),
        ("Cl1 Cl ? ? ? 1", "invalid_coordinates", "Cl1"),
        ("Cl1 Cl . 0 0 1", "invalid_coordinates", "Cl1"),
        ("Cl1 Qq 0.5 0.5 0.5 1", "unknown_element", "Qq"),
        ("Na2 Na 0 0 0 1", "invalid_occupancy", "taken 2 times"),
    ],
)
def test_values_that_are_none_are_named(atom, kind, word):
    got, message = reason(cif(CUBE, [HALITE[0], atom], hm("F m -3 m")))
    assert got == kind
    assert word in message


def test_a_formula_that_cannot_be_read_is_not_compared():
    for formula in ("Qq2 O3", "x y z", "1.5", "Na. Cl"):
        assert len(read_cif(cif(CUBE, HALITE, hm("F m -3 m"), formula, 4)).site) == 8


def test_a_dot_is_full_and_empty_sites_are_passed_over():
    atoms = [
        "Na1 Na 0 0 0 .",
        "Cl1 Cl 0.5 0.5 0.5 1.00(2)",
        "K1 K 0.25 0.25 0.25 0",
        "V1 Vac 0.1 0 0 1",
    ]
    crystal = read_cif(cif(CUBE, atoms, hm("F m -3 m"), "Na Cl", 4))
    assert len(crystal.site) == 8
    assert reason(cif(CUBE, ["K1 K 0 0 0 0"], hm("F m -3 m")))[0] == "no_sites"


@pytest.mark.parametrize("value", ["0", "?", "-1", "5,64", "five", "5.6(1"])
def test_cell_lengths_that_are_none_are_named(value):
    kind, message = reason(cif((value, *CUBE[1:]), HALITE, hm("F m -3 m")))
    assert kind == "invalid_lattice"
    assert "_cell_length_a" in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("structures/halite.cif", "path"),
        ("<!DOCTYPE html><html></html>", "web page"),
        ("NaCl\n1.0\n5.6 0 0\n", "no data_ line"),
        ("data_x\nloop_\n_a\n_b\n1 2 3\n", "line 2"),
        ("data_x\n_title\n;never closed\n", "unterminated"),
    ],
)
def test_what_is_no_cif_is_called_what_it_is(text, word):
    kind, message = reason(text)
    assert kind == "unreadable_cif"
    assert word in message


def test_blocks():
    halite, copper = (
        cif(CUBE, HALITE, hm("F m -3 m")),
        cif((3.615,) * 3 + (90,) * 3, ["Cu1 Cu 0 0 0 1"], hm("F m -3 m")),
    )
    copper = copper.replace("data_x", "data_copper")
    words = "data_global\n_journal_year 2020\n\n"
    assert set(read_cif(words + copper).atomic_numbers) == {29}
    assert reason(halite + copper)[0] == "several_crystals"
    assert len(read_cif(halite + halite.replace("data_x", "data_y")).site) == 8
    layers = [cif((4, 4, 6, 90, 90, 90), [f"Na1 Na 0 0 {z} 1", "Cl1 Cl 0.5 0.5 0.5 1"],
                  hm("P 4 m m")) for z in (0, 0.3)]  # fmt: skip
    assert reason(layers[0] + layers[1].replace("data_x", "data_y"))[0] == "several_crystals"
    unknown = halite.replace("0.5 0.5 0.5", "? ? ?")
    assert reason(unknown + copper)[0] == "invalid_coordinates"
    empty = cif(CUBE, ["Na1 Na 0 0 0 0"], hm("F m -3 m"))
    assert reason(empty + copper)[0] == "no_sites"
    assert reason(words)[0] == "no_sites"
