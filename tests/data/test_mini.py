"""The embedded data set is what its card says, and goes through the same door as any other."""

import csv
import io
import lzma
import re
from collections import Counter
from importlib import resources

import numpy as np
import pytest
from pymatgen.core import Composition, Element

from xxact.data.prepare import prepare
from xxact.data.targets import CRYSTAL_SYSTEMS, crystal_system_index

FOLDER = resources.files("xxact.data") / "mini"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare("mini", [], tmp_path_factory.mktemp("mini") / "mini", workers=1).store


@pytest.fixture(scope="module")
def rows():
    text = lzma.decompress((FOLDER / "mini.csv.xz").read_bytes()).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_mini_is_prepared_from_the_package(store, rows):
    assert (store.name, store.has_xrd) == ("mini", True)
    assert store.n == len(rows)
    assert store.manifest["failures"] == {}
    assert {"formation_energy_per_atom", "bulk_modulus"} <= set(store.targets)
    assert store.targets["bulk_modulus"].unit == "GPa"
    assert min(store.manifest["splits"].values()) > 0.03 * store.n


def test_space_groups_of_the_store_are_those_of_the_table(store, rows):
    stated = np.array([int(row["spacegroup.number"]) for row in rows])
    assert (store.column("source_space_group") == stated).all()
    assert (store.column("space_group") == stated).mean() > 0.995


def test_mini_is_large_and_varied_enough(rows):
    assert 4900 <= len(rows) <= 5200
    assert len({row["prototype"] for row in rows}) >= 150
    numbers = np.array([int(row["spacegroup.number"]) for row in rows])
    shares = np.bincount(crystal_system_index(numbers), minlength=7) / len(rows)
    assert len(shares) == len(CRYSTAL_SYSTEMS)
    assert shares.min() >= 0.05
    formulas = Counter(row["formula"] for row in rows)
    assert sum(n > 1 for n in formulas.values()) >= len(formulas) / 3
    assert sum(f.stat().st_size for f in FOLDER.iterdir() if f.is_file()) <= 5_000_000


def test_mini_holds_metals_and_ionic_compounds(rows):
    formers = [Element(e) for e in ("F", "Cl", "Br", "I", "O", "S", "Se", "N")]
    elements = [Composition(row["formula"]).elements for row in rows]
    assert np.mean([all(e.is_metal for e in found) for found in elements]) > 0.2
    assert np.mean([any(e in formers for e in found) for found in elements]) > 0.3


def test_the_card_states_the_counts_of_the_table(rows):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"\n{len(rows)} hypothetical and known crystals" in card
    counts = Counter(
        CRYSTAL_SYSTEMS[i]
        for i in crystal_system_index(np.array([int(r["spacegroup.number"]) for r in rows]))
    )
    stated = dict(re.findall(r"^\| (\w+) \| (\d+) \| [\d.]+ % \|$", card, re.MULTILINE))
    assert {name: int(n) for name, n in stated.items()} == counts
