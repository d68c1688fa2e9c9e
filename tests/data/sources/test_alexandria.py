"""Alexandria's files: both shapes, broken ones, and the same crystals as pymatgen reads."""

import bz2
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from xxact.cli import main
from xxact.data.prepare import prepare
from xxact.data.sources.arguments import parse_columns
from xxact.data.sources.json_entries import object_end
from xxact.data.sources.json_files import alexandria_source
from xxact.data.sources.json_structure import crystal_from_dict
from xxact.data.sources.source import Columns, Input
from xxact.data.store import open_store
from xxact.errors import UserError


def entry(k: int) -> dict:
    """A CsCl-like crystal as a `ComputedStructureEntry` dictionary, with awkward strings."""
    a = 4.0 + 0.01 * k
    sites = [
        {"species": [{"element": e, "occu": 1}], "abc": [x, x, x], "label": e, "properties": {}}
        for e, x in (("Cs", 0.0), ("Cl", 0.5))
    ]
    return {
        "@module": "pymatgen.entries.computed_entries",
        "@class": "ComputedStructureEntry",
        "energy": -6.0,
        "composition": {"Cs": 1.0, "Cl": 1.0},
        "energy_adjustments": [{"@module": "x", "value": 0.0}, {"@module": "y", "value": 0.0}],
        "data": {
            "mat_id": f"agm{k:09d}",
            "location": 'a "quoted\\" } ] path',
            "spg": 221,
            "e_form": -2.0 - k,
            "band_gap_ind": 0.5 * k,
        },
        "structure": {
            "lattice": {"matrix": [[a, 0, 0], [0, a, 0], [0, 0, a]], "pbc": [True] * 3},
            "sites": sites,
        },
    }


def entries_json(texts: list[str]) -> str:
    return '{"entries": [' + ", ".join(texts) + "]}"


def texts(n: int) -> list[str]:
    return [json.dumps(entry(k)) for k in range(n)]


@pytest.fixture
def run(tmp_path):
    """Prepare a store from the text of a file."""

    def prepared(content: str | bytes, name: str = "a.json.bz2"):
        content = content if isinstance(content, bytes) else bz2.compress(content.encode())
        path = tmp_path / name
        path.write_bytes(content)
        return prepare("alexandria", [path], tmp_path / "store")

    return prepared


def failures(store) -> dict[str, str]:
    with open(store.path / "failures.csv", newline="") as stream:
        return {row["id"]: row["reason"] for row in csv.DictReader(stream)}


def ids(store) -> list[int]:
    return [int(i[3:]) for i in store.ids.tolist()]


# ----------------------------------------------------------------------------------- whole


@pytest.mark.parametrize("shape", ["list", "entries", "indented", "keys before"])
def test_both_shapes(run, shape):
    entries = [entry(k) for k in range(5)]
    content = {
        "list": json.dumps(entries),
        "entries": json.dumps({"entries": entries}),
        "indented": json.dumps({"entries": entries}, indent=2),
        "keys before": json.dumps({"@module": "x", "n": 5, "entries": entries, "end": {"a": [1]}}),
    }[shape]
    prepared = run(content)
    store = prepared.store
    assert not prepared.unreadable
    assert ids(store) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(store.values("formation_energy_per_atom"), [-2, -3, -4, -5, -6])
    np.testing.assert_array_equal(store.values("band_gap"), [0, 0.5, 1, 1.5, 2])
    assert (store.column("space_group") == 221).all()
    assert (store.column("source_space_group") == 221).all()
    assert store.manifest["targets"] == {
        "formation_energy_per_atom": {"unit": "eV/atom"},
        "band_gap": {"unit": "eV"},
    }


def test_entries_across_blocks(run, monkeypatch):
    monkeypatch.setattr("xxact.data.sources.json_entries._CHUNK", 100)
    assert ids(run(entries_json(texts(30))).store) == list(range(30))


def test_bare_nan_is_a_missing_value(run):
    content = texts(3)
    content[1] = content[1].replace('"e_form": -3.0', '"e_form": NaN')
    content[2] = content[2].replace('"band_gap_ind": 1.0', '"band_gap_ind": null')
    store = run(entries_json(content)).store
    np.testing.assert_array_equal(store.values("formation_energy_per_atom"), [-2, np.nan, -4])
    np.testing.assert_array_equal(store.values("band_gap"), [0, 0.5, np.nan])


def test_other_keys():
    columns = parse_columns(
        ["band_gap=band_gap_dir"], ["hull:eV/atom=e_above_hull"], {"band_gap": "band_gap"}
    )
    source = alexandria_source([Input("x")], columns)
    assert {t.name: t.column for t in source.targets} == {
        "formation_energy_per_atom": "e_form",
        "band_gap": "band_gap_dir",
        "hull": "e_above_hull",
    }


