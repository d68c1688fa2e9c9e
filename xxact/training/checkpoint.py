"""Checkpoints: whole or not there, and the same whatever engine or world size wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from xxact.errors import UserError, explained
from xxact.files import written_whole


def save(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` so that a crash at any moment leaves the old file or the new.

    Raises `UserError` when it cannot be written; the last good checkpoint is then intact.
    """
    try:
        with written_whole(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        cause = (
            error if isinstance(error, OSError) else error.__context__
        )  # torch hides a full disk
        said = cause.strerror if isinstance(cause, OSError) else str(error).splitlines()[0]
        raise UserError(
            f"cannot write the checkpoint {path}: {said}; free some"
            " space and start the same command again: it goes on from the last checkpoint"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU; only tensors and plain values are read.

    Raises `UserError` when it cannot be read.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read the checkpoint {explained(error)}") from None
    except Exception:  # torch names many, and advises to switch the protection off
        content = None
    if not isinstance(content, dict):
        raise UserError(
            f"the checkpoint {path} is damaged, or none of this program; delete it to start that"
            " run anew"
        )
    return content
