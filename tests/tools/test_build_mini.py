"""The parts of the build of `mini` that need no potential."""

import lzma

import numpy as np
import pytest
from mini.candidates import similar_elements
from mini.finish import COLUMNS, collect, refusal, write_csv
from mini.potential import Evaluation
from mini.prototypes import crystal_system, guess_volume, role_order
from mini.relax import (
    GPA,
    Rejected,
    SymmetricSpace,
    check_distances,
    dataset_of,
    equation_of_state,
    fit_birch_murnaghan,
    relax,
    run_in_step,
)
from pymatgen.core import Lattice, Structure

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.9, 3.1), ["Ti", "O"], [[0, 0, 0], [0.32, 0.32, 0]]
)


class PairPotential:
    """Unlike atoms attract (Morse), like atoms repel; with the gradients that `relax` needs."""

    length, width, reach = 2.0, 1.5, 6.0

    def evaluate(self, structures, gradients=True):
        return [self._evaluate(structure) for structure in structures]

    def _evaluate(self, structure):
        centre, neighbour, image, distance = structure.get_neighbor_list(self.reach)
        decay = np.exp(-self.width * (distance - self.length))
        numbers = np.array(structure.atomic_numbers)
        unlike = numbers[centre] != numbers[neighbour]
        energy = 0.5 * (decay**2 - 2 * decay * unlike).sum()
        slope = -self.width * (decay**2 - decay * unlike)  # half of dE/dr: pairs occur twice
        frac = structure.frac_coords[neighbour] + image - structure.frac_coords[centre]
        vector = frac @ structure.lattice.matrix
        force = slope[:, None] * vector / distance[:, None]
        positions = np.zeros((len(structure), 3))
        np.add.at(positions, neighbour, force)
        np.add.at(positions, centre, -force)
        return Evaluation(energy, positions, vector.T @ force)


def run(task):
    """What one generator returns with the pair potential."""
    ((_, result),) = run_in_step([("one", task)], PairPotential(), 2)
    return result


def test_symmetric_space_of_rutile_is_two_strains_and_one_displacement():
    space = SymmetricSpace(RUTILE)
    assert (len(space.strains), len(space.shifts)) == (2, 1)
    moved = space.at(np.array([0.3, -0.2, 0.4]))
    assert dataset_of(moved, 1e-4).number == 136
    assert abs(moved.volume / RUTILE.volume - 1) > 1e-3


def test_gradient_of_the_symmetric_space_is_that_of_the_energy():
    space, potential = SymmetricSpace(RUTILE), PairPotential()
    point = np.array([0.3, -0.2, 0.4])
    (here,) = potential.evaluate([space.at(point)])
    nudges = 1e-4 * np.eye(space.size)
    pairs = [potential.evaluate([space.at(point + d), space.at(point - d)]) for d in nudges]
    numeric = [(up.energy - down.energy) / 2e-4 for up, down in pairs]
    # The cutoff of the pair potential leaves steps of 1e-4 eV.
    np.testing.assert_allclose(space.gradient(point, here), numeric, rtol=0.02, atol=0.05)


def test_relaxation_keeps_the_symmetry_and_ends_without_force():
    relaxed, energy, _ = run(relax(RUTILE))
    (end,) = PairPotential().evaluate([relaxed])
    assert dataset_of(relaxed, 1e-3).number == 136
    assert end.energy == pytest.approx(energy)
    assert np.abs(end.position_gradient).max() < 0.05
    assert np.abs(end.strain_gradient).max() / relaxed.volume * GPA < 0.3


def test_relaxation_gives_up_on_sites_that_coincide():
    close = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.05, 0.05, 0.05]])
    assert str(run(relax(close))) == "atoms too close"
    with pytest.raises(Rejected, match="too close"):
        check_distances(close)


