"""The Materials Project's crystals of 2025 (`xxact data fetch mp`): download, read, join, write.

Data of the Materials Project under CC BY 4.0. Structures whose licence forbids derivatives (those
of GNoME) are left out, and so is the twentieth of the rows that would be the audit split: what the
committed results say of that split is measured by others.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import lzma
import re
import sys
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xxact.data.fetch.data_sets import say_next
from xxact.data.fetch.download import Patience, download, download_wheel
from xxact.data.fetch.mp_join import Label, Material, Sources, join
from xxact.data.progress import Rate
from xxact.data.store import SPLITS
from xxact.data.subset import split_of
from xxact.errors import UserError
from xxact.files import write_atomically

#: What is made: crystals with a formation energy, those without, and how the sources agree.
LABELLED, UNLABELLED, JOIN = "mp_2025.csv.xz", "mp_2025_structures.csv.xz", "mp_2025_join.json"
COLUMNS = (
    "material_id",
    "pretty_formula",
    "formation_energy_per_atom",
    "energy_source",
    "band_gap",
    "gap_source",
    "nsites",
    "cif",
)
MAX_SITES = 60
#: Ids from here on are taken to be GNoME's: the ids have a gap below.
FIRST_GNOME_ID = 3_200_000


@dataclass(frozen=True)
class Origin:
    """Where the sources are: `files` maps name to address and SHA-256.

    The archive of the structures is made anew by its server, with bytes that may change; what is
    checked is `tree`, the Git object id of its folder `cif`.
    """

    structures: str
    tree: str
    files: Mapping[str, tuple[str, str]]
    wheel: str
    wheel_sha256: str


_GITHUB = "https://raw.githubusercontent.com/"
_JARVIS = (
    f"{_GITHUB}usnistgov/jarvis_leaderboard/57afc55f94c8a6f4562f73a3173968cd4b2f83b1/"
    "jarvis_leaderboard/benchmarks/AI/SinglePropertyPrediction/"
)
_CRABNET = f"{_GITHUB}anthony-wang/CrabNet/457b4d4835737ecbe4dd33e53174bd818bd82143/data/matbench/"

#: Structures: Coudert and co-workers, doi 10.26434/chemrxiv-2024-gsk41, database 2025.02.12.
#: Labels: MEGNet (MP 2018.6.1), Matbench (MP of 2019), the hull's list of DARA.
ORIGIN = Origin(
    structures="https://codeload.github.com/fxcoudert/topology_databases/tar.gz/"
    "41163fcf52ff9bdb3f993c83ef7eaee6f1676b50",
    tree="14b6584c77b028ab2adb0d3481aca1ece68f71e1",
    files={
        "megnet_e_form.json.zip": (
            f"{_JARVIS}megnet_e_form.json.zip",
            "da8612889b31ac223465011c07d19ad1649802c4fa17aeaa515b3c53b6c60ddf",
        ),
        "megnet_gappbe.json.zip": (
            f"{_JARVIS}megnet_gappbe.json.zip",
            "ab79f9f722731aa5131ca97df91d48cf37611dab9b0ac5934e274be7e7071b1e",
        ),
        "mp_e_form.csv": (
            f"{_CRABNET}mp_e_form.csv",
            "90e895635c96447c5be4e9070d26f26e1b4d17925102a6597ae3c4d79c32555b",
        ),
        "mp_gap.csv": (
            f"{_CRABNET}mp_gap.csv",
            "4084e584467e6f81ec8bf12c438eeb2c049ae39e11401bae694ef6a9983b9d9f",
        ),
    },
    wheel="dara_xrd-1.3.0-py3-none-any.whl",
    wheel_sha256="f52eebf6174c0a9a23864c2405fb8493d1737630ae359805c95f2c1f6d8aa20c",
)


def mp(out: Path, origin: Origin = ORIGIN, patience: Patience | None = None) -> list[Path]:
    """Make `LABELLED`, `UNLABELLED` and `JOIN` in `out`, where the sources are kept too."""
    archive = download(origin.structures, out / "topology_databases.tar.gz", patience=patience)
    files = {
        name: download(url, out / name, digest, patience)
        for name, (url, digest) in origin.files.items()
    }
    wheel = download_wheel(origin.wheel, out, origin.wheel_sha256)
    materials = read_structures(archive, origin.tree)
    sources = Sources(
        read_megnet(files["megnet_e_form.json.zip"]),
        read_megnet(files["megnet_gappbe.json.zip"]),
        read_matbench(files["mp_e_form.csv"]),
        read_matbench(files["mp_gap.csv"]),
        read_hull(wheel),
    )
    energies, gaps, agreement = join(materials, sources)
    kept = [m for m in materials if m.n_sites <= MAX_SITES and not _is_audit(m)]
    for name, has_energy in ((LABELLED, True), (UNLABELLED, False)):
        rows = [_row(m, energies, gaps) for m in kept if (m.id in energies) == has_energy]
        _write(out / name, rows)
    write_atomically(out / JOIN, (json.dumps(agreement, indent=1) + "\n").encode())
    paths = [out / LABELLED, out / UNLABELLED]
    say_next("csv", [str(path) for path in paths], "data/mp")
    return paths


def _is_audit(material: Material) -> bool:
    return split_of(material.id.encode()) == SPLITS["audit"]


def _row(material: Material, energies: Mapping[str, Label], gaps: Mapping[str, Label]) -> tuple:
    """A row of `COLUMNS`; what is not known is empty."""
    energy, energy_source = energies.get(material.id, ("", ""))
    gap, gap_source = gaps.get(material.id, ("", ""))
    energy = energy if energy == "" else round(energy, 6)
    formula, n_sites = material.formula, material.n_sites
    return material.id, formula, energy, energy_source, gap, gap_source, n_sites, material.cif


def _write(path: Path, rows: Sequence[tuple]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_atomically(path, lzma.compress(buffer.getvalue().encode(), preset=6))
    print(f"{path}: {len(rows):,} crystals", file=sys.stderr)


# ------------------------------------------------------------------------------- structures


def read_structures(archive: Path, tree: str) -> list[Material]:
    """The structures of the archive's folder `cif`, by id; those of GNoME are left out.

    `UserError` where the archive is damaged or its folder is not the Git tree `tree`.
    """
    blobs, materials = {}, []
    progress = Rate("reading (structures)")
    for name, content in _members(archive):
        blobs[name] = hashlib.sha1(b"blob %d\0" % len(content) + content).digest()
        identifier = name.removesuffix(".cif")
        if int(re.search(r"\d+$", identifier)[0]) < FIRST_GNOME_ID:
            materials.append(read_structure(identifier, content.decode()))
        progress.update(len(blobs), None)
    if tree_id(blobs) != tree:
        raise UserError(
            f"{archive} does not hold the structures of the pinned version: delete it and run the "
            "same command again"
        )
    return sorted(materials, key=lambda material: material.id)


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each CIF in the folder `cif`."""
    try:
        with gzip.open(archive) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as members:
                for member in members:
                    match = re.fullmatch(r"[^/]+/cif/([a-z]+-\d+\.cif)", member.name)
                    if member.isfile() and match:
                        yield match[1], members.extractfile(member).read()
            while stream.read(1 << 20):  # tarfile takes an early end for the end
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(
            f"{archive} is damaged ({error}): delete it and run the same command again"
        ) from error


