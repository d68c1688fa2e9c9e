"""Reference energies: every element relaxed by CHGNet in many structures, the lowest taken."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

from pymatgen.core import Structure

from mini.candidates import POOLS
from mini.potential import Potential
from mini.prototypes import NONMETALS, Prototype, load_library
from mini.relax import Rejected, check_distances, relax, run_in_step
from mini.work import read_records

# Close-packed, open, layered and molecular structures that every element is tried in ...
COMMON = """
    A_cF4_225_a A_cI2_229_a A_hP2_194_c A_hP4_194_ac A_hR3_166_ac A_cP1_221_a A_cF8_227_a
    A_tI2_139_a A_tI4_141_a A_hR2_166_c A_hP3_152_a A_oC8_64_f A_hP4_194_bc A_hR1_166_a
    A_mC4_12_i A_cP8_205_c
"""
BONDS = {"H": 0.74, "N": 1.10, "O": 1.21, "F": 1.42, "Cl": 1.99, "Br": 2.28, "I": 2.67}  # A
OWN_SITES = 34  # ... and its own structures of the library, up to alpha-Mn and orthorhombic S


def all_elements() -> list[str]:
    """Elements that candidates are made of."""
    return sorted({element for pool in POOLS.values() for element in pool.split()})


def relax_elements(folder: Path) -> dict[str, dict]:
    """Energy (eV/atom) and structure of each element's lowest record; makes those missing."""
    path = folder / "elements.jsonl"
    done = read_records(folder, path.name)
    trials = [trial for trial in _trials() if trial[0] not in done]
    if trials:
        tasks = ((name, _relaxed_energy(prototype, e)) for name, prototype, e in trials)
        with open(path, "a", buffering=1) as out:
            out.write("\n" if out.tell() else "")  # ends a line that was cut short
            for name, result in run_in_step(tasks, Potential(), 6):
                what = {"rejected": str(result)} if isinstance(result, Rejected) else result
                out.write(json.dumps({"id": name} | what) + "\n")
    return lowest(read_records(folder, path.name))


def lowest(records: dict[str, dict]) -> dict[str, dict]:
    """The record of least energy for each element."""
    best: dict[str, dict] = {}
    for record in (r for r in records.values() if "energy" in r):
        element = record["element"]
        if element not in best or record["energy"] < best[element]["energy"]:
            best[element] = record
    return best


def _trials() -> list[tuple[str, Prototype, str]]:
    library = [p for p in load_library(OWN_SITES) if p.family == "A"]
    return [
        (f"{element}/{prototype.key}", prototype, element)
        for element in all_elements()
        for prototype in library
        if prototype.label in COMMON.split() or prototype.roles == (element,)
    ]


def _start(prototype: Prototype, element: str) -> Structure:
    """The prototype at a volume that lets molecules have their bonds, and that is not below what
    other nonmetals need: far denser ones are outside the range that CHGNet has learnt."""
    structure = prototype.fill((element,))
    radius = float(structure[0].specie.atomic_radius)
    if element in NONMETALS:
        stretch = BONDS.get(element, 2 * radius) / (2 * radius)
        least = len(structure) * (3.0 + 6.0 * radius**3)
        structure.scale_lattice(max(structure.volume * stretch**3, least))
    return structure


def _relaxed_energy(prototype: Prototype, element: str) -> Generator:
    relaxed, energy, _ = yield from relax(_start(prototype, element), max_steps=100)
    check_distances(relaxed)
    return {
        "element": element,
        "structure": prototype.label,
        "energy": energy / len(relaxed),
        "volume": relaxed.volume / len(relaxed),
    }
