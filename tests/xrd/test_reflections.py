"""The reflection engine against pymatgen's XRDCalculator and against crystallography itself."""

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import WAVELENGTHS
from pymatgen.core import DummySpecies, Lattice, Structure

from xxact.errors import UserError
from xxact.xrd import Crystal, CrystalError
from xxact.xrd.reflections import WAVELENGTHS_ANGSTROM, check_distances, reflections

POSITION_TOLERANCE_DEG = 1e-4
INTENSITY_TOLERANCE = 0.1  # 1e-3 of the strongest, which is 100


def largest_differences(ours, theirs) -> tuple[float, float]:
    """Largest difference in degrees (if the reflections pair up) and in intensity on [0, 100].

    Intensities are added where positions agree to 1e-4 degrees, so that two reflections that one
    side merges and the other does not are no difference.
    """
    position = np.concatenate([ours.two_theta, theirs.x])
    signed = np.concatenate([ours.intensity, -np.asarray(theirs.y)])
    order = np.argsort(position)
    place = np.cumsum(np.diff(position[order], prepend=0) > POSITION_TOLERANCE_DEG)
    intensity = np.abs(np.bincount(place, weights=signed[order])).max()
    if len(ours) != len(theirs.x):
        return 0.0, intensity
    return np.abs(ours.two_theta - theirs.x).max(), intensity


def assert_same(ours, theirs):
    position, intensity = largest_differences(ours, theirs)
    assert position < POSITION_TOLERANCE_DEG
    assert intensity < INTENSITY_TOLERANCE


def test_real_crystals_equal_pymatgen(few_crystals, reference):
    worst = {
        name: largest_differences(reflections(structure), reference(structure))
        for name, structure in few_crystals.items()
    }
    position = max(worst, key=lambda name: worst[name][0])
    intensity = max(worst, key=lambda name: worst[name][1])
    print(
        f"\n{len(worst)} crystals: largest difference {worst[position][0]:.1e} deg ({position}), "
        f"{worst[intensity][1]:.1e} of 100 ({intensity})"
    )
    assert worst[position][0] < POSITION_TOLERANCE_DEG
    assert worst[intensity][1] < INTENSITY_TOLERANCE


@pytest.mark.parametrize("wavelength", ["CuKa", "MoKa", "CrKa", 2.5])
def test_handmade_crystals_equal_pymatgen_at_any_wavelength(handmade, reference, wavelength):
    for structure in handmade.values():
        assert_same(reflections(structure, wavelength), reference(structure, wavelength))


def test_a_wide_range_of_angles_equals_pymatgen(handmade, reference):
    for structure in handmade.values():
        ours = reflections(structure, two_theta_range=(0, 160))
        assert_same(ours, reference(structure, two_theta_range=(0, 160)))


def test_named_wavelengths_are_those_of_pymatgen():
    assert WAVELENGTHS_ANGSTROM == WAVELENGTHS


def test_rock_salt_obeys_bragg_and_its_extinctions(handmade):
    found = reflections(handmade["NaCl"], with_hkl=True)
    index_sums = [3, 4, 8, 11, 12, 16, 19, 20, 24]  # h, k, l all even or all odd
    expected = 2 * np.degrees(np.arcsin(1.54184 * np.sqrt(index_sums) / 2 / 5.64))
    np.testing.assert_allclose(found.two_theta, expected, atol=1e-9)
    assert found.hkl[:4] == [((1, 1, 1),), ((2, 0, 0),), ((2, 2, 0),), ((3, 1, 1),)]
    assert found.multiplicity[:4] == [(8,), (6,), (12,), (24,)]
    coinciding = reflections(handmade["NaCl"], "MoKa", with_hkl=True)
    families = dict(zip(coinciding.hkl[9], coinciding.multiplicity[9], strict=True))
    assert families == {(3, 3, 3): 8, (5, 1, 1): 24}


def test_hkl_and_multiplicities_equal_pymatgen(handmade, reference):
    for structure in handmade.values():
        ours, theirs = reflections(structure, with_hkl=True), reference(structure)
        assert len(ours) == len(theirs.x)
        for hkl, multiplicity, families in zip(
            ours.hkl, ours.multiplicity, theirs.hkls, strict=True
        ):
            found = dict(zip(hkl, multiplicity, strict=True))
            expected = {
                (*family["hkl"][:2], family["hkl"][-1]): family["multiplicity"]
                for family in families
            }
            assert found == expected


