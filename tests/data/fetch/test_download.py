"""Downloads from a local server that truncates, stalls, corrupts and refuses."""

import hashlib

import pytest

from xxact.data.fetch.download import Patience, download
from xxact.errors import UserError

CONTENT = bytes(range(256)) * 2000
QUICK = Patience(stall=0.3, tries=3, pause=0)


@pytest.fixture
def url(file_server):
    file_server.files["file.bin"] = CONTENT
    return file_server.url + "file.bin"


def gets(server) -> list:
    return [wanted for command, _, wanted in server.requests if command == "GET"]


def test_plain(url, tmp_path):
    path = download(url, tmp_path / "deep" / "file.bin", patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_a_broken_line_is_resumed(url, file_server, tmp_path, fault):
    file_server.faults["file.bin"] = [fault] * 4
    path = download(url, tmp_path / "file.bin", patience=QUICK)
    assert path.read_bytes() == CONTENT
    ranges = gets(file_server)
    assert len(ranges) == 5  # more breaks than tries: each one brought something
    assert ranges[:2] == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(url, file_server, tmp_path):
    file_server.faults["file.bin"] = ["truncate", "busy", "busy", "busy"]
    with pytest.raises(UserError, match=r"gave up after 3 tries .*503.*run the same command again"):
        download(url, tmp_path / "file.bin", patience=QUICK)
    assert not (tmp_path / "file.bin").exists()
    path = download(url, tmp_path / "file.bin", patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert gets(file_server)[-1] == f"bytes={len(CONTENT) // 2}-"


def test_a_server_without_ranges_is_read_from_the_start(url, file_server, tmp_path):
    file_server.faults["file.bin"] = ["truncate", "ignore"]
    assert download(url, tmp_path / "file.bin", patience=QUICK).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_mixed(url, file_server, tmp_path):
    file_server.faults["file.bin"] = ["truncate", "busy", "busy", "busy"]
    with pytest.raises(UserError):
        download(url, tmp_path / "file.bin", patience=QUICK)
    file_server.files["file.bin"] = CONTENT[::-1]
    assert download(url, tmp_path / "file.bin", patience=QUICK).read_bytes() == CONTENT[::-1]


def test_corruption_is_noticed_by_the_hash(url, file_server, tmp_path):
    digest = hashlib.sha256(CONTENT).hexdigest()
    file_server.faults["file.bin"] = ["corrupt"]
    assert download(url, tmp_path / "a", digest, QUICK).read_bytes() == CONTENT
    file_server.faults["file.bin"] = ["corrupt"] * 3
    with pytest.raises(UserError, match="its sha256 differs from the published one"):
        download(url, tmp_path / "b", digest, QUICK)
    assert not (tmp_path / "b").exists()


def test_whole_files_are_kept_and_others_replaced(url, file_server, tmp_path):
    path = download(url, tmp_path / "file.bin", patience=QUICK)
    download(url, path, patience=QUICK)
    download(url, path, hashlib.md5(CONTENT).hexdigest(), QUICK)
    assert len(gets(file_server)) == 1
    path.write_bytes(CONTENT[:-1])
    assert download(url, path, patience=QUICK).read_bytes() == CONTENT
    assert len(gets(file_server)) == 2


def test_refusals_are_final(file_server, tmp_path):
    with pytest.raises(UserError, match="absent: the server answers 404"):
        download(file_server.url + "absent", tmp_path / "absent", patience=QUICK)


def test_no_server(tmp_path):
    with pytest.raises(UserError, match="gave up after 2 tries"):
        download("http://127.0.0.1:9/x", tmp_path / "x", patience=Patience(1, 2, 0))
