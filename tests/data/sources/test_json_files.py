"""JSON of several makers: told apart, read as pymatgen reads it, and JSON's types kept apart."""

import csv
import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from xxact.data.prepare import prepare
from xxact.data.sources.arguments import parse_columns
from xxact.data.sources.json_files import KNOWN
from xxact.data.sources.json_structure import crystal_from_dict
from xxact.data.sources.source import RowError
from xxact.data.store import Store
from xxact.errors import UserError
from xxact.xrd.crystal import Crystal


def structure(k: int = 0) -> Structure:
    """A CsCl-like crystal."""
    return Structure(Lattice.cubic(4.0 + 0.01 * k), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def pymatgen_row(k: int) -> dict:
    return {"id": f"p-{k}", "structure": structure(k).as_dict(), "band_gap": 0.5 * k, "hardness": k}


def materials_project_row(k: int) -> dict:
    return {
        "material_id": f"mp-{k}",
        "structure": structure(k).as_dict(),
        "formation_energy_per_atom": -1.0 - k,
        "band_gap": 0.5 * k,
        "symmetry": {"crystal_system": "Cubic", "symbol": "Pm-3m", "number": 221},
        "bulk_modulus": {"voigt": 11.0, "reuss": 9.0, "vrh": 10.0},
        "hardness": k,
    }


def jarvis_row(k: int, cartesian: bool = False) -> dict:
    crystal = structure(k)
    return {
        "jid": f"JVASP-{k}",
        "spg_number": "221",
        "atoms": {
            "lattice_mat": crystal.lattice.matrix.tolist(),
            "coords": (crystal.cart_coords if cartesian else crystal.frac_coords).tolist(),
            "elements": ["Cs", "Cl"],
            "abc": list(crystal.lattice.abc),
            "angles": [90, 90, 90],
            "cartesian": cartesian,
            "props": ["", ""],
        },
        "formation_energy_peratom": -1.0 - k,
        "optb88vdw_bandgap": 0.5 * k,
        "bulk_modulus_kv": "na" if k else 20.0,
        "hardness": k,
    }


def alexandria_row(k: int) -> dict:
    return {
        "structure": structure(k).as_dict(),
        "data": {"mat_id": f"agm{k}", "spg": 221, "e_form": -1.0 - k, "band_gap_ind": 0.5 * k},
    }


ROWS = {
    "pymatgen": pymatgen_row,
    "materials_project": materials_project_row,
    "jarvis": jarvis_row,
    "alexandria": alexandria_row,
}


@pytest.fixture
def stored(tmp_path):
    """Prepare a store of a file's content (text, bytes, or a value to be written as JSON)."""

    def prepared(content, *targets: str, columns: tuple[str, ...] = (), source="json") -> Store:
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        path = tmp_path / "in.json"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        parsed = parse_columns(list(columns), list(targets), KNOWN)
        return prepare(source, [path], tmp_path / "store", columns=parsed).store

    return prepared


def ids(store: Store) -> list[str]:
    return [i.decode() for i in store.ids]


def failures(store: Store) -> dict[str, tuple[str, str]]:
    with open(store.path / "failures.csv", newline="", encoding="utf-8") as stream:
        return {row["id"]: (row["reason"], row["message"]) for row in csv.DictReader(stream)}


# --------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("layout", ROWS)
@pytest.mark.parametrize("shape", ["list", "entries", "lines", "by id", "indented by id", "spread"])
def test_every_layout_in_every_shape(stored, layout, shape):
    rows = [ROWS[layout](k) for k in range(5)]
    by_id = {f"row {k}": row for k, row in enumerate(rows)}
    content = {
        "list": json.dumps(rows),
        "entries": json.dumps({"entries": rows}),
        "lines": "\n".join(map(json.dumps, rows)),
        "by id": json.dumps(by_id),
        "indented by id": json.dumps(by_id, indent=1),
        "spread": "\n".join(json.dumps(row, indent=1) for row in rows) + "\n",
    }[shape]
    store = stored(content)
    assert store.manifest["source"]["source"] == layout
    assert store.manifest["failures"] == {}
    prefix = {"pymatgen": "p-", "materials_project": "mp-", "jarvis": "JVASP-"}.get(layout, "agm")
    assert ids(store) == [f"{prefix}{k}" for k in range(5)]
    np.testing.assert_allclose(store.values("band_gap"), [0, 0.5, 1, 1.5, 2])
    assert ("formation_energy_per_atom" in store.targets) == (layout != "pymatgen")
    assert (store.column("space_group") == 221).all()
    expected = 0 if layout == "pymatgen" else 221
    assert (store.column("source_space_group") == expected).all()


@pytest.mark.parametrize("layout", ROWS)
@pytest.mark.parametrize("indent", [None, 1])
def test_one_row_alone(stored, layout, indent):
    assert stored(json.dumps(ROWS[layout](3), indent=indent)).n == 1


def test_bulk_moduli_of_both_databases(stored, tmp_path):
    store = stored([materials_project_row(0), materials_project_row(1)])
    assert store.values("bulk_modulus").tolist() == [10, 10]
    (tmp_path / "j.json").write_text(json.dumps([jarvis_row(0), jarvis_row(1)]))
    store = prepare("json", [tmp_path / "j.json"], tmp_path / "j").store
    np.testing.assert_array_equal(store.values("bulk_modulus"), [20, np.nan])


def test_bare_structures_are_called_by_their_name(stored):
    store = stored({f"s-{k}": structure(k).as_dict() for k in range(3)})
    assert ids(store) == ["s-0", "s-1", "s-2"]


def test_keys_and_targets_of_the_user(stored):
    rows = [materials_project_row(k) | {"code": k, "deep": {"er": {"value": k}}} for k in range(3)]
    store = stored(
        rows, "h:GPa=hardness", "d=deep.er.value", "c:class=symmetry.symbol", columns=("id=code",)
    )
    assert ids(store) == ["0", "1", "2"]
    assert store.values("h").tolist() == store.values("d").tolist() == [0, 1, 2]
    assert store.targets["c"].classes == ("Pm-3m",)


def test_a_key_that_is_nowhere_is_named(stored):
    with pytest.raises(UserError, match=r"in\.json has no key 'K' .*; the first has: id, str"):
        stored([pymatgen_row(0)], "k=K")


def test_inputs_of_different_layouts_are_refused(tmp_path):
    for name in ("jarvis", "pymatgen"):
        (tmp_path / f"{name}.json").write_text(json.dumps([ROWS[name](0)]))
    paths = [tmp_path / "jarvis.json", tmp_path / "pymatgen.json"]
    with pytest.raises(UserError, match=r"different layouts.*\(jarvis\).*\(pymatgen\)"):
        prepare("json", paths, tmp_path / "s")


def test_a_row_of_another_layout_is_listed(stored):
    store = stored([materials_project_row(0), jarvis_row(1), materials_project_row(2)])
    assert ids(store) == ["mp-0", "mp-2"]
    assert failures(store) == {"in.json#2": ("missing_id", "there is no 'material_id'")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("[]", "its list holds no entries"),
        ("{}", "neither a list nor"),
        ("no JSON", "neither a list nor"),
        ('{"a": 1}', "neither a list nor"),
        ("[1, 2]", "it ends inside an entry"),
        ('[{"a": 1}]', "none of its first entries"),
        ("PK\x03\x04", "a zip archive"),
    ],
)
def test_files_without_crystals_are_refused_with_the_reason(stored, content, message):
    with pytest.raises(UserError, match=rf"no input can be read: .*in\.json: .*{message}"):
        stored(content)


