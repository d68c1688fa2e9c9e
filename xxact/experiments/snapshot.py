"""The code as it was submitted: a copy that a job runs, however long it waits in the queue."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from xxact.training.identity import SUBMITTED

#: What a job runs: the package and the specs.
FOLDERS = ("xxact", "experiments")


def snapshot_folder(repository: Path, root: Path, state: dict[str, Any]) -> Path:
    """Where a snapshot of `repository` belongs: the name is a hash of the code and of `state`."""
    content = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for file in _files(repository):
        content.update(f"{file}\0".encode() + (repository / file).read_bytes() + b"\0")
    return root / "snapshots" / content.hexdigest()[:16]


def take_snapshot(repository: Path, root: Path, state: dict[str, Any]) -> Path:
    """Copy the code of `repository` to its snapshot folder unless it is there; that folder.

    Every file that git does not ignore is taken as it is on disk, committed or not. `state` is the
    commit and whether files differ from it; it becomes `submitted.json` of the snapshot.
    """
    folder = snapshot_folder(repository, root, state)
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    partial.chmod(0o755)
    for file in _files(repository):
        (partial / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / file, partial / file)
    (partial / SUBMITTED).write_text(json.dumps(state))
    os.replace(partial, folder)
    return folder


def _files(repository: Path) -> list[str]:
    """Paths of the code, relative to `repository`, in order."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    try:
        done = subprocess.run(
            [*command, *FOLDERS], cwd=repository, capture_output=True, text=True, check=True
        )
        names = set(done.stdout.rstrip("\0").split("\0"))
    except (OSError, subprocess.CalledProcessError):  # no git here, or no checkout
        paths = [path for folder in FOLDERS for path in (repository / folder).rglob("*")]
        names = {str(path.relative_to(repository)) for path in paths if path.suffix != ".pyc"}
    return sorted(name for name in names if (repository / name).is_file())