def test_real_entries_are_read_as_pymatgen_reads_them(test_data, tmp_path):
    from pymatgen.core import Structure

    from xxact.xrd.crystal import Crystal

    path = test_data / "alexandria_sample.json.bz2"
    store = prepare("alexandria", [path], tmp_path / "store").store
    assert (store.n, store.manifest["failures"]) == (10, {})
    entries = json.loads(bz2.decompress(path.read_bytes()))
    assert store.ids.tolist() == [e["data"]["mat_id"].encode() for e in entries]
    for made in entries:
        ours = crystal_from_dict(made["structure"])
        theirs = Crystal.from_structure(Structure.from_dict(made["structure"]))
        np.testing.assert_array_equal(ours.lattice, theirs.lattice)
        np.testing.assert_array_equal(ours.frac_coords, theirs.frac_coords)
        np.testing.assert_array_equal(ours.atomic_numbers, theirs.atomic_numbers)
    assert (store.column("space_group") == store.column("source_space_group")).mean() >= 0.9


def test_disorder_and_cartesian_sites():
    structure = entry(0)["structure"]
    structure["sites"][0]["species"] = [
        {"element": "Cs", "occu": 0.75},
        {"element": "Rb", "occu": 0.25},
    ]
    del structure["sites"][1]["abc"]
    structure["sites"][1]["xyz"] = [2.0, 2.0, 2.0]
    crystal = crystal_from_dict(structure)
    assert crystal.atomic_numbers.tolist() == [55, 37, 17]
    assert crystal.occupancies.tolist() == [0.75, 0.25, 1]
    assert crystal.site.tolist() == [0, 0, 1]
    np.testing.assert_allclose(crystal.frac_coords[2], 0.5)


# ---------------------------------------------------------------------------------- broken


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t[:-1],  # a closing brace too few
        lambda t: t + "}",  # and one too many
        lambda t: t[: len(t) // 2],
        lambda t: t.replace('"sites": [', '"sites": ['[:-1], 1),
        lambda t: t.replace('"e_form": ', '"e_form": ?'),
        lambda t: t.replace('"spg": 221,', '"spg": 221'),
        lambda t: t.replace('{"@module"', "@module", 1),
    ],
)
def test_invalid_json_costs_one_entry(run, damage):
    content = texts(8)
    content[3] = damage(content[3])
    prepared = run(entries_json(content))
    assert ids(prepared.store) == [0, 1, 2, 4, 5, 6, 7]
    assert failures(prepared.store) == {"agm000000003": "invalid_json"}
    assert not prepared.unreadable


def test_a_lost_quotation_mark_costs_one_entry(run):
    content = texts(8)
    content[3] = content[3].replace('"mat_id"', 'mat_id"')
    store = run(entries_json(content)).store
    assert ids(store) == [0, 1, 2, 4, 5, 6, 7]
    assert failures(store) == {"a.json.bz2#4": "invalid_json"}


@pytest.mark.parametrize("missing", ["the rest", "one character"])
def test_damage_anywhere_in_an_entry_leaves_the_others(missing):
    source = alexandria_source([], Columns())
    whole = texts(6)

    def sound(raw):
        try:
            return json.loads(raw.content[1] if raw.content else b"")["data"]["mat_id"]
        except (ValueError, KeyError):  # a key that lost a letter is no one's loss but its own
            return None

    for place in range(1, len(whole[2]) - 1, 5):
        rest = "" if missing == "the rest" else whole[2][place + 1 :]
        content = [*whole[:2], whole[2][:place] + rest, *whole[3:]]
        stream = io.BytesIO(entries_json(content).encode())
        found = {sound(raw) for raw in source.read(stream, Path("a"))}
        left = {f"agm{k:09d}" for k in (0, 1, 3, 4, 5)}
        assert left <= found, whole[2][max(0, place - 20) : place + 20]


def test_truncated_text_keeps_what_came_before(run, tmp_path):
    content = entries_json(texts(6))
    prepared = run(content[: content.index("agm000000004") + 50])
    assert ids(prepared.store) == [0, 1, 2, 3]
    assert failures(prepared.store) == {
        "agm000000004": "invalid_json",
        "a.json.bz2": "unreadable_input",
    }
    assert prepared.unreadable == {tmp_path / "a.json.bz2": "it ends inside an entry"}


def test_truncated_bzip2_keeps_the_whole_blocks(run, tmp_path):
    rng = np.random.default_rng(0)
    made = texts(400)
    for k, text in enumerate(made):  # what does not compress, so that there are several blocks
        made[k] = text[:-1] + f', "noise": "{rng.bytes(3000).hex()}"' + "}"
    whole = bz2.compress(entries_json(made).encode())
    prepared = run(whole[: int(0.8 * len(whole))])
    assert 100 < prepared.store.n < 400
    found = failures(prepared.store)
    assert found.pop("a.json.bz2") == "unreadable_input"
    assert list(found.values()) in ([], ["invalid_json"])
    assert "end-of-stream" in prepared.unreadable[tmp_path / "a.json.bz2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (bz2.compress(b""), "the file is empty"),
        (bz2.compress(b'{"entries": []}'), "its list holds no entries"),
        (bz2.compress(b'{"results": [1]}'), "neither a list nor an object"),
        (b"BZh91AY&SY garbage", "Invalid data stream"),
    ],
)
def test_files_without_entries_are_named(run, content, message):
    with pytest.raises(UserError, match=message):
        run(content)