# ---------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("shape", ["lines", "by id"])
@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("broken", [0, 2, 4])
def test_a_broken_row_costs_itself_alone(stored, shape, cut, broken):
    texts = [json.dumps(materials_project_row(k)) for k in range(5)]
    texts[broken] = texts[broken][: int(cut * len(texts[broken]))]
    if shape == "lines":
        content = "\n".join(texts)
    else:
        content = "{" + ", ".join(f'"row {k}": {text}' for k, text in enumerate(texts)) + "}"
    store = stored(content)
    assert set(ids(store)) >= {f"mp-{k}" for k in range(5) if k != broken}
    assert f"mp-{broken}" not in ids(store)


def test_a_broken_line_is_named(stored):
    lines = [json.dumps(pymatgen_row(k)) for k in range(3)]
    lines[1] = lines[1].replace('"hardness": ', '"hardness" ')
    assert failures(stored("\n".join(lines))).keys() == {"p-1"}


# ------------------------------------------------------------------- encodings and types


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("shape", ["list", "lines"])
def test_encodings(stored, encoding, shape, monkeypatch):
    monkeypatch.setattr("xxact.data.sources.json_entries._CHUNK", 997)  # characters across blocks
    rows = [pymatgen_row(k) | {"id": f"é{k}"} for k in range(3)]
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    content = "\n".join(texts) if shape == "lines" else f"[{', '.join(texts)}]"
    assert ids(stored(content.encode(encoding))) == ["é0", "é1", "é2"]


