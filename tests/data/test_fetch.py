"""The public data sets, from small releases of the same layout on a local server."""

import csv
import hashlib
import io
import lzma
import shutil
import tarfile

import pytest

from xxact.data import fetch
from xxact.data.download import Patience
from xxact.errors import UserError

QUICK = Patience(stall=0.5, tries=3, pause=0)


@pytest.mark.parametrize(
    ("text", "numbers"), [("", None), ("0-2", [0, 1, 2]), ("7", [7]), ("3,0-1,1", [0, 1, 3])]
)
def test_ranges(text, numbers):
    assert fetch.parse_ranges(text) == numbers


@pytest.mark.parametrize("text", ["a", "2-1", "1-", "1;2"])
def test_misspelt_ranges(text):
    with pytest.raises(UserError, match="write ranges and numbers"):
        fetch.parse_ranges(text)


# ------------------------------------------------------------------------------ Alexandria


@pytest.fixture
def release(file_server):
    """Four files behind an index page, as Apache writes it."""
    names = [f"alexandria_{k:03d}.json.bz2" for k in range(4)]
    file_server.files |= {f"pbe/{n}": f"content of {n} ".encode() * 50 for n in names}
    rows = "".join(f'<tr><td><a href="{n}">{n}</a></td><td>13M</td></tr>' for n in names)
    page = f'<a href="../">Parent</a>{rows}<a href="alexandria_ps_000.txt">x</a>'
    file_server.files["pbe/"] = page.encode()
    return file_server


def test_alexandria_lists_and_downloads(release, tmp_path, capsys):
    base = release.url + "pbe/"
    paths = fetch.alexandria(tmp_path, [0, 2], base, QUICK)
    assert [p.name for p in paths] == ["alexandria_000.json.bz2", "alexandria_002.json.bz2"]
    assert paths[1].read_bytes() == release.files["pbe/alexandria_002.json.bz2"]
    assert "xxact data prepare --source alexandria" in capsys.readouterr().out
    assert len(fetch.alexandria(tmp_path, None, base, QUICK)) == 4
    with pytest.raises(UserError, match="no file number 4, 9; it has 0 to 3"):
        fetch.alexandria(tmp_path, [3, 4, 9], base, QUICK)


def test_alexandria_survives_a_bad_line(release, tmp_path):
    release.faults["pbe/"] = ["busy"]
    release.faults["pbe/alexandria_001.json.bz2"] = ["truncate", "stall", "busy"]
    (path,) = fetch.alexandria(tmp_path, [1], release.url + "pbe/", QUICK)
    assert path.read_bytes() == release.files["pbe/alexandria_001.json.bz2"]


def test_published_hashes_are_checked(release, tmp_path):
    name = "alexandria_001.json.bz2"
    digest = hashlib.sha256(release.files[f"pbe/{name}"]).hexdigest()
    release.files["pbe/"] += b'<a href="sha256sum.txt">sha256sum.txt</a>'
    release.files["pbe/sha256sum.txt"] = f"{digest}  {name}\n".encode()
    release.faults[f"pbe/{name}"] = ["corrupt"]
    (path,) = fetch.alexandria(tmp_path, [1], release.url + "pbe/", QUICK)
    assert path.read_bytes() == release.files[f"pbe/{name}"]


def test_a_page_without_files_is_named(file_server, tmp_path):
    file_server.files["pbe/"] = b"<html>nothing here</html>"
    with pytest.raises(UserError, match=r"lists no file alexandria_NNN\.json\.bz2"):
        fetch.alexandria(tmp_path, None, file_server.url + "pbe/", QUICK)


# --------------------------------------------------------------------- AFLOW bulk moduli


def test_aflow_leaves_out_pure_elements(file_server, tmp_path, capsys):
    parts = {
        "train.csv": "formula,target\nZr1,94.6\nK2Mg5Sn3,21.9\nH9.975La3.99,73.8\n",
        "val.csv": "formula,target\nAs1Pu1,87.3\n",
        "test.csv": "formula,target\nSn1,45.5\nAl1N1,253.0\n",
    }
    file_server.files |= {f"aflow/{name}": text.encode() for name, text in parts.items()}
    digests = {n: hashlib.sha256(text.encode()).hexdigest() for n, text in parts.items()}
    paths = fetch.aflow(tmp_path, file_server.url + "aflow/", digests, QUICK)
    kept = [path.read_text().splitlines()[1:] for path in paths]
    assert kept == [["K2Mg5Sn3,21.9", "H9.975La3.99,73.8"], ["As1Pu1,87.3"], ["Al1N1,253.0"]]
    assert "--target bulk_modulus:GPa=target" in capsys.readouterr().out


def test_the_real_aflow_files_are_taken_where_they_lie(test_data, tmp_path):
    for name in fetch.AFLOW_FILES:
        shutil.copy(test_data / "composition_benchmark" / name, tmp_path)
    paths = fetch.aflow(tmp_path, "http://127.0.0.1:9/", patience=QUICK)
    assert [len(path.read_text().splitlines()) - 1 for path in paths] == [3390, 727, 732]