def tree_id(blobs: Mapping[str, bytes]) -> str:
    """Git's id of a folder of plain files, from the SHA-1 of each file's blob by name."""
    content = b"".join(b"100644 %s\0%s" % (n.encode(), blobs[n]) for n in sorted(blobs))
    return hashlib.sha1(b"tree %d\0" % len(content) + content).hexdigest()


_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_LAYOUT = re.compile(
    ".*?" + "".join(rf"_cell_{key} +(\S+)\n" for key in _CELL) + r".*?"
    r"_chemical_formula_structural +(\S+)\n.*? _atom_site_occupancy\n((?:  [^\n]+\n)+)",
    re.DOTALL,
)


def read_structure(identifier: str, text: str) -> Material:
    """A structure in pymatgen's P1 layout; its CIF is shortened and rounded to five decimals."""
    match = _LAYOUT.match(text)
    if match is None:
        raise UserError(f"the structure {identifier} is not in the layout that pymatgen writes")
    *cell, formula, sites = match.groups()
    rows = [line.split() for line in sites.splitlines()]
    lines = [
        f"data_{identifier}",
        "_symmetry_space_group_name_H-M 'P 1'",
        *(f"_cell_{key} {_rounded(value)}" for key, value in zip(_CELL, cell, strict=True)),
        *("loop_", "_symmetry_equiv_pos_as_xyz", " 'x, y, z'", "loop_"),
        *(f"_atom_site_{key}" for key in ("type_symbol", "label", "fract_x", "fract_y", "fract_z")),
        "_atom_site_occupancy",
    ]
    for k, (symbol, _, _, x, y, z, occupancy) in enumerate(rows):
        place = f"{_rounded(x)} {_rounded(y)} {_rounded(z)}"
        lines.append(f"{symbol} {symbol}{k} {place} {occupancy}")
    return Material(identifier, formula, len(rows), "\n".join(lines) + "\n")


def _rounded(number: str) -> float:
    return round(float(number), 5)


# ----------------------------------------------------------------------------------- labels


def read_megnet(path: Path) -> dict[str, float]:
    """Values by id, of all parts of a benchmark of the JARVIS leaderboard."""
    with zipfile.ZipFile(path) as archive:
        parts = json.loads(archive.read(path.name.removesuffix(".zip")))
    return {identifier: float(v) for part in parts.values() for identifier, v in part.items()}


def read_matbench(path: Path) -> dict[str, list[float]]:
    """All values of each reduced formula."""
    with open(path, newline="") as stream:
        rows = [(row["formula"], float(row["target"])) for row in csv.DictReader(stream)]
    reduced = reduced_formulas(formula for formula, _ in rows)
    values = defaultdict(list)
    for formula, value in rows:
        values[reduced[formula]].append(value)
    return dict(values)


def reduced_formulas(formulas: Iterable[str]) -> dict[str, str]:
    """Each formula as pymatgen reduces and writes it, which is the Materials Project's way."""
    from pymatgen.core import Composition

    return {formula: Composition(formula).reduced_formula for formula in set(formulas)}


def read_hull(wheel: Path) -> dict[str, list[tuple[float, int]]]:
    """Energy above the hull (eV/atom) and space-group number of the structures of each formula."""
    with zipfile.ZipFile(wheel) as archive:
        content = gzip.decompress(archive.read("dara/data/mp_struct_info.json.gz"))
    return {
        formula: [(energy, number) for energy, (_, number) in entries]
        for formula, entries in json.loads(content).items()
        if entries
    }