def test_a_byte_that_is_not_utf8_costs_its_row(stored):
    texts = [json.dumps(pymatgen_row(k)).encode() for k in range(3)]
    texts[1] = texts[1].replace(b'"p-1"', b'"p-\xe9"')
    store = stored(b"[" + b", ".join(texts) + b"]")
    assert ids(store) == ["p-0", "p-2"]
    assert list(failures(store)) == ["p-\\xe9"]


@pytest.mark.parametrize(
    ("value", "stored_as"),
    [
        ("x", "x"),
        (12, "12"),
        (0, "0"),
        ("12", "12"),
        (1.5, None),
        (True, None),
        (["a"], None),
        ({"a": 1}, None),
        ("a\0b", None),
        ("\ud800", None),
    ],
)
def test_ids(stored, value, stored_as):
    store = stored([pymatgen_row(0) | {"id": value}, pymatgen_row(1)])
    if stored_as is None:
        assert ids(store) == ["p-1"]
        assert [reason for reason, _ in failures(store).values()] == ["invalid_id"]
    else:
        assert ids(store) == [stored_as, "p-1"]


@pytest.mark.parametrize("value", [None, ""])
def test_ids_that_are_not_there(stored, value):
    store = stored([pymatgen_row(0) | {"id": value}, pymatgen_row(1)])
    assert failures(store) == {"in.json#1": ("missing_id", "there is no 'id'")}


@pytest.mark.parametrize(
    ("value", "stored_as"),
    [
        (1.5, 1.5),
        (2, 2),
        ("1.5", 1.5),
        (" -1e-3 ", -0.001),
        (None, np.nan),
        ("", np.nan),
        ("na", np.nan),
        (True, None),
        (False, None),
        ("true", None),
        ([1.5], None),
        ({"value": 1.5}, None),
        ("1_000", None),
        ("1,5", None),
        ("inf", None),
        ("0x10", None),
        (10**400, None),
        (1e39, None),
        ("1e39", None),
        ("1e999", None),
        (1e-50, None),
        (1e-40, None),
        (3.4e38, 3.4e38),
        (1.2e-38, 1.2e-38),
        (123456789012, 123456789012),
        (0.0, 0.0),
    ],
)
def test_numbers(stored, value, stored_as):
    store = stored([pymatgen_row(0) | {"hardness": value}, pymatgen_row(1)], "h=hardness")
    if stored_as is None:
        assert ids(store) == ["p-1"]
        assert failures(store)["p-0"][0] == "invalid_target"
    else:
        np.testing.assert_allclose(store.values("h")[0], stored_as, rtol=1e-7)
        assert store.values("h").dtype == np.float32


def test_refused_numbers_name_row_target_and_value(stored):
    store = stored([pymatgen_row(0) | {"hardness": 1e39}, pymatgen_row(1)], "h=hardness")
    message = failures(store)["p-0"][1]
    assert message.startswith("hardness: 1e+39 is beyond 3.4e38, the largest number of float32")


