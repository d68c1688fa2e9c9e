"""Weights of a finished run, as files that anyone may read without running anyone's code.

`model.safetensors` holds the tensors alone, so that its hash is theirs; `model.json` beside it
holds what else a prediction needs:

    spec, identity      of the run (`xxact.training.identity`)
    targets             name, unit and classes of each, as the model knows them
    standard            mean and standard deviation of each regression target, in its unit
    weights_sha256      of model.safetensors

The weights are written last: a folder that has them holds a finished run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from xxact.errors import UserError
from xxact.files import write_atomically

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


def save_weights(folder: Path, weights: Mapping[str, Tensor], description: dict[str, Any]) -> None:
    """Write both files; `description` is all of `model.json` but the hash."""
    content = safetensors.torch.save({name: x.contiguous() for name, x in weights.items()})
    description = description | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    write_atomically(folder / DESCRIPTION, json.dumps(description, indent=1).encode())
    write_atomically(folder / WEIGHTS, content)


def read_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights on the CPU, and their description.

    Raises `UserError` when the run is not finished, or one of the two files is damaged.
    """
    try:
        content = (folder / WEIGHTS).read_bytes()
        description = json.loads((folder / DESCRIPTION).read_bytes())
        expected = description["weights_sha256"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"there is no finished run in {folder} ({Path(error.filename).name} is missing): train"
            " it first"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder / DESCRIPTION} is damaged: train the run again") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise UserError(
            f"{folder / WEIGHTS} is damaged, or not what {DESCRIPTION} beside it describes: copy"
            " both again, or train the run again"
        )
    try:
        return safetensors.torch.load(content), description
    except safetensors.SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS} is no safetensors file: {error}") from None
