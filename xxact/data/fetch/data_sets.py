"""Public data sets by name: where their files are and how they become inputs of `prepare`."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urljoin

from xxact.data.fetch.download import Patience, download, read_text
from xxact.errors import UserError
from xxact.files import write_atomically

#: Alexandria 3D (PBE), release 2024.12.14, CC BY 4.0; the folder carries the next day's date.
ALEXANDRIA = "https://alexandria.icams.rub.de/data/pbe/2024.12.15/"

#: MP-20 of CDVAE (Xie et al. 2022), MIT; Materials Project data, CC BY 4.0.
MP20 = "https://raw.githubusercontent.com/txie-93/cdvae/main/data/mp_20/"

#: Benchmark of CrabNet on AFLOW bulk moduli (Wang et al. 2021), MIT; file -> SHA-256.
AFLOW = (
    "https://raw.githubusercontent.com/anthony-wang/CrabNet/7436ccdf5ba3c49287a0251f593ce4b52e2dd514/"
    "data/benchmark_data/aflow__ael_bulk_modulus_vrh/"
)
AFLOW_FILES = {
    "train.csv": "b9b371e3fcd47d38dc94e568515980e8b2ed83ef077f4339ba1bbccbef37a62b",
    "val.csv": "cc13020813fdc2a1a14c1e040faca6bcb034d6be2e08440221b9cbaa1cc932eb",
    "test.csv": "2a5b1c547e09f9b7e095802f27e4993d243aa1925b4e6fb991aec31f14c3cbf9",
}

_DIGEST_OF_FILE = re.compile(r"^((?:[\da-fA-F]{32}){1,2})\s+[*]?(?:\S*/)?(\S+)\s*$", re.M)

# ------------------------------------------------------------------------------ Alexandria


def parse_ranges(text: str) -> list[int] | None:
    """`0-2,7` as [0, 1, 2, 7]; None (all files) for an empty text."""
    if not text:
        return None
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise UserError(f"--files {text}: write ranges and numbers, e.g. 0-2 or 0,3,7")
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(numbers)


def alexandria(
    out: Path,
    numbers: list[int] | None = None,
    base: str = ALEXANDRIA,
    patience: Patience | None = None,
) -> list[Path]:
    """Download the release's files that its index page lists (None: all), about 50 of them."""
    page = read_text(base, patience)
    files = {
        int(match[2]): urljoin(base, match[1])
        for match in re.finditer(r"""href=["']?([^"'> ]*alexandria_(\d+)\.json\.bz2)["' >]""", page)
    }
    if not files:
        raise UserError(f"the page {base} lists no file alexandria_NNN.json.bz2")
    missing = sorted(set(numbers or files) - set(files))
    if missing:
        raise UserError(
            f"{base} has no file number {', '.join(map(str, missing))}; "
            f"it has {min(files)} to {max(files)}"
        )
    digests = _published_digests(base, page, patience)
    paths = []
    for number in sorted(numbers or files):
        name = files[number].rsplit("/", 1)[-1]
        paths.append(download(files[number], out / name, digests.get(name), patience))
    say_next("alexandria", [str(out / "alexandria_*.json.bz2")], "data/alexandria")
    return paths


def _published_digests(base: str, page: str, patience: Patience | None) -> dict[str, str]:
    """Hashes by file name from lists such as `SHA256SUMS` or `md5sums.txt` on the page, if any."""
    digests = {}
    for match in re.finditer(r"""href=["']?([^"'> /]*(sha256|md5)[^"'> /]*)["' >]""", page, re.I):
        text = read_text(urljoin(base, match[1]), patience)
        for line in re.finditer(_DIGEST_OF_FILE, text):
            digests[line[2]] = line[1]
    return digests


# ----------------------------------------------------------------------------------- MP-20


def mp20(out: Path, base: str = MP20, patience: Patience | None = None) -> list[Path]:
    """Download CDVAE's `train.csv`, `val.csv` and `test.csv`; their split is to be kept."""
    names = ("train", "val", "test")
    paths = [
        download(urljoin(base, f"{n}.csv"), out / f"{n}.csv", patience=patience) for n in names
    ]
    say_next("csv", [f"{n}={p}" for n, p in zip(names, paths, strict=True)], "data/mp20")
    return paths


# ------------------------------------------------------------------------------ AFLOW moduli


def aflow(
    out: Path,
    base: str = AFLOW,
    files: Mapping[str, str] = AFLOW_FILES,
    patience: Patience | None = None,
) -> list[Path]:
    """Download `files` (name -> SHA-256), keeping those in `out`, and leave out pure elements.

    The benchmark's authors drop pure elements before they train and score. What is left goes to
    `<name>_compounds.csv`; the given split is to be kept.
    """
    paths = []
    for name, digest in files.items():
        raw = download(urljoin(base, name), out / name, digest, patience)
        header, *rows = _rows(raw.read_text())
        kept = [row for row in rows if len(re.findall("[A-Z]", row[0])) > 1]
        paths.append(out / f"{raw.stem}_compounds.csv")
        lines = (",".join(row) + "\n" for row in (header, *kept))
        write_atomically(paths[-1], "".join(lines).encode())
        print(f"{paths[-1]}: {len(kept):,} of {len(rows):,} rows", file=sys.stderr)
    inputs = [f"{Path(n).stem}={p}" for n, p in zip(files, paths, strict=True)]
    say_next("csv", inputs, "data/aflow --target bulk_modulus:GPa=target")
    return paths


def _rows(text: str) -> Iterator[list[str]]:
    return (row for row in csv.reader(io.StringIO(text)) if row)


def say_next(source: str, inputs: list[str], out: str) -> None:
    """Print the command that makes a store of what was downloaded."""
    print(f"next: xxact data prepare --source {source} --input {' '.join(inputs)} --out {out}")
