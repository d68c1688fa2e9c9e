"""Energies and band gaps of the Materials Project's structures, from sources that lack the ids.

The structures are of 2025 and come without labels. The labels are of 2018 and 2019, and only the
first source names the structure that each belongs to:

1. `megnet_mp2018`: MEGNet's set, by id.
2. `matbench_by_formula`: Matbench's, where a formula has one structure here and one row there.
3. `anchored_sibling`, `anchored_matbench_min` (energies alone): a list of formula, space group and
   energy above the hull, plus what lifts one structure of the formula to its formation energy: the
   median over those that 1 or 2 label, or else Matbench's lowest energy of the formula. A
   structure takes part if no other of its formula, here or in the list, has its space group.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xxact.data.cif.reader import read_cif
from xxact.data.progress import Rate
from xxact.xrd.crystal import CrystalError
from xxact.xrd.symmetry import space_group_number

#: Tolerance (angstrom) of the Materials Project's own space groups.
SYMPREC_ANGSTROM = 0.1
#: The symmetry of larger cells is not looked for: they are few, and cost most of the time.
MAX_SITES = 200


@dataclass(frozen=True)
class Material:
    """A structure: id, reduced formula as pymatgen writes it, sites of the cell, P1 CIF."""

    id: str
    formula: str
    n_sites: int
    cif: str


class Label(NamedTuple):
    """A value and the name of its source."""

    value: float
    source: str


@dataclass(frozen=True)
class Sources:
    """What the labels are taken from; energies in eV/atom, gaps in eV, formulas reduced.

    megnet_*: by id; matbench_*: all values of a formula; hull: energy above the hull and
    space-group number of each structure of a formula.
    """

    megnet_energy: Mapping[str, float]
    megnet_gap: Mapping[str, float]
    matbench_energy: Mapping[str, Sequence[float]]
    matbench_gap: Mapping[str, Sequence[float]]
    hull: Mapping[str, Sequence[tuple[float, int]]]


@dataclass(frozen=True)
class Polymorphs:
    """Structures of a formula that their space group singles out.

    above_hull: energy above the hull by id. offsets: formation energy less `above_hull` of those
    whose label is known. lowest: the same for Matbench's lowest energy, None if there is none.
    """

    above_hull: Mapping[str, float]
    offsets: Mapping[str, float]
    lowest: float | None


def join(
    materials: Sequence[Material], sources: Sources
) -> tuple[dict[str, Label], dict[str, Label], dict[str, dict[str, float]]]:
    """Energies (eV/atom) and gaps (eV) by id, and how far the sources agree (see `agreement`)."""
    energies = label(materials, sources.megnet_energy, sources.matbench_energy)
    gaps = label(materials, sources.megnet_gap, sources.matbench_gap)
    groups = list(polymorphs(materials, energies, sources))
    agreed = agreement(materials, groups, sources)
    for group in groups:
        energies |= anchored(group, energies)
    return energies, gaps, agreed


def label(
    materials: Sequence[Material],
    by_id: Mapping[str, float],
    by_formula: Mapping[str, Sequence[float]],
) -> dict[str, Label]:
    """Rules 1 and 2."""
    labels = {i: Label(v, "matbench_by_formula") for i, v in _only(materials, by_formula).items()}
    known = {m.id: Label(by_id[m.id], "megnet_mp2018") for m in materials if m.id in by_id}
    return labels | known


def _only(
    materials: Sequence[Material], by_formula: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """The value of each structure that is the only one of its formula, where it is the only one."""
    n = Counter(m.formula for m in materials)
    return {
        m.id: by_formula[m.formula][0]
        for m in materials
        if n[m.formula] == 1 and len(by_formula.get(m.formula, ())) == 1
    }


def polymorphs(
    materials: Sequence[Material], energies: Mapping[str, Label], sources: Sources
) -> Iterator[Polymorphs]:
    """The formulas of which some structure has no energy yet and that the hull's list has."""
    by_formula = defaultdict(list)
    for material in materials:
        by_formula[material.formula].append(material)
    wanted = [
        (formula, group)
        for formula, group in by_formula.items()
        if formula in sources.hull and not all(m.id in energies for m in group)
    ]
    progress = Rate("space groups (formulas)")
    for done, (formula, group) in enumerate(wanted, start=1):
        above = _above_hull(group, sources.hull[formula])
        offsets = {i: energies[i].value - e for i, e in above.items() if i in energies}
        lowest = min(sources.matbench_energy.get(formula, ()), default=None)
        if lowest is not None:
            lowest -= min(energy for energy, _ in sources.hull[formula])
        yield Polymorphs(above, offsets, lowest)
        progress.update(done, len(wanted), last=done == len(wanted))


def _above_hull(group: Sequence[Material], listed: Sequence[tuple[float, int]]) -> dict[str, float]:
    """Energy above the hull by id, of those whose space group is unique here and in the list."""
    own = {m.id: _space_group(m) for m in group if m.n_sites <= MAX_SITES}
    here, there = Counter(own.values()), Counter(number for _, number in listed)
    above = {number: energy for energy, number in listed if there[number] == 1}
    return {i: above[n] for i, n in own.items() if n in above and here[n] == 1}


def _space_group(material: Material) -> int:
    """Space-group number, 0 if there is none."""
    try:
        return space_group_number(read_cif(material.cif), SYMPREC_ANGSTROM)
    except CrystalError:
        return 0


def anchored(group: Polymorphs, known: Mapping[str, Label]) -> dict[str, Label]:
    """Rule 3 for the structures of a formula that `known` lacks."""
    if group.offsets:
        offset, source = statistics.median(group.offsets.values()), "anchored_sibling"
    elif group.lowest is not None:
        offset, source = group.lowest, "anchored_matbench_min"
    else:
        return {}
    # The list has four decimals: more of the sum would be made up.
    return {
        i: Label(round(above + offset, 5), source)
        for i, above in group.above_hull.items()
        if i not in known
    }


def agreement(
    materials: Sequence[Material], groups: Sequence[Polymorphs], sources: Sources
) -> dict[str, dict[str, float]]:
    """How far each rule is from the label that a structure has by an earlier one.

    For each source the number `n` of structures on which both are known, and the quantiles `p50`,
    `p90` and `p99` of the absolute difference in eV/atom.
    """
    by_formula, by_id = _only(materials, sources.matbench_energy), sources.megnet_energy
    differences = {
        "matbench_by_formula": [e - by_id[i] for i, e in by_formula.items() if i in by_id],
        "anchored_sibling": [d for group in groups for d in _left_out(group.offsets)],
        "anchored_matbench_min": [
            group.lowest - offset
            for group in groups
            if group.lowest is not None
            for offset in group.offsets.values()
        ],
    }
    return {
        source: {"n": len(values)}
        | {f"p{q}": float(np.percentile(np.abs(values), q)) for q in (50, 90, 99)}
        for source, values in differences.items()
        if values
    }


def _left_out(offsets: Mapping[str, float]) -> Iterator[float]:
    """Each offset from the median of the others."""
    for one, value in offsets.items():
        others = [other for key, other in offsets.items() if key != one]
        if others:
            yield statistics.median(others) - value
