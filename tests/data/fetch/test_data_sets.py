"""The public data sets, from small releases of the same layout on a local server."""

import hashlib
import shutil

import pytest

from xxact.data.fetch import data_sets
from xxact.data.fetch.download import Patience
from xxact.errors import UserError

QUICK = Patience(stall=0.5, tries=3, pause=0)


@pytest.mark.parametrize(
    ("text", "numbers"), [("", None), ("0-2", [0, 1, 2]), ("7", [7]), ("3,0-1,1", [0, 1, 3])]
)
def test_ranges(text, numbers):
    assert data_sets.parse_ranges(text) == numbers


@pytest.mark.parametrize("text", ["a", "2-1", "1-", "1;2"])
def test_misspelt_ranges(text):
    with pytest.raises(UserError, match="write ranges and numbers"):
        data_sets.parse_ranges(text)


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
    paths = data_sets.alexandria(tmp_path, [0, 2], base, QUICK)
    assert [p.name for p in paths] == ["alexandria_000.json.bz2", "alexandria_002.json.bz2"]
    assert paths[1].read_bytes() == release.files["pbe/alexandria_002.json.bz2"]
    assert "xxact data prepare --source alexandria" in capsys.readouterr().out
    assert len(data_sets.alexandria(tmp_path, None, base, QUICK)) == 4
    with pytest.raises(UserError, match="no file number 4, 9; it has 0 to 3"):
        data_sets.alexandria(tmp_path, [3, 4, 9], base, QUICK)


def test_alexandria_survives_a_bad_line(release, tmp_path):
    release.faults["pbe/"] = ["busy"]
    release.faults["pbe/alexandria_001.json.bz2"] = ["truncate", "stall", "busy"]
    (path,) = data_sets.alexandria(tmp_path, [1], release.url + "pbe/", QUICK)
    assert path.read_bytes() == release.files["pbe/alexandria_001.json.bz2"]


def test_published_hashes_are_checked(release, tmp_path):
    name = "alexandria_001.json.bz2"
    digest = hashlib.sha256(release.files[f"pbe/{name}"]).hexdigest()
    release.files["pbe/"] += b'<a href="sha256sum.txt">sha256sum.txt</a>'
    release.files["pbe/sha256sum.txt"] = f"{digest}  {name}\n".encode()
    release.faults[f"pbe/{name}"] = ["corrupt"]
    (path,) = data_sets.alexandria(tmp_path, [1], release.url + "pbe/", QUICK)
    assert path.read_bytes() == release.files[f"pbe/{name}"]


def test_a_page_without_files_is_named(file_server, tmp_path):
    file_server.files["pbe/"] = b"<html>nothing here</html>"
    with pytest.raises(UserError, match=r"lists no file alexandria_NNN\.json\.bz2"):
        data_sets.alexandria(tmp_path, None, file_server.url + "pbe/", QUICK)


# --------------------------------------------------------------------- AFLOW bulk moduli


def test_aflow_leaves_out_pure_elements(file_server, tmp_path, capsys):
    parts = {
        "train.csv": "formula,target\nZr1,94.6\nK2Mg5Sn3,21.9\nH9.975La3.99,73.8\n",
        "val.csv": "formula,target\nAs1Pu1,87.3\n",
        "test.csv": "formula,target\nSn1,45.5\nAl1N1,253.0\n",
    }
    file_server.files |= {f"aflow/{name}": text.encode() for name, text in parts.items()}
    digests = {n: hashlib.sha256(text.encode()).hexdigest() for n, text in parts.items()}
    paths = data_sets.aflow(tmp_path, file_server.url + "aflow/", digests, QUICK)
    kept = [path.read_text().splitlines()[1:] for path in paths]
    assert kept == [["K2Mg5Sn3,21.9", "H9.975La3.99,73.8"], ["As1Pu1,87.3"], ["Al1N1,253.0"]]
    assert "--target bulk_modulus:GPa=target" in capsys.readouterr().out


def test_the_real_aflow_files_are_taken_where_they_lie(test_data, tmp_path):
    for name in data_sets.AFLOW_FILES:
        shutil.copy(test_data / "composition_benchmark" / name, tmp_path)
    paths = data_sets.aflow(tmp_path, "http://127.0.0.1:9/", patience=QUICK)
    assert [len(path.read_text().splitlines()) - 1 for path in paths] == [3390, 727, 732]


# ----------------------------------------------------------------------------------- MP-20


def test_mp20_keeps_its_split(file_server, tmp_path, capsys):
    for name in ("train", "val", "test"):
        file_server.files[f"mp_20/{name}.csv"] = f"material_id,cif\n{name},x\n".encode()
    paths = data_sets.mp20(tmp_path, file_server.url + "mp_20/", QUICK)
    assert [p.name for p in paths] == ["train.csv", "val.csv", "test.csv"]
    assert f"--input train={paths[0]} val={paths[1]} test={paths[2]}" in capsys.readouterr().out
