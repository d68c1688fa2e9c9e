"""The embedded data set is what its card says, and goes through the same door as any other."""

import csv
import io
import lzma
import re
from collections import Counter
from importlib import resources
from itertools import islice

import numpy as np
import pytest

from xxact.data.cif.reader import read_pymatgen_p1
from xxact.data.prepare import prepare
from xxact.data.targets import CRYSTAL_SYSTEMS

FOLDER = resources.files("xxact.data") / "mini"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare("mini", [], tmp_path_factory.mktemp("mini") / "mini", workers=2).store


@pytest.fixture(scope="module")
def rows():
    text = lzma.decompress((FOLDER / "mini.csv.xz").read_bytes()).decode()
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def counts():
    """Name -> count of every table of the card that has shares."""
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| (\w[\w ]*) \| ([\d,]+) \| [\d.]+ % \|$", card, re.MULTILINE)
    return {name: int(n.replace(",", "")) for name, n in found}


def test_mini_is_prepared_from_the_package(store, rows):
    assert (store.name, store.has_xrd) == ("mini", True)
    assert store.n == len(rows) == 19_214
    assert store.manifest["failures"] == {}
    assert {"formation_energy_per_atom", "band_gap"} <= set(store.targets)
    sources = np.array(store.targets["energy_source"].classes)[store.values("energy_source")]
    assert Counter(sources) == Counter(row["energy_source"] for row in rows)
    assert np.isfinite(store.values("formation_energy_per_atom")).all()


def test_every_formula_has_polymorphs(store, rows):
    assert min(Counter(row["pretty_formula"] for row in rows).values()) == 2
    assert min(np.unique(store.formula_keys(), return_counts=True)[1]) >= 2
    assert max(int(row["nsites"]) for row in rows) <= 20


def test_the_package_stays_small():
    size = sum(f.stat().st_size for f in FOLDER.iterdir() if f.is_file())
    assert 500_000 <= size <= 2_500_000


def test_crystals_are_read_quickly(rows):
    assert all(read_pymatgen_p1(row["cif"]) is not None for row in rows[::20])


def test_rows_are_those_of_the_source(test_data, rows):
    with lzma.open(test_data / "mp_2025.csv.xz", "rt", newline="") as stream:
        source = {row["material_id"]: row for row in islice(csv.DictReader(stream), 9000)}
    shared = [row for row in rows if row["material_id"] in source]
    assert len(shared) > 1000
    assert all(row == source[row["material_id"]] for row in shared)


def test_the_card_states_the_counts(store, counts):
    splits = {name: n for name, n in store.manifest["splits"].items() if n}
    assert {name: counts[name] for name in splits} == splits
    systems = Counter(CRYSTAL_SYSTEMS[k] for k in store.values("crystal_system"))
    assert {name: counts[name] for name in systems} == systems


def test_the_card_states_the_sources(rows, counts):
    energies = Counter(row["energy_source"] for row in rows)
    for source in ("anchored_sibling", "anchored_matbench_min"):
        assert counts[source] == energies[source]