def test_unusable_entries_are_named(run):
    entries = [entry(k) for k in range(14)]
    del entries[1]["structure"]["lattice"]
    entries[2]["structure"]["sites"][0]["abc"] = [float("nan"), 0, 0]
    entries[3]["structure"]["sites"][0]["species"][0]["element"] = "Es"  # Z = 99
    entries[4]["structure"]["sites"][1]["abc"] = [0.01, 0, 0]
    entries[5]["structure"]["sites"][0]["species"][0]["element"] = "Xx"
    entries[6]["structure"]["sites"] = []
    entries[7]["structure"]["sites"][0]["abc"] = [0, None, 0]
    entries[8]["data"]["e_form"] = "low"
    entries[9]["structure"] = None
    del entries[10]["data"]["mat_id"]
    entries[11] = "no entry"
    entries[12]["data"]["mat_id"] = entry(0)["data"]["mat_id"]
    store = run(json.dumps({"entries": entries})).store
    assert ids(store) == [0, 13]
    assert failures(store) == {
        "agm000000001": "missing_lattice",
        "agm000000002": "invalid_coordinates",
        "agm000000003": "no_scattering_factors",
        "agm000000004": "overlapping_atoms",
        "agm000000005": "unknown_element",
        "agm000000006": "no_sites",
        "agm000000007": "invalid_coordinates",
        "agm000000008": "invalid_target",
        "agm000000009": "missing_structure",
        "a.json.bz2#11": "missing_id",
        "a.json.bz2#12": "invalid_json",
        "agm000000000": "duplicate_id",
    }
    assert sum(store.manifest["failures"].values()) == 12


def test_damaged_files_are_named_after_the_others_are_done(tmp_path, capsys):
    """Truncated, garbled in the middle, empty and not bzip2 at all, between two sound ones."""
    whole = bz2.compress(entries_json(texts(8)).encode())
    middle = texts(12)[8:]
    middle[1] = middle[1][:60]
    last = [json.dumps(entry(k)) for k in range(12, 15)]
    last[1] = last[1].replace('"lattice"', '"cell"')
    files = {
        "truncated": whole[: len(whole) // 2],
        "first": whole,
        "empty": b"",
        "middle": bz2.compress(entries_json(middle).encode()),
        "garbage": b"BZh91AY&SY garbage",
        "last": bz2.compress(entries_json(last).encode()),
    }
    paths = [tmp_path / f"{name}.json.bz2" for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    out = tmp_path / "store"
    arguments = ["data", "prepare", "--source", "alexandria", "--out", str(out), "--workers", "1"]
    assert main([*arguments, "--input", *map(str, paths)]) == 1
    store = open_store(out)
    assert ids(store) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14]
    assert failures(store) == {
        "truncated.json.bz2": "unreadable_input",
        "empty.json.bz2": "unreadable_input",
        "middle.json.bz2#2": "invalid_json",
        "garbage.json.bz2": "unreadable_input",
        "agm000000013": "missing_lattice",
    }
    said = capsys.readouterr().err
    for name in ("truncated", "empty", "garbage"):
        assert f"{name}.json.bz2 could not be read to its end" in said
    assert store.verify() == []


def test_parts_are_the_same_bytes_for_any_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("xxact.data.compute.ROWS", 7)
    paths = []
    for k in range(2):
        paths.append(tmp_path / f"alexandria_00{k}.json.bz2")
        made = [json.dumps(entry(n)) for n in range(20 * k, 20 * k + 25)]
        paths[-1].write_bytes(bz2.compress(entries_json(made).encode()))
    stores = [
        prepare("alexandria", paths, tmp_path / str(w) / "s", workers=w).store for w in (1, 2)
    ]
    assert stores[0].n == 45
    assert stores[0].manifest["failures"] == {"duplicate_id": 5}
    for path in stores[0].path.iterdir():
        assert path.read_bytes() == (stores[1].path / path.name).read_bytes()


@pytest.mark.parametrize(
    ("text", "end", "odd"),
    [
        (b'{"a": [1, {"b": "}]"}]} rest', 23, False),
        (b'{"a": "\\"}"}', 12, False),
        (b'{"a": [1}', -2, False),
        (b'{"a": ', -1, False),
        (b'{"a": "}', -1, False),
        (b'{"a: 1}, {"b": 2}', -1, True),
        (b"[" * 65, -2, False),
    ],
)
def test_object_end(text, end, odd):
    assert object_end(np.frombuffer(text, np.uint8), 0) == (end, odd)


def test_keys_of_the_user_reach_the_settings():
    source = alexandria_source([], Columns({"material_id": "code"}))
    assert source.settings()["id"] == "code"