@pytest.mark.parametrize("number", [True, None, 221.5, [221], "cubic", -1, 231])
def test_space_groups_that_are_none(stored, number):
    row = materials_project_row(0)
    row["symmetry"]["number"] = number
    assert stored([row]).column("source_space_group").tolist() == [0]


# ------------------------------------------------------------------------------ structures


def test_structures_agree_with_pymatgen():
    disordered = Structure(
        Lattice.from_parameters(3, 4, 5, 80, 95, 100),
        [{"Fe": 0.5, "Co": 0.25}, {"O2-": 1}, "D"],
        [[0, 0, 0], [0.1, 0.2, 0.3], [0.7, 0.6, 0.5]],
    )
    for expected in (structure(), disordered):
        ours, theirs = crystal_from_dict(expected.as_dict()), Crystal.from_structure(expected)
        for name in ("lattice", "frac_coords", "atomic_numbers", "occupancies", "site"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("cartesian", [False, True])
def test_jarvis_agrees_with_pymatgen(cartesian):
    ours = crystal_from_dict(jarvis_row(3, cartesian)["atoms"])
    theirs = Crystal.from_structure(structure(3))
    np.testing.assert_array_equal(ours.atomic_numbers, theirs.atomic_numbers)
    np.testing.assert_allclose(ours.lattice, theirs.lattice)
    np.testing.assert_allclose(ours.frac_coords, theirs.frac_coords, atol=1e-12)


@pytest.mark.parametrize("empty", [0, 1])
def test_empty_sites_are_left_out(empty):
    made = structure().as_dict()
    made["sites"][empty]["species"] = []
    crystal = crystal_from_dict(made)
    assert crystal.atomic_numbers.tolist() == [[17], [55]][empty]
    assert crystal.site.tolist() == [0]


def _changed(path: str, value: object) -> dict:
    made = structure().as_dict()
    *way, last = path.split(".")
    inner = made
    for key in way:
        inner = inner[int(key)] if key.isdigit() else inner[key]
    inner[int(last) if last.isdigit() else last] = value
    return made


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (None, "missing_structure"),
        ([1], "missing_structure"),
        (_changed("lattice", None), "missing_lattice"),
        (_changed("lattice.matrix", [[1, 0, 0], [0, 1, 0]]), "invalid_lattice"),
        (_changed("lattice.matrix.0.0", "4.0"), "invalid_lattice"),
        (_changed("lattice.matrix.0.0", True), "invalid_lattice"),
        (_changed("lattice", {"a": 1}), "invalid_lattice"),
        (_changed("sites", None), "invalid_structure"),
        (_changed("sites", []), "no_sites"),
        (_changed("sites.0", 5), "invalid_structure"),
        (_changed("sites.0.abc", [0, 0]), "invalid_coordinates"),
        (_changed("sites.0.abc", ["0", 0, 0]), "invalid_coordinates"),
        (_changed("sites.0.abc", [False, 0, 0]), "invalid_coordinates"),
        (_changed("sites.0.abc", None), "invalid_coordinates"),
        (_changed("sites.0.species.0.occu", True), "invalid_occupancy"),
        (_changed("sites.0.species.0.occu", "1"), "invalid_occupancy"),
        (_changed("sites.0.species.0.element", 55), "unknown_element"),
        (_changed("sites.0.species.0.element", "Xx"), "unknown_element"),
        ({"lattice_mat": [[1, 0, 0]], "coords": [], "elements": ["H"]}, "invalid_lattice"),
        ({"lattice_mat": np.eye(3).tolist(), "coords": [], "elements": []}, "no_sites"),
        (jarvis_row(0)["atoms"] | {"cartesian": "no"}, "invalid_coordinates"),
        (jarvis_row(0)["atoms"] | {"elements": "CsCl"}, "unknown_element"),
    ],
)
def test_types_and_lengths_are_checked(made, reason):
    with pytest.raises(RowError) as caught:
        crystal_from_dict(made)
    assert caught.value.reason == reason


def test_coordinates_without_their_element():
    from xxact.xrd.crystal import CrystalError

    with pytest.raises(CrystalError):
        crystal_from_dict(jarvis_row(0)["atoms"] | {"elements": ["Cs"]})