@pytest.mark.parametrize(
    "matrix",
    [
        [[2, 1, 0], [0, 1, 3], [1, 0, 5]],
        [[1, 20, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [7, 1, 0], [-9, 11, 1]],
        [[3, 0, 0], [0, 3, 0], [0, 0, 6]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 1]],  # left-handed
    ],
)
def test_skewed_and_larger_cells_of_copper_are_copper(handmade, matrix):
    small = reflections(handmade["Cu"])
    large = reflections(handmade["Cu"].make_supercell(matrix, in_place=False, to_unit_cell=False))
    np.testing.assert_allclose(large.two_theta, small.two_theta, atol=1e-6)
    np.testing.assert_allclose(large.intensity, small.intensity, atol=1e-6)


def test_a_skewed_triclinic_cell_equals_pymatgen_on_the_plain_one(handmade, reference):
    skewed = handmade["triclinic"].make_supercell(
        [[1, 0, 0], [4, 1, 0], [-5, 3, 1]], in_place=False, to_unit_cell=False
    )
    assert_same(reflections(skewed), reference(handmade["triclinic"]))


def test_origin_orientation_and_order_of_atoms_do_not_matter(handmade):
    crystal = Crystal.from_structure(handmade["triclinic"])
    expected = reflections(crystal)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    moved = Crystal(
        crystal.lattice @ turn,
        crystal.frac_coords[::-1] + np.array([0.123, -4.56, 0.7]),
        crystal.atomic_numbers[::-1],
    )
    found = reflections(moved)
    np.testing.assert_allclose(found.two_theta, expected.two_theta, atol=1e-9)
    np.testing.assert_allclose(found.intensity, expected.intensity, atol=1e-8)


def test_the_same_input_gives_the_same_bits(handmade):
    for structure in handmade.values():
        one, two = reflections(structure), reflections(structure.copy())
        assert one.two_theta.tobytes() == two.two_theta.tobytes()
        assert one.intensity.tobytes() == two.intensity.tobytes()


def test_arrays_and_structure_are_the_same_crystal(handmade):
    structure = handmade["triclinic"]
    numbers = [site.specie.Z for site in structure]
    crystal = Crystal(structure.lattice.matrix, structure.frac_coords, numbers)
    np.testing.assert_array_equal(reflections(crystal).intensity, reflections(structure).intensity)


def test_debye_waller_factors_equal_pymatgen(handmade, reference):
    factors = {"Na": 1.7, "Cl": 2.9}
    ours = reflections(handmade["NaCl"], debye_waller_factors=factors)
    assert_same(ours, reference(handmade["NaCl"], debye_waller_factors=factors))
    by_number = reflections(handmade["NaCl"], debye_waller_factors={11: 1.7, 17: 2.9})
    np.testing.assert_array_equal(by_number.intensity, ours.intensity)
    assert not np.allclose(ours.intensity, reflections(handmade["NaCl"]).intensity, atol=1)


def with_displacements(structure, u_cif):
    keys = ["U11_cif", "U22_cif", "U33_cif", "U23_cif", "U13_cif", "U12_cif"]
    columns = np.asarray(u_cif).T.tolist()
    return structure.copy(site_properties=dict(zip(keys, columns, strict=True)))


def test_anisotropic_displacements_equal_pymatgen(handmade, reference):
    u_cif = [
        [0.03, 0.05, 0.01, 0.004, -0.006, 0.01],
        [0.02, 0.01, 0.04, -0.003, 0.002, 0.001],
        [0.06, 0.05, 0.07, 0.01, 0.02, -0.01],
    ]
    structure = with_displacements(handmade["triclinic"], u_cif)
    assert_same(reflections(structure), reference(structure))


def test_an_isotropic_displacement_is_a_debye_waller_factor(handmade):
    u = 0.02  # square angstrom; B = 8 pi^2 U
    structure = with_displacements(handmade["CsCl"], [[u, u, u, 0, 0, 0]] * 2)
    b = 8 * np.pi**2 * u
    expected = reflections(handmade["CsCl"], debye_waller_factors={"Cs": b, "Cl": b})
    np.testing.assert_allclose(reflections(structure).intensity, expected.intensity, atol=1e-9)


def test_an_incomplete_displacement_is_refused(handmade):
    structure = with_displacements(handmade["CsCl"], [[0.1, 0.1, 0.1, 0, 0, 0], [None] * 6])
    with pytest.raises(CrystalError, match="U11_cif") as caught:
        reflections(structure)
    assert caught.value.reason == "invalid_displacement"


def test_a_vacancy_weakens_all_lines_alike(handmade):
    whole = reflections(handmade["Po"])
    half = reflections(Structure(Lattice.cubic(3.359), [{"Po": 0.5}], [[0, 0, 0]]))
    np.testing.assert_allclose(half.intensity, whole.intensity, atol=1e-9)


