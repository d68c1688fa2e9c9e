"""Public data sets by name: where their files are and how they become inputs of `prepare`."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import re
import sys
import tarfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urljoin

import numpy as np

from xxact.data.cif import read_cif
from xxact.data.download import Checks, Patience, download, read_text
from xxact.data.progress import Rate
from xxact.data.store import PARTS, write_atomically
from xxact.data.subset import part_of
from xxact.errors import UserError
from xxact.xrd.crystal import Crystal

#: Alexandria 3D (PBE), release 2024.12.14, CC BY 4.0; the folder carries the next day's date.
ALEXANDRIA = "https://alexandria.icams.rub.de/data/pbe/2024.12.15/"

#: MP-20 of CDVAE (Xie et al. 2022), MIT; Materials Project data, CC BY 4.0.
MP20 = "https://raw.githubusercontent.com/txie-93/cdvae/main/data/mp_20/"

#: CIFs and ids (MIT), properties; Materials Project data of 2020 or before, CC BY 4.0.
CRYSXPP = "https://codeload.github.com/kdmsit/crysxpp/tar.gz/b12e52b8db9f"
MT_CGCNN = (
    "https://raw.githubusercontent.com/kdmsit/mt-cgcnn/bdfaf106c3bcc7d49f543da7eabc5fed4fb733b3/"
)

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

#: Rows whose sources differ by more are of another calculation, and are dropped.
ENERGY_TOLERANCE_EV_PER_ATOM = 1e-3
VOLUME_TOLERANCE = 1e-3

_MP_COLUMNS = (
    "material_id",
    "pretty_formula",
    "formation_energy_per_atom",
    "band_gap",
    "spacegroup.number",
    "nsites",
    "cif",
)


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
        checks = digests.get(name, Checks())
        paths.append(download(files[number], out / name, checks, patience))
    _say_next("alexandria", [str(out / "alexandria_*.json.bz2")], "data/alexandria")
    return paths


def _published_digests(base: str, page: str, patience: Patience | None) -> dict[str, Checks]:
    """Hashes by file name from lists such as `SHA256SUMS` or `md5sums.txt` on the page, if any."""
    digests = {}
    for match in re.finditer(r"""href=["']?([^"'> /]*(sha256|md5)[^"'> /]*)["' >]""", page, re.I):
        text = read_text(urljoin(base, match[1]), patience)
        for line in re.finditer(r"^([0-9a-fA-F]{32,64})\s+[*]?(?:\S*/)?(\S+)\s*$", text, re.M):
            digests[line[2]] = Checks(algorithm=match[2].lower(), digest=line[1])
    return digests


# ----------------------------------------------------------------------------------- MP-20


def mp20(out: Path, base: str = MP20, patience: Patience | None = None) -> list[Path]:
    """Download CDVAE's `train.csv`, `val.csv` and `test.csv`; their split is to be kept."""
    names = ("train", "val", "test")
    paths = [
        download(urljoin(base, f"{n}.csv"), out / f"{n}.csv", patience=patience) for n in names
    ]
    _say_next("csv", [f"{n}={p}" for n, p in zip(names, paths, strict=True)], "data/mp20")
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
        raw = download(urljoin(base, name), out / name, Checks(digest=digest), patience)
        header, *rows = _rows(raw.read_text())
        kept = [row for row in rows if len(re.findall("[A-Z]", row[0])) > 1]
        paths.append(out / f"{raw.stem}_compounds.csv")
        lines = (",".join(row) + "\n" for row in (header, *kept))
        write_atomically(paths[-1], "".join(lines).encode())
        print(f"{paths[-1]}: {len(kept):,} of {len(rows):,} rows", file=sys.stderr)
    inputs = [f"{Path(n).stem}={p}" for n, p in zip(files, paths, strict=True)]
    _say_next("csv", inputs, "data/aflow --target bulk_modulus:GPa=target")
    return paths


# --------------------------------------------------------------- Materials Project crystals


def mp(
    out: Path,
    structures: str = CRYSXPP,
    properties: str = MT_CGCNN,
    patience: Patience | None = None,
) -> Path:
    """Build `mp_structures.csv.xz`: CIFs of one source joined to properties of another by mp id.

    Dropped and counted: ids that one source lacks, and rows whose formation energies or volumes
    disagree between the sources (by more than 1 meV/atom or 0.1 %), and the twentieth of the rows
    that would be the audit part: the committed results are of the others. The space group is
    spglib's at symprec 0.1.
    """
    archive = download(structures, out / "crysxpp.tar.gz", patience=patience)
    tables = [
        download(urljoin(properties, f"data/{name}"), out / f"mt-cgcnn_{name}", patience=patience)
        for name in ("id_prop.csv", "material_id_hash.csv")
    ]
    target = out / "mp_structures.csv.xz"
    _write_mp(target, join_mp(archive, *tables))
    _say_next("csv", [str(target)], "data/mp")
    return target


