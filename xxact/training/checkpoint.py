"""Checkpoints: whole or not there, and the same whatever engine or world size wrote them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from xxact.errors import UserError


def save(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` so that a crash at any moment leaves the old file or the new.

    Raises `UserError` when it cannot be written; the last good checkpoint is then intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"cannot write the checkpoint {path}: {str(error).splitlines()[0]}; free some space and"
            " start the same command again: it goes on from the last checkpoint"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU. Raises `UserError` when it cannot be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}; train that run first") from None
    except Exception as error:  # torch names many
        raise UserError(
            f"cannot read the checkpoint {path}: {str(error).splitlines()[0]}; delete it to start"
            " that run anew"
        ) from error
