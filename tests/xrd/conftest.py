"""Crystals, real and made by hand, and the slow references that the compiled code is held against.

XXACT_TEST_CRYSTALS=2000 pytest tests/xrd checks that many real crystals instead of a sample
(about ten minutes; the largest differences are printed with -s).
"""

import os
import warnings

import numpy as np
import pandas as pd
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from xxact.xrd.grid import two_theta_grid

SAMPLE = int(os.environ.get("XXACT_TEST_CRYSTALS", "140"))
LAST_GROUP_OF_SYSTEM = [0, 2, 15, 74, 142, 167, 194, 230]


@pytest.fixture(scope="session")
def crystals(test_data) -> dict[str, Structure]:
    """Real crystals by id: equally many of each system, some of one site and one of 200."""
    table = pd.read_csv(test_data / "mp_structures.csv.xz")
    system = pd.cut(table["spacegroup.number"], LAST_GROUP_OF_SYSTEM, labels=False)
    chosen = [table[table.nsites == 1].head(2), table[table.nsites == table.nsites.max()].head(1)]
    for _, group in table.groupby(system):
        chosen.append(group.sample(min(SAMPLE // 7, len(group)), random_state=0))
    chosen = pd.concat(chosen).drop_duplicates("material_id")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            row.material_id: Structure.from_str(row.cif, fmt="cif") for row in chosen.itertuples()
        }


@pytest.fixture(scope="session")
def few_crystals(crystals) -> dict[str, Structure]:
    """A quarter of the sample, for what pymatgen needs long for; all if a sample size was given."""
    step = 1 if "XXACT_TEST_CRYSTALS" in os.environ else 4
    return dict(list(crystals.items())[::step])


@pytest.fixture(scope="session")
def reference():
    """pymatgen's sticks of a structure, the strongest 100: two_theta (R,), intensity (R,)."""

    def sticks(structure, wavelength="CuKa", two_theta_range=(5, 90), **options):
        calculator = XRDCalculator(wavelength, **options)
        return calculator.get_pattern(structure, two_theta_range=two_theta_range)

    return sticks


@pytest.fixture(scope="session")
def direct_sum():
    """The pattern as its definition says, in NumPy: (4250,) float64, its maximum is 100."""

    def smear(two_theta, intensity, sigma=0.1):
        distance = (two_theta_grid() - np.asarray(two_theta)[:, None]) / sigma  # (R, 4250)
        pattern = (np.asarray(intensity)[:, None] * np.exp(-0.5 * distance**2)).sum(axis=0)
        return pattern * (100 / pattern.max())

    return smear


@pytest.fixture(scope="session")
def handmade() -> dict[str, Structure]:
    """Crystals that need no data: cubic, hexagonal, triclinic, disordered, and one atom alone."""
    group = Structure.from_spacegroup
    return {
        "NaCl": group("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "CsCl": group("Pm-3m", Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "Cu": group("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]]),
        "Po": Structure(Lattice.cubic(3.359), ["Po"], [[0, 0, 0]]),
        "ZnO": group(
            "P6_3mc",
            Lattice.hexagonal(3.25, 5.207),
            ["Zn", "O"],
            [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]],
        ),
        "triclinic": Structure(
            Lattice.from_parameters(4.1, 5.3, 7.7, 81, 97, 113),
            ["Ca", "Fe2+", "O2-"],
            [[0.01, 0.02, 0.03], [-0.3, 1.4, 0.52], [0.71, 0.33, 7.9]],
        ),
        "disordered": Structure(
            Lattice.tetragonal(3.9, 4.4),
            [{"Cu": 0.5, "Au": 0.3}, {"O": 0.9}, "Ba"],
            [[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0, 0.6]],
        ),
    }
