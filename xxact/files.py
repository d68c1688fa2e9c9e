"""Files on disk: written whole or not at all, and folders that one process at a time may change."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from xxact.errors import UserError

#: What a file is called while it is being written: it goes when the folder is used again.
PARTIAL = ".partial"
#: Seconds between two signs of life of a process that holds a folder.
BEAT_S = 5.0
#: What flock says where the file system has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Taken(UserError):
    """Another process holds what is wanted; the message names it."""


@contextmanager
def written_whole(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends, and nothing when it raises.

    At any moment `path` is absent, the old file or the new one: a temporary file of a unique name
    in the same folder is written, forced to disk and renamed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        handle, temporary = tempfile.mkstemp(f"{PARTIAL}", f".{path.name}.", path.parent)
        try:
            with os.fdopen(handle, "w+b") as file:
                os.fchmod(file.fileno(), 0o644)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the file system says no to in the block is told of `path`: of a full disk it names no
    file, and elsewhere a temporary one."""
    try:
        yield
    except OSError as error:
        nameless = error.filename is None or str(error.filename).endswith(PARTIAL)
        if error.errno is not None and nameless:
            error.filename, error.filename2 = str(path), None
        raise


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write `content` to `path` in one step (see `written_whole`)."""
    with written_whole(path) as file:
        file.write(content)


def remove_partials(folder: Path) -> None:
    """Delete what killed processes had half written in `folder`, which the caller holds."""
    for leftover in folder.glob(f".*{PARTIAL}"):
        leftover.unlink(missing_ok=True)


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def held(lock: Path, what: str) -> Iterator[None]:
    """Hold the lock file `lock` while the block runs.

    what: what is held and what is being done with it, as "runs/mine is being trained"; those who
    come later read it.
    Raises `Taken`, naming process, host and time, when another process holds it, on this machine
    or on another one of a shared file system. A lock that a killed process left holds
    nobody up: the kernel frees it on the same machine, and elsewhere its signs of life are watched
    for a few seconds.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        has_locks = _lock_in_kernel(file, fcntl.LOCK_EX, what)
        if not has_locks or _holder(file).get("host") != socket.gethostname():
            _check_no_sign_of_life(file, what)
        own = {
            "what": what,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": " ".join(map(os.path.basename, sys.argv[:2])),
        }
        _write(file, json.dumps(own))
        released = threading.Event()
        beat = threading.Thread(target=_beat, args=(lock, released), daemon=True)
        beat.start()
        try:
            yield
        finally:
            released.set()
            beat.join()
            _write(file, "")


@contextmanager
def being_read(lock: Path, what: str) -> Iterator[None]:
    """Keep others from holding `lock` while the block runs; many may read at a time.

    what: what its holder is thought to do, where it does not say so itself.
    Raises `Taken` when another process holds it. Where there is no lock file and none can be
    made (a read-only file system) nobody can change anything either.
    """
    try:
        file = lock.open("r")
    except OSError:
        yield
        return
    with file:
        _lock_in_kernel(file, fcntl.LOCK_SH, what)
        yield


def _lock_in_kernel(file: IO[str], kind: int, what: str) -> bool:
    """Lock `file` for this process; False where the file system has no locks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _taken(file, what) from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _taken(file: IO[str], what: str) -> Taken:
    holder, lockers = _holder(file), _lockers(file)
    is_stale = holder.get("host") == socket.gethostname() and str(holder["process"]) not in lockers
    if holder and not (is_stale and lockers):
        by = "{command} (process {process} on {host}, since {since})".format(**holder)
        return Taken(f"{holder.get('what', what)} by {by}; wait for it, or stop it")
    readers = " and ".join(f"process {number}" for number in lockers) or "another process"
    return Taken(f"{Path(file.name).parent} is in use by {readers}; wait for it, or stop it")


def _lockers(file: IO[str]) -> list[str]:
    """Numbers of the processes of this machine that have locked `file`, where Linux tells."""
    own = os.fstat(file.fileno()).st_ino
    with suppress(OSError, IndexError):
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        # e.g. `1: FLOCK ADVISORY READ 13273 fe:00:5497709 0 EOF`: process, device and inode
        return [lock[4] for lock in locks if lock[5].rpartition(":")[2] == str(own)]
    return []


def _holder(file: IO[str]) -> dict:
    """What the process that holds the lock wrote about itself; empty when nobody does."""
    file.seek(0)
    with suppress(ValueError):
        return json.loads(file.read() or "{}")
    return {}


def _check_no_sign_of_life(file: IO[str], what: str) -> None:
    """`UserError` if a process that the kernel does not know of still marks the file as held."""
    if not _holder(file):
        return
    before = os.fstat(file.fileno()).st_mtime_ns
    until = time.monotonic() + 2.5 * BEAT_S
    while time.monotonic() < until:
        time.sleep(BEAT_S / 10)
        if os.stat(file.name).st_mtime_ns != before:
            raise _taken(file, what)


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _beat(lock: Path, released: threading.Event) -> None:
    """Change the time of the lock file now and then, for processes on other machines."""
    while not released.wait(BEAT_S):
        with suppress(OSError):
            os.utime(lock)


def _sync_folder(folder: Path) -> None:
    """Force a rename to disk; file systems that cannot sync a folder are left alone."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
