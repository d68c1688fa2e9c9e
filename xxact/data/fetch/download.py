"""Downloads that resume, retry, notice a stalled line, and check size and hash."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from xxact import __version__
from xxact.data.progress import Rate
from xxact.errors import UserError
from xxact.files import sha256_of, write_atomically

T = TypeVar("T")

_CHUNK = 1 << 18
_HEADERS = {"User-Agent": f"xxact/{__version__}", "Accept-Encoding": "identity"}
_FOREVER = (400, 401, 403, 404, 405, 410, 451)
_LINE_FAULTS = (OSError, http.client.HTTPException)  # timeouts and refusals are OSErrors


@dataclass(frozen=True)
class Patience:
    """How long to wait: seconds without a byte, tries without progress, seconds between them."""

    stall: float = 30.0
    tries: int = 6
    pause: float = 2.0


class _Restart(Exception):
    """The partial file is of no use: begin again."""


def download(
    url: str, path: Path, digest: str | None = None, patience: Patience | None = None
) -> Path:
    """Download `url` to `path`; a file that is there already and has the digest is kept.

    digest: the published MD5 or SHA-256 in hexadecimal digits, if there is one; without it, a file
    of the length that the server states is kept.
    What was received is kept in `<path>.partial` and continued, by this call and by later ones,
    as long as the server says that its file is unchanged. `UserError` when the server refuses,
    when nothing more arrives in `patience.tries` tries, or when the digest stays wrong.
    """
    patience = patience or Patience()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and _is_whole(url, path, digest, patience):
        return path
    partial = path.with_name(path.name + ".partial")

    def attempt() -> None:
        try:
            _continue(url, partial, patience)
            _check(partial, digest)
        except _Restart:
            partial.unlink(missing_ok=True)
            raise

    _patiently(url, attempt, patience, lambda: _size(partial))
    os.replace(partial, path)
    _validator_file(partial).unlink(missing_ok=True)
    return path


def download_wheel(name: str, folder: Path, sha256: str) -> Path:
    """Download the wheel `name` with pip, from whatever index that is set up for.

    A wheel that is there already and has the hash is kept. `UserError` where pip cannot get it, or
    gets another file.
    """
    path = folder / name
    if path.exists() and sha256_of(path) == sha256:
        return path
    package, version = name.split("-")[:2]
    command = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", *command, f"{package}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not path.exists():
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UserError(
            f"pip cannot download {package} {version} ({''.join(reason)}); put {name} into "
            f"{folder} yourself and run the same command again"
        )
    if sha256_of(path) != sha256:
        raise UserError(f"{path} is not the published wheel: its SHA-256 differs; delete it")
    return path


def read_text(url: str, patience: Patience | None = None) -> str:
    """A small text (an index page, a list of hashes); `UserError` if it cannot be had."""
    patience = patience or Patience()

    def attempt() -> str:
        with _open(url, {}, patience) as response:
            return response.read().decode("utf-8", "replace")

    return _patiently(url, attempt, patience)


def _patiently(
    url: str, attempt: Callable[[], T], patience: Patience, received: Callable[[], int] = lambda: 0
) -> T:
    """What `attempt` returns, tried again while the line breaks or the server is busy.

    received: bytes so far; tries are counted from where more came. `UserError` at their end.
    """
    failures, reason = 0, ""
    while failures < patience.tries:
        before = received()
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code in _FOREVER:
                raise UserError(f"{url}: the server answers {error.code} {error.reason}") from error
            failures, reason = failures + 1, f"{error.code} {error.reason}"
        except (_Restart, *_LINE_FAULTS) as error:
            failures = 1 if received() > before else failures + 1
            reason = str(error) or type(error).__name__
        time.sleep(min(60.0, patience.pause * 2 ** (failures - 1)))
    raise UserError(
        f"{url}: gave up after {patience.tries} tries ({reason}); run the same command again to "
        f"go on from the {received():,} bytes that are here"
    )


def _open(url: str, headers: dict, patience: Patience, method: str = "GET"):
    request = urllib.request.Request(url, headers=_HEADERS | headers, method=method)
    return urllib.request.urlopen(request, timeout=patience.stall)


def _is_whole(url: str, path: Path, digest: str | None, patience: Patience) -> bool:
    """Whether the file at `path` is the one to download, as far as that can be known."""
    try:
        if digest is not None:
            _check(path, digest)
            return True
        with _open(url, {}, patience, "HEAD") as response:
            length = response.headers.get("Content-Length")
    except _Restart:
        return False
    except _LINE_FAULTS:
        return True
    return length is None or int(length) == path.stat().st_size


def _continue(url: str, partial: Path, patience: Patience) -> None:
    """Receive what is missing; an `OSError` where the line breaks, stalls or ends too early."""
    have, validator = _size(partial), _validator(partial)
    ranged = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
    try:
        response = _open(url, ranged, patience)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            raise _Restart("the server has fewer bytes than the partial file") from error
        raise
    with response:
        resumed = response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _Restart("the server continued from another place")
        _note_validator(partial, response.headers)
        length = response.headers.get("Content-Length")
        start = have if resumed else 0
        end = None if length is None else start + int(length)
        _receive(response, partial, start, end)


def _receive(response, partial: Path, start: int, end: int | None) -> None:
    progress = Rate(partial.name.removesuffix(".partial") + " (bytes)")
    progress.skip(start)
    done = start
    with open(partial, "ab" if start else "wb") as stream:
        while block := response.read1(_CHUNK):
            stream.write(block)
            done += len(block)
            progress.update(done, end)
    if end is not None and done < end:
        raise ConnectionError(f"the line broke after {done:,} of {end:,} bytes")
    progress.update(done, end, last=True)


def _check(path: Path, digest: str | None) -> None:
    """`_Restart` if the file does not have the digest, which is MD5 or SHA-256 by its length."""
    if digest is None:
        return
    algorithm = {32: "md5", 64: "sha256"}[len(digest)]
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != digest.lower():
        raise _Restart(f"its {algorithm} differs from the published one")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator_file(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _validator(partial: Path) -> str | None:
    """What identifies the version of the server's file that the partial file belongs to."""
    try:
        return json.loads(_validator_file(partial).read_text())["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note_validator(partial: Path, headers) -> None:
    etag, modified = headers.get("ETag"), headers.get("Last-Modified")
    validator = modified if etag is None or etag.startswith("W/") else etag
    write_atomically(_validator_file(partial), json.dumps({"validator": validator}).encode())
