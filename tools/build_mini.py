#!/usr/bin/env python
"""Build the embedded data set `mini`: the small polymorphs of the Materials Project.

    xxact data fetch mp --out data/raw/mp
    python tools/build_mini.py data/raw/mp

Of the labelled crystals those of at most 20 sites are taken whose formula has at least two of them:
among these the formula alone cannot tell the energy, and a pattern has something to add. Rows are
copied as they are, in their order. The data card is written beside them (see `mini_card`).
"""

from __future__ import annotations

import argparse
import json
import lzma
import tempfile
from pathlib import Path

import pandas as pd
from mini_card import card

from xxact.data.fetch.materials_project import JOIN, LABELLED
from xxact.data.prepare import prepare
from xxact.files import write_atomically

FOLDER = Path(__file__).resolve().parents[1] / "xxact/data/mini"
MAX_SITES = 20


def read_rows(path: Path) -> pd.DataFrame:
    """A CSV file as it is written: every field a string, an empty one for what is not known."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def polymorphs(rows: pd.DataFrame, max_sites: int = MAX_SITES) -> pd.DataFrame:
    """Rows of at most `max_sites` sites whose formula has two such rows or more."""
    small = rows[rows.nsites.astype(int) <= max_sites]
    return small[small.groupby("pretty_formula").material_id.transform("size") >= 2]


def write_mini(rows: pd.DataFrame, folder: Path) -> Path:
    """Write `mini.csv.xz`; the same rows give the same bytes."""
    text = rows.to_csv(index=False, lineterminator="\n")
    path = folder / "mini.csv.xz"
    write_atomically(path, lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="DIR", help="what `fetch mp` made")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    arguments = parser.parse_args()
    path = write_mini(polymorphs(read_rows(arguments.source / LABELLED)), arguments.out)
    with tempfile.TemporaryDirectory() as folder:
        store = prepare("csv", [path], Path(folder) / "mini").store
        agreement = json.loads((arguments.source / JOIN).read_text())
        text = card(read_rows(path), store, agreement)
    write_atomically(arguments.out / "README.md", text.encode())
    print(f"{path}: {store.n:,} crystals, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
