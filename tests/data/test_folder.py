"""The folder of a store: other files in it are left alone, a store goes when the next is whole."""

import json
import os
from pathlib import Path

import pytest

from xxact.data import open_store
from xxact.data.prepare import prepare, prepare_share
from xxact.errors import UserError


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below `directory`, hidden ones too."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


@pytest.fixture
def one(tmp_path):
    """A CSV of two formulas."""
    path = tmp_path / "one.csv"
    path.write_text("formula,bulk_modulus\nNaCl,1\nKCl,2\n")
    return path


@pytest.fixture
def bad(tmp_path):
    """A CSV of which no row can be used."""
    path = tmp_path / "bad.csv"
    path.write_text("formula,bulk_modulus\nQq,1\n")
    return path


# ---------------------------------------------------------------- files that are not its own


@pytest.mark.parametrize(
    "theirs",
    [
        "ids.npy",
        "failures.csv",
        "manifest.json",
        ".shards/notes.txt",
        ".preparing/notes.txt",
        ".preparing/0123456789abcdef/notes.txt",
        "notes.txt",
        "folder/notes.txt",
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_other_files_are_named_and_left_as_they_are(one, tmp_path, theirs, overwrite):
    mine = tmp_path / "mine"
    (mine / theirs).parent.mkdir(parents=True)
    (mine / theirs).write_text("mine\n")
    named = theirs if theirs.startswith(".preparing") else theirs.split("/")[0]
    for attempt in (prepare, lambda *a, **k: prepare_share(*a, share=(0, 2), **k)):
        with pytest.raises(UserError, match=rf"{mine}.*{named}"):
            attempt("csv", [one], mine, overwrite=overwrite)
        assert contents(mine) == {theirs: b"mine\n"}


def test_files_beside_a_store_keep_it_from_being_replaced(one, tmp_path):
    out = tmp_path / "store"
    prepare("csv", [one], out)
    (out / "notes.txt").write_text("mine\n")
    before = contents(out)
    prepare("csv", [one], out)  # it is there: nothing to be written
    one.write_text(one.read_text() + "LiF,3\n")
    with pytest.raises(UserError, match=r"notes\.txt"):
        prepare("csv", [one], out, overwrite=True)
    assert contents(out) == before


def test_an_empty_folder_and_an_unfinished_preparation_are_its_own(one, tmp_path, monkeypatch):
    out = tmp_path / "store"
    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("xxact.data.prepare.merge", _stop)
        with pytest.raises(KeyboardInterrupt):
            prepare("csv", [one], out)
    (next(out.glob(".preparing/????????????????")) / ".000001.npz.ab12.partial").touch()
    assert prepare("csv", [one], out).store.n == 2
    assert not (out / ".preparing").exists()


def _stop(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("make", "out", "message"),
    [
        (lambda p: p.touch(), "there", "is a file"),
        (lambda p: p.symlink_to("gone/away"), "there", "is a link to gone/away, which is not"),
    ],
)
def test_what_is_no_folder_is_named(one, tmp_path, make, out, message):
    make(tmp_path / "there")
    with pytest.raises(UserError, match=rf"{tmp_path / out} {message}"):
        prepare("csv", [one], tmp_path / out)


@pytest.mark.parametrize("out", ["one.csv/store", "/proc/store"])
def test_a_folder_that_cannot_be_made_is_an_error_of_the_file_system(one, tmp_path, out):
    with pytest.raises(OSError, match=out.split("/")[1]):
        prepare("csv", [one], tmp_path / out)


# -------------------------------------------------------------------- replacing what is there


def test_nothing_stored_leaves_the_old_store(one, bad, tmp_path):
    out = tmp_path / "store"
    prepare("csv", [one], out)
    before = contents(out)
    with pytest.raises(UserError, match=rf"no row of bad\.csv .*{out}/\.preparing/failures\.csv"):
        prepare("csv", [bad], out, overwrite=True)
    left = contents(out)
    assert b"Qq" in left.pop(".preparing/failures.csv")
    assert left == before
    assert open_store(out).verify() == []


def test_after_nothing_was_stored_the_list_of_reasons_is_in_the_way_of_nothing(one, bad, tmp_path):
    out = tmp_path / "store"
    with pytest.raises(UserError, match=rf"{out}/failures\.csv lists each"):
        prepare("csv", [bad], out)
    assert b"Qq" in (out / "failures.csv").read_bytes()
    assert prepare("csv", [one], out).store.n == 2


def test_a_full_disk_leaves_the_old_store(one, tmp_path, monkeypatch):
    from xxact.data.store import ColumnWriter

    out = tmp_path / "store"
    prepare("csv", [one], out)
    before = contents(out)

    def full(*_):
        raise OSError(28, "No space left on device")

    one.write_text(one.read_text() + "LiF,3\n")
    with monkeypatch.context() as patch:
        patch.setattr(ColumnWriter, "append", full)
        with pytest.raises(OSError, match="No space left"):
            prepare("csv", [one], out, overwrite=True)
    after = {name: c for name, c in contents(out).items() if not name.startswith(".preparing")}
    assert after == before
    assert prepare("csv", [one], out, overwrite=True).store.n == 3
    assert set(contents(out)) == set(before)


@pytest.mark.parametrize("killed_at", range(12))
def test_killed_at_any_rename_a_store_is_put_in_its_place_the_next_time(one, tmp_path, killed_at):
    """`os._exit` in a child process at the n-th rename of the replacement."""
    out, whole = tmp_path / "killed" / "store", tmp_path / "whole" / "store"
    prepare("csv", [one], out)
    old = contents(out)
    crystals = tmp_path / "two.csv"
    crystals.write_text("id,formula,bulk_modulus\na,NaCl,1\nb,LiF,3\nc,NaF,4\n")
    prepare("csv", [crystals], whole)
    child = os.fork()
    if not child:
        calls, replace = iter(range(100)), os.replace

        def deadly(source, destination):
            moved = Path(destination).parent == out or Path(destination).name == "replaced.json"
            if moved and next(calls) == killed_at:
                os._exit(9)
            replace(source, destination)

        os.replace = deadly
        prepare("csv", [crystals], out, overwrite=True)
        os._exit(0)
    os.waitpid(child, 0)
    now = {name: c for name, c in contents(out).items() if not name.startswith(".preparing")}
    now[".xxact.lock"] = b""  # the dead process has left its name
    if json.loads(now.get("manifest.json", b"{}")).get("n") == 2:
        assert now == old  # killed before the first rename
    prepare("csv", [crystals], out, overwrite=True)
    assert contents(out) == contents(whole)


def test_stopped_while_a_store_is_put_in_its_place_it_is_there(one, tmp_path, monkeypatch):
    out = tmp_path / "store"
    prepare("csv", [one], out)
    one.write_text(one.read_text() + "LiF,3\n")
    calls, replace = iter(range(100)), os.replace

    def interrupted(*arguments):
        if str(arguments[1]).endswith("store/ids.npy") and next(calls) == 0:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare("csv", [one], out, overwrite=True)
    assert open_store(out).n == 3
