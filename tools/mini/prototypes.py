"""Structure prototypes: the AFLOW library that pymatgen ships, and ordered decorations of it."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import spglib
from pymatgen.core import Composition, Element, Structure

NONMETALS = frozenset(
    ["H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Sb", "Te", "I"]
)
SYSTEMS = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
LAST_GROUPS = (2, 15, 74, 142, 167, 194, 230)  # the last space group number of each system


@dataclass(frozen=True)
class Prototype:
    """A primitive cell whose species are roles that elements are put into.

    `roles` are the library's own species in the order of `role_order`.
    """

    label: str  # AFLOW label
    mineral: str
    structure: Structure
    roles: tuple[str, ...]
    spacegroup: int

    @property
    def key(self) -> str:
        """What tells prototypes of one label apart."""
        return f"{self.label}/{self.structure.composition.reduced_formula}/{self.mineral}"

    @property
    def family(self) -> str:
        """Anonymous formula."""
        return self.structure.composition.anonymized_formula

    @property
    def system(self) -> str:
        """Crystal system."""
        return crystal_system(self.spacegroup)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Atoms of each role in the reduced formula."""
        reduced = self.structure.composition.reduced_composition
        return tuple(int(reduced[role]) for role in self.roles)

    def fill(self, elements: tuple[str, ...]) -> Structure:
        """The structure with an element for each role, at a volume guessed from atomic radii."""
        names = dict(zip(self.roles, elements, strict=True))
        species = [names[site.specie.symbol] for site in self.structure]
        filled = Structure(self.structure.lattice, species, self.structure.frac_coords)
        return guess_volume(filled)


def crystal_system(spacegroup: int) -> str:
    """Crystal system of a space group number."""
    return SYSTEMS[bisect_left(LAST_GROUPS, spacegroup)]


def guess_volume(structure: Structure) -> Structure:
    """Scale so that the closest pair stands at 1.02 times the sum of its (Slater) atomic radii."""
    centre, neighbour, _, distance = structure.get_neighbor_list(
        r=1.2 * max(structure.lattice.abc) + 1e-3
    )
    radii = np.array([float(site.specie.atomic_radius) for site in structure])
    closeness = (distance / (radii[centre] + radii[neighbour])).min()
    return Structure(
        structure.lattice.matrix * (1.02 / closeness), structure.species, structure.frac_coords
    )


def role_order(elements: dict[str, int]) -> tuple[str, ...]:
    """Elements by their number in the formula, then metals by falling radius, then nonmetals by
    electronegativity, so that a formula's elements find the matching roles of a prototype."""

    def rank(symbol: str) -> tuple:
        element = Element(symbol)
        nonmetal = symbol in NONMETALS
        within = element.X if nonmetal else -float(element.atomic_radius or 1.5)
        return elements[symbol], nonmetal, within, symbol

    return tuple(sorted(elements, key=rank))


def load_library(max_sites: int) -> list[Prototype]:
    """The AFLOW prototypes with at most `max_sites` sites in the primitive cell."""
    from pymatgen.analysis.prototypes import AflowPrototypeMatcher  # noqa: F401  (loads the data)
    from pymatgen.analysis.prototypes._data import AFLOW_PROTOTYPE_LIBRARY

    warnings.filterwarnings("ignore")
    prototypes, seen = [], set()
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        label = entry["tags"]["aflow"]
        found = _primitive(entry["snl"].structure)
        if found is None or len(found[0]) > max_sites or found[1] != int(label.split("_")[2]):
            continue
        prototype = _prototype(label, entry["tags"]["mineral"], *found)
        if prototype.key not in seen:
            seen.add(prototype.key)
            prototypes.append(prototype)
    return sorted(prototypes, key=lambda p: p.key)


def _prototype(label: str, mineral: str, structure: Structure, spacegroup: int) -> Prototype:
    reduced = structure.composition.reduced_composition
    counts = {e.symbol: int(n) for e, n in reduced.items()}
    return Prototype(label, mineral, structure, role_order(counts), spacegroup)


def _primitive(structure: Structure, symprec: float = 1e-2) -> tuple[Structure, int] | None:
    """Idealised primitive cell and space group number; None where spglib finds no symmetry."""
    cell = (structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers)
    dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
    ideal = spglib.standardize_cell(cell, to_primitive=True, symprec=symprec)
    if dataset is None or ideal is None:
        return None
    lattice, frac, numbers = ideal
    primitive = Structure(lattice, [Element.from_Z(int(z)) for z in numbers], frac)
    return primitive, int(dataset.number)


def decorate(
    parents: list[Prototype], systems: frozenset[str], families: frozenset[str], limit: int
) -> list[Prototype]:
    """Prototypes with the sites of one species shared by two, which lowers the symmetry.

    Decorations of different parents that have the same label count once; at most `limit` for
    each of the wanted crystal systems, small cells first and spread evenly over the parents.
    """
    found: dict[str, dict[str, list[Prototype]]] = defaultdict(lambda: defaultdict(list))
    labels = {parent.label for parent in parents}
    for parent in sorted(parents, key=lambda p: (len(p.structure), p.key)):
        for child in _decorations(parent):
            if child.system in systems and child.family in families and child.label not in labels:
                labels.add(child.label)
                found[child.system][parent.key].append(child)
    chosen = []
    for by_parent in found.values():
        ranked = sorted(
            (rank, len(child.structure), child.key, child)
            for children in by_parent.values()
            for rank, child in enumerate(children)
        )
        chosen += [child for *_, child in ranked[:limit]]
    return sorted(chosen, key=lambda p: p.key)


def _decorations(parent: Prototype, most: int = 30) -> list[Prototype]:
    """Every way (up to `most` a species) to give some sites of one species to another element."""
    children = []
    numbers = np.array(parent.structure.atomic_numbers)
    for role in range(len(parent.roles)):
        sites = np.flatnonzero(numbers == Element(parent.roles[role]).Z)
        subsets = [
            subset
            for size in range(1, len(sites) // 2 + 1)
            for subset in combinations(sites, size)
            if 0 in np.searchsorted(sites, subset) or size < len(sites) / 2
        ]
        stride = max(1, len(subsets) // most)
        for subset in subsets[::stride][:most]:
            child = _split(parent, role, subset)
            if child is not None:
                children.append(child)
    return children


def _split(parent: Prototype, role: int, subset: tuple[int, ...]) -> Prototype | None:
    """The parent with the sites `subset` of one role given to a species of their own."""
    from pymatgen.analysis.prototypes import get_protostructure_label_from_moyopy

    structure = parent.structure
    element = Element(parent.roles[role])
    near = sorted(
        (other for other in Element if other.Z <= 83 and other.symbol not in parent.roles),
        key=lambda other: (abs(other.mendeleev_no - element.mendeleev_no), other.Z),
    )
    species = [site.specie for site in structure]
    for site in subset:
        species[site] = near[0]
    found = _primitive(Structure(structure.lattice, species, structure.frac_coords))
    if found is None or len(found[0]) != len(structure):
        return None
    label = get_protostructure_label_from_moyopy(found[0])
    if not label or "Invalid" in label or label.count(":") != 1:
        return None
    return _prototype(label.split(":")[0], f"ordered {parent.mineral or parent.label}", *found)


def composition_key(elements: tuple[str, ...], counts: tuple[int, ...]) -> str:
    """Reduced formula of elements in given numbers."""
    return Composition(dict(zip(elements, counts, strict=True))).reduced_formula
