"""The folder of a store: which files in it are its own, and how a new store gets there.

A store is built in `<out>/.preparing/`, beside the one that may be there, and takes its place when
it is whole: by renames, which need no room on the disk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xxact.data.store import FAILURES, LOCK, MANIFEST
from xxact.errors import UserError
from xxact.files import being_read, held

#: Where shards lie and the new store is built; it goes when the store is in its place.
PREPARING = ".preparing"

#: What is in there: shards by their key, the new store, the claims of shares, and the manifest of
#: the store whose place is being taken.
_UNFINISHED = re.compile(
    r"(?:[0-9a-f]{16}|store)(?:/[^/]+\.(?:npz|npy|json|csv|partial))?"
    r"|share-\d+-of-\d+\.lock|replaced\.json|failures\.csv"
)
_FAILURES_HEADER = b"id,reason,message"


def new_store(out: Path) -> Path:
    """Where the store that is to be in `out` is built."""
    return out / PREPARING / "store"


@contextmanager
def held_for_preparation(out: Path) -> Iterator[None]:
    """Hold the folder, made if need be, against all others who prepare it or train on it.

    `UserError` if it is taken, or if it holds files that are not of a store. A store that a killed
    process had only begun to put in its place is put there first.
    """
    _make_own(out)
    with held(out / LOCK, f"{out} is being prepared"):
        _check_own(out)
        put_in_place(out)
        yield


@contextmanager
def held_for_share(out: Path, share: tuple[int, int]) -> Iterator[None]:
    """Hold one share of the preparation, beside others who hold theirs, against a merge.

    `UserError` if another process has this share, or prepares the whole.
    """
    _make_own(out)
    k, n = share
    claim = out / PREPARING / f"share-{k}-of-{n}.lock"
    with (
        being_read(out / LOCK, f"{out} is being prepared"),
        held(claim, f"share {k}/{n} of {out} is being computed"),
    ):
        yield


def _make_own(out: Path) -> None:
    """Make the folder with its lock file; `UserError` if it holds files that are not of a store."""
    if out.is_symlink() and not out.exists():
        raise UserError(f"{out} is a link to {os.readlink(out)}, which is not there")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose a folder for the data set")
    if not (out / LOCK).exists():  # somebody else's folder is left as it is
        _check_own(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / LOCK).touch()


def put_in_place(out: Path) -> None:
    """Move a whole new store to `out`, in the place of the one there; a killed one goes on."""
    try:
        _move(out)
    except KeyboardInterrupt:
        _move(out)
        raise


def _move(out: Path) -> None:
    new, replaced = new_store(out), out / PREPARING / "replaced.json"
    if not (new / MANIFEST).exists():
        return
    if (out / MANIFEST).exists():
        os.replace(out / MANIFEST, replaced)
    files = _files(new / MANIFEST)
    for file in files:
        if (new / file).exists():
            os.replace(new / file, out / file)
    for file in _files(replaced) - files:
        (out / file).unlink(missing_ok=True)
    os.replace(new / MANIFEST, out / MANIFEST)
    # A worker whose parent was killed may still write its last shard: it does no harm there.
    shutil.rmtree(out / PREPARING, ignore_errors=True)


def _check_own(out: Path) -> None:
    """`UserError` if the folder holds anything that is not of a store or of its preparation."""
    foreign = sorted(_foreign(out)) if out.is_dir() else []
    if foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        raise UserError(
            f"{out} holds other files ({', '.join(foreign[:5])}{more}), which are left as they "
            "are: choose another directory for the data set, or move them away"
        )


def _foreign(out: Path) -> Iterator[str]:
    unfinished = out / PREPARING
    own = (
        {LOCK, PREPARING} | _files(new_store(out) / MANIFEST) | _files(unfinished / "replaced.json")
    )
    if there := _files(out / MANIFEST):
        own |= {MANIFEST, *there}
    for path in out.iterdir():
        if path.name not in own and not _is_failures(path):
            yield path.name
    for path in unfinished.rglob("*"):
        if not _UNFINISHED.fullmatch(str(path.relative_to(unfinished))):
            yield str(path.relative_to(out))


def _is_failures(path: Path) -> bool:
    """Whether it is the list of failures that a preparation leaves which could store nothing."""
    if path.name != FAILURES or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline().strip() == _FAILURES_HEADER


def _files(manifest: Path) -> set[str]:
    """The files that a manifest names; none if it is not there or none of ours."""
    try:
        fields = json.loads(manifest.read_bytes())
        return {name for name in (*fields["columns"], *fields["files"]) if "/" not in name}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
