"""Fixtures that every part of the test suite shares."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real data to test on; skips where it is absent."""
    path = Path(os.environ.get("XXACT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no test data in {path} (set XXACT_TEST_DATA)")
    return path


#: Structure types of the tiny data set: space group, sites and the ratio of volumes.
_TYPES = {
    "rocksalt": ("Fm-3m", ["A", "X"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "caesium chloride": ("Pm-3m", ["A", "X"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "wurtzite": ("P6_3mc", ["A", "X"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.375]]),
    "litharge": ("P4/nmm", ["A", "X"], [[0, 0.5, 0.24], [0, 0, 0]]),
}


def _tiny_rows():
    """240 AX crystals in four structure types; the energy is a formula of elements and type."""
    from pymatgen.core import Element, Lattice, Structure

    cations = ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd")
    anions = ("F", "Cl", "Br", "O", "S", "Se")
    for kind, (name, (group, symbols, coordinates)) in enumerate(_TYPES.items()):
        for a in cations:
            for x in anions:
                edge = 2.2 + Element(a).atomic_radius + Element(x).atomic_radius
                lattice = {
                    "wurtzite": Lattice.hexagonal(0.8 * edge, 1.3 * edge),
                    "litharge": Lattice.tetragonal(0.9 * edge, 1.1 * edge),
                }.get(name, Lattice.cubic(edge if name == "rocksalt" else 0.75 * edge))
                species = [{"A": a, "X": x}[symbol] for symbol in symbols]
                structure = Structure.from_spacegroup(group, lattice, species, coordinates)
                yield {
                    "material_id": f"{a}{x}-{kind}",
                    "formation_energy_per_atom": Element(a).X - Element(x).X + 0.1 * kind,
                    "band_gap": Element(x).X - Element(a).X,
                    "cif": structure.to(fmt="cif"),
                }


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """Folder of a prepared store of 240 made-up crystals."""
    import pandas as pd

    from xxact.data.prepare import prepare

    folder = tmp_path_factory.mktemp("tiny")
    pd.DataFrame(_tiny_rows()).to_csv(folder / "tiny.csv", index=False)
    prepare("csv", [folder / "tiny.csv"], folder / "store", name="tiny")
    return folder / "store"


@pytest.fixture(scope="session")
def tiny_store(tiny_data):
    """The store in `tiny_data`, open."""
    from xxact.data import open_store

    return open_store(tiny_data)