def join_mp(archive: Path, properties: Path, ids: Path) -> Iterator[tuple]:
    """Rows of `mp_structures.csv`, in the order of the archive's own list of ids."""
    listed, energies, cifs = _read_archive(archive)
    known = _by_id(properties.read_text(), ids.read_text())
    dropped = dict.fromkeys(("in one source only", "energies differ", "volumes differ"), 0)
    dropped |= {"unreadable": 0, "in the audit part": 0}
    progress = Rate("joining (rows)")
    for done, (index, identifier) in enumerate(listed.items(), start=1):
        fields = known.get(identifier)
        if part_of(identifier.encode()) == PARTS["audit"]:
            dropped["in the audit part"] += 1
            continue
        if fields is None or index not in cifs or index not in energies:
            dropped["in one source only"] += 1
            continue
        try:
            row = _mp_row(identifier, cifs[index], energies[index], fields)
        except ValueError:  # a CIF (`CrystalError`) or a number that cannot be read
            row = "unreadable"
        if isinstance(row, str):
            dropped[row] += 1
        else:
            yield row
        progress.update(done, len(listed))
    progress.update(len(listed), len(listed), last=True)
    print("left out: " + ", ".join(f"{n:,} {what}" for what, n in dropped.items()), file=sys.stderr)


def _mp_row(identifier: str, cif: str, energy: str, fields: list[str]) -> tuple | str:
    """One row, or why it is dropped. `fields`: energy, band gap, Fermi energy, volume, ..."""
    other_energy, gap, _, volume = fields[:4]
    crystal = read_cif(cif)
    own_volume = abs(float(np.linalg.det(crystal.lattice)))
    if not abs(float(energy) - float(other_energy)) <= ENERGY_TOLERANCE_EV_PER_ATOM:
        return "energies differ"
    if not abs(own_volume / float(volume) - 1.0) <= VOLUME_TOLERANCE:
        return "volumes differ"
    formula = re.search(r"^_chemical_formula_sum\s+'?([^'\n]+)'?", cif, re.MULTILINE)
    name = formula[1].replace(" ", "") if formula else ""
    gap = "" if gap == "None" else gap
    n_sites = int(crystal.site.max()) + 1
    return identifier, name, float(energy), gap, _spglib_number(crystal), n_sites, cif


def _spglib_number(crystal: Crystal, symprec: float = 0.1) -> int:
    """spglib's space-group number, 0 if it finds none."""
    import spglib

    cell = (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = spglib.get_spacegroup(cell, symprec=symprec)
    match = re.search(r"\((\d+)\)", found or "")
    return int(match[1]) if match else 0


def _read_archive(archive: Path) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """mp id, formation energy and CIF by the archive's own index."""
    texts = {}
    try:
        with gzip.open(archive) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as members:
                for member in members:
                    place = member.name.split("/", 1)[-1]
                    if member.isfile() and re.fullmatch(r"data/[^/]+\.(cif|csv)", place):
                        texts[place[5:]] = members.extractfile(member).read().decode()
            while stream.read(1 << 20):  # tarfile takes an early end for the end
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(
            f"{archive} is damaged ({error}): delete it and run the same command again"
        ) from error
    try:
        listed = dict(_rows(texts["material_id_hash.csv"]))
        energies = dict(_rows(texts["id_prop.csv"]))
    except (KeyError, ValueError) as error:
        raise UserError(f"{archive} does not hold the expected tables: {error}") from error
    cifs = {name[:-4]: text for name, text in texts.items() if name.endswith(".cif")}
    return listed, energies, cifs


def _by_id(properties: str, ids: str) -> dict[str, list[str]]:
    """The properties (without their index) by mp id."""
    names = dict(_rows(ids))
    return {names[index]: fields for index, *fields in _rows(properties) if index in names}


def _rows(text: str) -> Iterator[list[str]]:
    return (row for row in csv.reader(io.StringIO(text)) if row)


def _write_mp(target: Path, rows: Iterator[tuple]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_MP_COLUMNS)
    n = 0
    for row in rows:
        writer.writerow(row)
        n += 1
    write_atomically(target, lzma.compress(buffer.getvalue().encode(), preset=6))
    print(f"{target}: {n:,} crystals", file=sys.stderr)


def _say_next(source: str, inputs: list[str], out: str) -> None:
    print(f"next: xxact data prepare --source {source} --input {' '.join(inputs)} --out {out}")
