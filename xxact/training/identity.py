"""What a run is: all that its numbers follow from, known before its first step.

`run.json` in the folder of a run holds it, every checkpoint carries it, and the result repeats it:

    spec            the resolved spec
    seed
    data            name and content hash of the data set
    init_sha256     hash of the weights that it starts from, null if none
    provenance      commit, hash of the code, versions of packages, command: of the run's start

Nothing of the machine is in it, so that a run may go on elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import xxact
from xxact.data.store import Store
from xxact.errors import UserError
from xxact.files import sha256_of
from xxact.training.spec import Spec

FILE = "run.json"
#: Packages that numbers depend on.
PACKAGES = ("torch", "deepspeed", "numpy", "numba", "pymatgen", "scikit-learn")
#: Keys of a spec that change no result: what a row reproduces, and how it is computed. Numbers of
#: processes and micro-batches, kernels and compilation alter the order of sums and the draws of
#: dropout, as another machine does, and nothing that is trained.
NOT_COMPARED = ("reproduces", "engine")
#: In a copy of the code that jobs run: the commit at submission.
SUBMITTED = "submitted.json"

_PACKAGE = Path(xxact.__file__).parent
#: Rooms of the package that no run goes through.
_AFTER_THE_RUN = ("analysis", "inference")
#: Differences that a message lists, and the longest value that it shows.
_SHOWN, _SHORT = 6, 40


def identify(
    spec: Spec, seed: int, store: Store, init: Path | None = None, command: str = ""
) -> dict[str, Any]:
    """The identity of a run on `store`, in the form of its JSON.

    `init` are the weights that it starts from; their hash is null as long as they are not there.
    """
    return {
        "spec": spec.model_dump(mode="json"),
        "seed": seed,
        "data": {"name": store.name, "content_sha256": store.content_sha256},
        "init_sha256": sha256_of(init) if init is not None and init.exists() else None,
        "provenance": _provenance() | {"command": command},
    }


def read_identity(path: Path) -> dict[str, Any] | None:
    """What a `run.json` or result says, None where there is none; `UserError` if it is damaged."""
    try:
        content = json.loads(path.read_bytes())
        return {key: content[key] for key in ("spec", "seed", "data", "provenance")} | content
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: --overwrite starts that run anew") from None


def differences(
    recorded: Mapping[str, Any], now: Mapping[str, Any], kind: type[Spec], code: bool = True
) -> list[str]:
    """What `now` would change in the run that is `recorded`: keys or things, with both values.

    Specs are compared as specs of the type `kind` of today: a key that was added since at its
    default is no difference. `code` compares sources and packages too, which is wanted where a
    run goes on; a finished one is whole, whatever the code became.
    """
    specs = [_flat(of_today(side["spec"], kind)) for side in (recorded, now)]
    pairs = {key: tuple(spec.get(key) for spec in specs) for key in {**specs[0], **specs[1]}}
    pairs["seed"] = recorded["seed"], now["seed"]
    found = [_told(key, *pair) for key, pair in pairs.items() if pair[0] != pair[1]]
    data = recorded["data"], now["data"]
    if data[0].get("content_sha256") != data[1]["content_sha256"]:
        found.append(_told("the data set", *map(_short_data, data)))
    weights = recorded.get("init_sha256"), now["init_sha256"]
    if weights[0] != weights[1] and weights[1] is not None:
        found.append(_told("the weights it starts from", *map(_short_hash, weights)))
    if code:
        found += _differences_of_code(recorded["provenance"], now["provenance"])
    return found


def check_same(
    what: Path,
    recorded: Mapping[str, Any],
    now: Mapping[str, Any],
    kind: type[Spec],
    code: bool = True,
) -> None:
    """`UserError` if `what`, a file of the run that is `recorded`, is not of the run `now`."""
    found = differences(recorded, now, kind, code)
    if not found:
        return
    more = f", and {len(found) - _SHOWN} more" if found[_SHOWN:] else ""
    raise UserError(
        f"{what} is of another run than this command: {', '.join(found[:_SHOWN])}{more}. To keep"
        " that run, undo the change; --overwrite trains anew, another folder keeps both"
    )


def git_state() -> dict[str, Any]:
    """Commit of the code, at submission, and whether files other than results differ from it."""
    recorded = recorded_state(_PACKAGE.parent)
    if recorded is not None:
        return recorded

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=_PACKAGE.parent,
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    changes = git("status", "--porcelain", "--", ".", ":!results")
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "dirty": None if changes is None else bool(changes),
    }


def recorded_state(repository: Path) -> dict[str, Any] | None:
    """The commit at submission where `repository` is a snapshot, None where it is a checkout."""
    try:
        return json.loads((repository / SUBMITTED).read_text())
    except FileNotFoundError:
        return None


def code_sha256(package: Path = _PACKAGE) -> str:
    """Hash of the sources that a run goes through: what makes tables of results is left out."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in _AFTER_THE_RUN:
            digest.update(f"{name.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _provenance() -> dict[str, Any]:
    """Of the code that this process runs, which does not change while it does."""
    versions = {"python": platform.python_version(), "xxact": xxact.__version__}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):  # not every run needs each
            versions[name] = importlib.metadata.version(name)
    return git_state() | {"code_sha256": code_sha256(), "versions": versions}


def of_today(spec: Mapping[str, Any], kind: type[Spec]) -> dict[str, Any]:
    """A recorded spec as today's version would write it, or as it is if that cannot read it."""
    try:
        spec = kind.model_validate(spec).model_dump(mode="json")
    except ValidationError:
        spec = dict(spec)
    return {key: value for key, value in spec.items() if key not in NOT_COMPARED}


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flat


def _differences_of_code(recorded: Mapping, now: Mapping) -> Iterator[str]:
    if recorded.get("code_sha256") != now["code_sha256"]:
        commits = [(side.get("git_commit") or "no commit")[:10] for side in (recorded, now)]
        yield _told("the code", *commits) if commits[0] != commits[1] else "the code"
    for name in PACKAGES:
        versions = [side.get("versions", {}).get(name) for side in (recorded, now)]
        if None not in versions and versions[0] != versions[1]:
            yield f"{name} {versions[1]} against {versions[0]}"


def _told(what: str, recorded: Any, now: Any) -> str:
    values = [json.dumps(value, ensure_ascii=False).replace('"', "'") for value in (recorded, now)]
    if max(map(len, values)) > _SHORT:
        return what
    return f"{what} {values[1]} against {values[0]}"


def _short_data(data: Mapping[str, Any]) -> str:
    return f"{data['name']} {_short_hash(data.get('content_sha256'))}"


def _short_hash(digest: str | None) -> str:
    return digest[:10] if digest else "none"
