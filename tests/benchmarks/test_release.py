"""Synthetic releases: deterministic, in Alexandria's format, of crystals that can all be stored."""

import bz2
import json

import numpy as np
import pytest
import release
from pymatgen.core import Structure

from xxact.data.prepare import prepare

N = 40


def test_an_entry_depends_on_seed_and_number_alone():
    assert release.entry(7, 0) == release.entry(7, 0)
    assert release.entry(7, 0) != release.entry(8, 0)
    assert release.entry(7, 0)["structure"] != release.entry(7, 1)["structure"]


@pytest.mark.parametrize("n", [N, N - 13])
def test_blocks_make_one_file(n):
    """Blocks are bzip2 streams of their own; one after the other they are one JSON text."""
    blocks = [(first, min(n, first + 16)) for first in range(0, n, 16)]
    content = b"".join(release.compressed_block(a, b, 0, n, 3) for a, b in blocks)
    entries = json.loads(bz2.decompress(content))["entries"]
    assert entries == [json.loads(json.dumps(release.entry(k, 3))) for k in range(n)]


def test_files_hold_their_share_of_the_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "PER_FILE", 5)
    files = release.write_release(tmp_path, 12, seed=1)
    found = [json.loads(bz2.decompress(file.read_bytes()))["entries"] for file in files]
    assert [len(entries) for entries in found] == [5, 5, 2]
    names = [entry["data"]["mat_id"] for entries in found for entry in entries]
    assert names == [f"agm001{k:09d}" for k in range(12)]


def test_entries_have_the_keys_of_real_ones(test_data):
    real = json.loads(bz2.decompress((test_data / "alexandria_sample.json.bz2").read_bytes()))[3]
    made = release.entry(0, 0)
    assert _keys(made) == _keys(real)


def _keys(value: object) -> object:
    """Names of dictionaries, however deep; compositions and lists by their first element."""
    if isinstance(value, dict):
        return {k: _keys(v) for k, v in value.items() if k != "composition"}
    return [_keys(value[0])] if isinstance(value, list) and value else None


def test_every_entry_is_stored_with_the_symmetry_of_its_parent(tmp_path):
    content = release.compressed_block(0, N, 0, N, 0)
    file = tmp_path / "a.json.bz2"
    file.write_bytes(content)
    store = prepare("alexandria", [file], tmp_path / "store").store
    assert store.n == N
    assert (store.column("space_group") == store.column("source_space_group")).all()
    first = json.loads(bz2.decompress(content))["entries"][0]
    structure = Structure.from_dict(first["structure"])
    assert structure.is_valid()
    lattice = first["structure"]["lattice"]
    expected = structure.lattice.parameters
    keys = ("a", "b", "c", "alpha", "beta", "gamma")
    np.testing.assert_allclose([lattice[key] for key in keys], expected, atol=1e-6)
    np.testing.assert_allclose(
        [site["xyz"] for site in first["structure"]["sites"]], structure.cart_coords, atol=1e-6
    )