def failure(structure, **options) -> CrystalError:
    with pytest.raises(CrystalError) as caught:
        reflections(structure, **options)
    return caught.value


def test_an_element_without_scattering_factors_is_named():
    error = failure(Structure(Lattice.cubic(5), ["Es", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert error.reason == "no_scattering_factors"
    assert "Es (Z = 99)" in str(error)
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)


def test_what_is_no_element_is_named():
    error = failure(Structure(Lattice.cubic(5), [DummySpecies("Xa")], [[0, 0, 0]]))
    assert error.reason == "unknown_element"
    assert "Xa" in str(error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_not_finite_are_refused(value):
    with pytest.raises(CrystalError, match="atom 1") as caught:
        Crystal(np.eye(3) * 4, [[0, 0, 0], [0.5, value, 0.5]], [29, 29])
    assert caught.value.reason == "invalid_coordinates"


@pytest.mark.parametrize(
    "lattice",
    [
        np.zeros((3, 3)),
        np.full((3, 3), np.nan),
        [[1, 0, 0], [0, 1, 0], [1, 1, 0]],
        [[4, 0, 0], [0, np.inf, 0], [0, 0, 4]],
        np.eye(2),
    ],
)
def test_a_lattice_that_spans_no_cell_is_refused(lattice):
    with pytest.raises(CrystalError) as caught:
        Crystal(lattice, [[0, 0, 0]], [29])
    assert caught.value.reason == "invalid_lattice"


@pytest.mark.parametrize("occupancy", [-0.1, 1.5, np.nan])
def test_an_impossible_occupancy_is_refused(occupancy):
    with pytest.raises(CrystalError) as caught:
        Crystal(np.eye(3) * 4, [[0, 0, 0]], [29], [occupancy])
    assert caught.value.reason == "invalid_occupancy"


def test_an_empty_crystal_is_refused():
    with pytest.raises(CrystalError) as caught:
        Crystal(np.eye(3) * 4, np.empty((0, 3)), [])
    assert caught.value.reason == "no_sites"


def test_overlapping_atoms_are_found_across_the_cell_border_and_in_skewed_cells():
    lattice = np.array([[4.0, 0, 0], [37.9, 4, 0], [-11.5, 9.6, 4]])
    atoms = Crystal(lattice, [[0.02, 0.01, 0.5], [0.98, 0.01, 0.5]], [11, 17])
    error = failure(atoms)
    assert error.reason == "overlapping_atoms"
    assert "0.160" in str(error)
    assert len(reflections(atoms, min_distance=None)) > 0
    check_distances(atoms, 0.15)


def test_overlaps_are_found_as_by_brute_force():
    rng = np.random.default_rng(1)
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3)
    outcomes = []
    for _ in range(100):
        lattice = 1.5 * np.eye(3) + rng.uniform(-0.5, 0.5, (3, 3))
        crystal = Crystal(lattice, rng.uniform(-1, 1, (2, 3)), [1, 1])
        apart = crystal.frac_coords[1] - crystal.frac_coords[0]
        clash = np.linalg.norm((apart + images) @ lattice, axis=1).min() < 0.5
        outcomes.append(clash)
        try:
            check_distances(crystal, 0.5)
            assert not clash
        except CrystalError:
            assert clash
    assert 5 < sum(outcomes) < 95


def test_half_occupied_sites_may_be_close():
    structure = Structure(
        Lattice.cubic(4), [{"Cu": 0.5}, {"Cu": 0.5}], [[0, 0, 0.02], [0, 0, -0.02]]
    )
    assert len(reflections(structure)) > 0


def test_no_reflection_in_range_is_said(handmade):
    error = failure(handmade["Cu"], two_theta_range=(5.0, 6.0))
    assert error.reason == "no_reflection"
    assert "between 5 and 6 degrees" in str(error)


def test_a_cell_beyond_memory_is_refused():
    assert failure(Crystal(np.eye(3) * 1e4, [[0, 0, 0]], [29])).reason == "cell_too_large"


@pytest.mark.parametrize(
    "options",
    [
        {"wavelength": "CuKalpha"},
        {"wavelength": -1.0},
        {"wavelength": float("nan")},
        {"two_theta_range": (10, 5)},
        {"two_theta_range": (5, 180)},
        {"two_theta_range": 90},
        {"two_theta_range": ("5", 90)},
        {"two_theta_range": (5, 90, 120)},
        {"two_theta_range": (None, 90)},
        {"debye_waller_factors": {"Xx": 1.0}},
    ],
)
def test_senseless_options_are_refused(handmade, options):
    with pytest.raises(UserError):
        reflections(handmade["Cu"], **options)