def test_birch_murnaghan_fit_gives_back_its_parameters():
    volume, energy, modulus, slope = 40.0, -7.0, 90.0, 4.6
    volumes = np.linspace(0.94, 1.06, 7) * 41
    x = (volume / volumes) ** (2 / 3)
    bent = (x - 1) ** 3 * slope + (x - 1) ** 2 * (6 - 4 * x)
    fit = fit_birch_murnaghan(volumes, energy + 9 * volume * modulus / GPA / 16 * bent)
    assert fit.volume == pytest.approx(volume)
    assert fit.energy == pytest.approx(energy)
    assert fit.bulk_modulus == pytest.approx(modulus)
    assert fit.residual < 1e-9
    assert fit_birch_murnaghan(volumes, volumes) is None


def test_curve_is_taken_again_until_its_minimum_is_bracketed():
    relaxed, _, _ = run(relax(RUTILE))
    swollen = relaxed.copy()
    swollen.scale_lattice(relaxed.volume * 1.08)
    final, _ = run(equation_of_state(swollen))
    assert final.volume == pytest.approx(relaxed.volume, rel=0.01)
    swollen.scale_lattice(relaxed.volume * 1.6)
    assert "bracketed" in str(run(equation_of_state(swollen)))


def test_roles_go_by_number_then_metals_by_radius_then_nonmetals():
    assert role_order({"O": 3, "Ti": 1, "Sr": 1}) == ("Sr", "Ti", "O")
    assert role_order({"F": 1, "Bi": 1, "O": 1}) == ("Bi", "O", "F")
    assert role_order({"Na": 2, "S": 1}) == ("S", "Na")


def test_similar_elements_share_a_column_or_are_neighbours_in_the_d_block():
    assert similar_elements("Cl") == ["Br", "Cl", "F", "I"]
    assert {"Ti", "Zr", "Hf", "V"} <= set(similar_elements("Ti"))
    assert "La" in similar_elements("U")


def test_volume_guess_puts_neighbours_at_their_radii():
    cell = Lattice.from_parameters(6, 6, 6, 60, 60, 60)
    salt = guess_volume(Structure(cell, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert salt.get_distance(0, 1) == pytest.approx(1.02 * (1.8 + 1.0))


@pytest.mark.parametrize(
    ("number", "system"),
    [(1, "triclinic"), (15, "monoclinic"), (16, "orthorhombic"), (167, "trigonal"), (225, "cubic")],
)
def test_crystal_system(number, system):
    assert crystal_system(number) == system


def record(number, energy=-4.0, **changes):
    return {
        "id": f"mini-{number:05d}", "prototype": "AB_cF8_225_a_b/NaCl/Halite", "energy": energy,
        "bulk_modulus": 25.0, "volume": 22.0, "spacegroup": 225, "species": ["Na", "Cl"],
        "lattice": [[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]],
        "frac": [[0, 0, 0], [0.5, 0.5, 0.5]],
    } | changes  # fmt: skip


def test_collect_counts_what_it_leaves_out():
    records = [
        record(1),
        record(2, energy=-4.0005),
        record(3, energy=-3.9),
        record(4, energy=9.0),
        record(5, bulk_modulus=900.0),
        {"id": "mini-00006", "prototype": "p", "rejected": "symmetry changed"},
    ]
    result = collect({r["id"]: r for r in records}, {"Na": -1.0, "Cl": -2.0})
    assert [row["material_id"] for row in result.rows] == ["mini-00001", "mini-00003"]
    assert result.rows[0]["formation_energy_per_atom"] == pytest.approx(-2.5)
    assert result.rows[0]["prototype"] == "AB_cF8_225_a_b"
    assert result.tried == 6
    assert sum(result.rejected.values()) == 4
    assert result.rejected["duplicate"] == 1
    assert "bulk modulus" in refusal(result.rows[0] | {"bulk_modulus": 900.0})


def test_the_table_is_written_the_same_way_each_time(tmp_path):
    rows = collect({"a": record(1)}, {"Na": -1.0, "Cl": -2.0}).rows
    rows[0]["cif"] = rows[0].pop("structure").to(fmt="cif")
    paths = [tmp_path / "one.xz", tmp_path / "two.xz"]
    for path in paths:
        write_csv(rows, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    head, first = lzma.decompress(paths[0].read_bytes()).decode().splitlines()[:2]
    assert head == ",".join(COLUMNS)
    assert first.startswith("mini-00001,NaCl,AB_cF8_225_a_b,-2.50000,25.00,225,2,22.0000,")
