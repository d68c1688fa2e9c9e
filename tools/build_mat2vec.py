#!/usr/bin/env python
"""Write mat2vec's element vectors for `xxact.models.mat2vec`, from the wheel that has them.

    python tools/build_mat2vec.py data/raw/mat2vec

ElementEmbeddings (MIT) carries the table that CrabNet's authors read, byte for byte: a row an
element, 200 numbers. The wheel goes to the folder that is named, by pip.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from xxact.data.elements import SYMBOLS
from xxact.data.fetch.download import download_wheel
from xxact.files import write_atomically
from xxact.models.mat2vec import FILE

WHEEL = "elementembeddings-0.8.0-py3-none-any.whl"
WHEEL_SHA256 = "7c35940337b1eec6ad0f6ebd83c7adb4b912863aa96eebff102d4536324f0170"
MEMBER = "elementembeddings/data/element_representations/mat2vec.csv"


def read_wheel(wheel: Path) -> np.ndarray:
    """Vectors (118, 200) float32 in the order of atomic numbers."""
    with zipfile.ZipFile(wheel) as archive:
        table = pd.read_csv(io.BytesIO(archive.read(MEMBER)), index_col="element")
    return table.loc[list(SYMBOLS[1:])].to_numpy(np.float32)


def write(vectors: np.ndarray, path: Path) -> str:
    """Write the vectors as `path`; the SHA-256 of the file."""
    stream = io.BytesIO()
    np.save(stream, vectors)
    write_atomically(path, stream.getvalue())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheels", type=Path, metavar="DIR", help="where the wheel goes, or is")
    arguments = parser.parse_args()
    arguments.wheels.mkdir(parents=True, exist_ok=True)
    wheel = download_wheel(WHEEL, arguments.wheels, WHEEL_SHA256)
    print(f"{FILE}: SHA-256 {write(read_wheel(wheel), FILE)}")


if __name__ == "__main__":
    main()