# ----------------------------------------------------------------------------------- MP-20


def test_mp20_keeps_its_split(file_server, tmp_path, capsys):
    for name in ("train", "val", "test"):
        file_server.files[f"mp_20/{name}.csv"] = f"material_id,cif\n{name},x\n".encode()
    paths = fetch.mp20(tmp_path, file_server.url + "mp_20/", QUICK)
    assert [p.name for p in paths] == ["train.csv", "val.csv", "test.csv"]
    assert f"--input train={paths[0]} val={paths[1]} test={paths[2]}" in capsys.readouterr().out


# --------------------------------------------------------------- Materials Project crystals


def archive(files: dict[str, str]) -> bytes:
    """A tar.gz as GitHub makes it: everything below one folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"crysxpp-b12e52b8db9f/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


@pytest.fixture
def sources(file_server, cubic_cif):
    """Both repositories' layouts; their indices differ, their ids are shared."""
    cif = cubic_cif(4.12, [("Cs", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5)])
    ids = ["mp-1", "mp-10", "mp-100", "mp-2", "mp-3", "mp-4", "mp-11"]
    file_server.files["crysxpp.tar.gz"] = archive(
        {"README.md": "x", "data/material_id_hash.csv": ""}
        | {f"data/{k}.cif": cif for k in range(5)}
        | {"data/5.cif": "broken", "data/6.cif": cif}
        | {"data/material_id_hash.csv": "".join(f"{k},{i}\n" for k, i in enumerate(ids))}
        | {"data/id_prop.csv": "".join(f"{k},{-1.5 - k}\n" for k in range(7))}
    )
    volume = 4.12**3
    rows = [
        ("mp-1", -1.5, 5.25, volume),
        ("mp-10", -2.5004, "None", volume * 1.0005),
        ("mp-100", -3.51, 1.0, volume),  # another energy
        ("mp-2", -4.5, 1.0, volume * 1.01),  # another volume
        ("mp-4", -6.5, 1.0, volume),  # its CIF is broken
        ("mp-9", -1.0, 1.0, volume),  # no structure
        ("mp-11", -7.5, 1.0, volume),  # its hash says audit
    ]
    tables = {"material_id_hash.csv": "", "id_prop.csv": ""}
    for k, (identifier, energy, gap, cell) in enumerate(rows, start=40):
        tables["material_id_hash.csv"] += f"{k},{identifier}\n"
        tables["id_prop.csv"] += f"{k},{energy},{gap},3.1,{cell},0.0\n"
    file_server.files |= {f"mt-cgcnn/data/{n}": t.encode() for n, t in tables.items()}
    return file_server, cif


def test_mp_joins_its_two_sources(sources, tmp_path, capsys):
    server, cif = sources
    urls = (server.url + "crysxpp.tar.gz", server.url + "mt-cgcnn/")
    path = fetch.mp(tmp_path, *urls, QUICK)
    with lzma.open(path, "rt", newline="") as stream:
        rows = list(csv.DictReader(stream))
    common = {"pretty_formula": "Cs1Cl1", "spacegroup.number": "221", "nsites": "2", "cif": cif}
    assert rows == [
        {"material_id": "mp-1", "formation_energy_per_atom": "-1.5", "band_gap": "5.25"} | common,
        {"material_id": "mp-10", "formation_energy_per_atom": "-2.5", "band_gap": ""} | common,
    ]
    report = capsys.readouterr().err
    for what in ("in one source only", "energies differ", "volumes differ", "unreadable"):
        assert f"1 {what}" in report
    assert "1 in the audit part" in report
    first = path.read_bytes()
    assert fetch.mp(tmp_path, *urls, QUICK).read_bytes() == first


def test_a_damaged_archive_is_named(sources, tmp_path):
    server, _ = sources
    server.files["crysxpp.tar.gz"] = server.files["crysxpp.tar.gz"][:200]
    with pytest.raises(UserError, match=r"crysxpp\.tar\.gz is damaged.*delete it"):
        fetch.mp(tmp_path, server.url + "crysxpp.tar.gz", server.url + "mt-cgcnn/", QUICK)


def test_mp_has_the_conventions_of_the_shared_file(test_data, tmp_path):
    with lzma.open(test_data / "mp_structures.csv.xz", "rt", newline="") as stream:
        lines = csv.DictReader(stream)
        rows = [row for k, row in enumerate(lines) if k % 700 == 0]
    for row in rows:
        volume = float(row["cif"].split("_cell_volume")[1].split()[0])
        fields = [row["formation_energy_per_atom"], row["band_gap"], "0", str(volume)]
        energy = row["formation_energy_per_atom"]
        made = fetch._mp_row(row["material_id"], row["cif"], energy, fields)
        assert [str(v) for v in made] == list(row.values())
