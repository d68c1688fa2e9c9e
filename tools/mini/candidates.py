"""Which elements go into which prototypes: a list of candidates that a seed decides."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import islice

from pymatgen.core import Element

from mini.prototypes import Prototype, composition_key, decorate, load_library, role_order

# Pools of similar elements: main-group and transition metals by their usual charge, nonmetals
# by theirs, metals by their place in intermetallics. Radioactive elements, noble gases and the
# lanthanides whose potentials are known to be troublesome are left out.
POOLS = {
    "M1": "Li Na K Rb Cs Ag Cu Tl",
    "M2": "Be Mg Ca Sr Ba Zn Cd Mn Fe Co Ni Sn Pb",
    "M3": "Al Ga In Sc Y La Nd Gd Er Lu Cr Fe V Bi Sb",
    "M4": "Ti Zr Hf Si Ge Sn Mn Mo Ru Ir",
    "M5": "V Nb Ta Sb",
    "M6": "Mo W Cr",
    "alkali": "Li Na K Rb Cs",
    "alkaline": "Mg Ca Sr Ba",
    "X1": "F Cl Br I H",
    "X2": "O S Se Te",
    "X3": "N P As Sb Bi",
    "O": "O",
    "tetrel": "C Si Ge Sn",
    "small": "B C N Si",
    "tm": "Ti V Cr Mn Fe Co Ni Cu Zr Nb Mo Ru Rh Pd Ag Hf Ta W Re Os Ir Pt Au",
    "early": "Sc Ti V Y Zr Nb Hf Ta Mo W Cr Mn",
    "late": "Fe Co Ni Cu Ru Rh Pd Ag Os Ir Pt Au Zn",
    "electropositive": "Li Na Mg Ca Sr Ba Sc Y La Nd Gd Er Lu",
    "p": "Al Ga In Tl Si Ge Sn Pb Sb Bi Zn Cd Hg",
    "rare": "Sc Y La Nd Gd Er Lu Zr Hf Ti",
}

# Chemistries of each anonymous formula: pool and number of atoms, with a weight.
# fmt: off
CHEMISTRIES = {
    "AB": [
        ("M1:1 X1:1", 2), ("M2:1 X2:1", 3), ("M3:1 X3:1", 2), ("tetrel:1 tetrel:1", 0.4),
        ("early:1 small:1", 1.5), ("late:1 p:1", 1), ("early:1 late:1", 1),
        ("electropositive:1 late:1", 1), ("electropositive:1 p:1", 1), ("tm:1 X2:1", 1),
        ("tm:1 X3:1", 1),
    ],
    "AB2": [
        ("M2:1 X1:2", 3), ("M4:1 X2:2", 3), ("X2:1 M1:2", 2), ("tm:1 X2:2", 1.5),
        ("tm:1 tetrel:2", 1), ("early:1 small:2", 1), ("tetrel:1 alkaline:2", 0.7),
        ("early:1 late:2", 1), ("electropositive:1 late:2", 1), ("electropositive:1 p:2", 1),
        ("p:1 late:2", 1), ("tm:1 X3:2", 1),
    ],
    "AB3": [
        ("M3:1 X1:3", 2), ("X3:1 alkali:3", 1), ("M6:1 O:3", 0.5), ("small:1 tm:3", 1),
        ("p:1 tm:3", 1), ("early:1 p:3", 1), ("early:1 late:3", 1.5),
        ("electropositive:1 p:3", 1), ("M5:1 X2:3", 0.5), ("tm:1 X3:3", 0.5),
    ],
    "A2B3": [
        ("M3:2 X2:3", 2), ("X3:2 M2:3", 1), ("tm:2 p:3", 0.7), ("early:2 small:3", 0.7),
        ("p:2 electropositive:3", 0.7),
    ],
    "A3B4": [("X2:4 M2:3", 1), ("tetrel:3 X3:4", 0.5), ("early:3 X2:4", 1), ("late:3 p:4", 0.5)],
    "ABC": [
        ("M1:1 alkaline:1 X3:1", 1), ("M2:1 X1:1 X1:1", 1.5), ("M3:1 X2:1 X1:1", 1.5),
        ("alkali:1 M3:1 tetrel:1", 0.7), ("M4:1 X2:1 X2:1", 1), ("rare:1 late:1 p:1", 1.5),
        ("early:1 late:1 X3:1", 1), ("early:1 late:1 tetrel:1", 1), ("M1:1 M1:1 X2:1", 1),
        ("late:1 X3:1 X2:1", 0.7), ("alkali:1 late:1 X2:1", 0.7),
    ],
    "ABC2": [
        ("M1:1 M3:1 X2:2", 3), ("M2:1 M4:1 X3:2", 1), ("early:1 p:1 late:2", 1.5),
        ("M2:1 M2:1 X2:2", 1), ("rare:1 late:1 tetrel:2", 0.7), ("M3:1 X1:1 X2:2", 0.3),
        ("p:1 small:1 early:2", 1), ("electropositive:1 late:1 p:2", 0.7),
        ("M2:1 M2:1 X1:2", 0.3), ("X2:1 X1:1 M3:2", 0.3),
    ],
    "ABC3": [
        ("M1:1 M5:1 O:3", 1), ("alkaline:1 M4:1 X2:3", 2), ("M3:1 M3:1 O:3", 1.5),
        ("alkali:1 M2:1 X1:3", 2), ("small:1 p:1 tm:3", 0.7), ("X3:1 X3:1 alkaline:3", 0.5),
    ],
    "ABC4": [
        ("M3:1 M5:1 O:4", 1), ("M4:1 M4:1 O:4", 0.5), ("M2:1 M6:1 O:4", 1), ("Ag:1 Al:1 X1:4", 0.3),
        ("alkali:1 M3:1 X1:4", 1), ("M3:1 X3:1 X2:4", 0.7), ("M2:1 M4:1 X1:4", 0.2),
    ],
    "AB2C4": [
        ("M2:1 M3:2 X2:4", 2), ("M4:1 alkaline:2 O:4", 1), ("M2:1 alkali:2 X1:4", 1),
    ],
    "AB2C2": [("electropositive:1 late:2 p:2", 1), ("alkaline:1 late:2 X3:2", 1)],
    "ABCD": [("M3:1 M1:1 O:1 X2:1", 1.5), ("M3:1 late:1 O:1 X3:1", 1), ("M1:1 M3:1 X2:1 X2:1", 1)],
}
# fmt: on

SHARED = (0.56, 0.22, 0.10, 0.06, 0.04, 0.02)  # chance of 1, 2, ... prototypes for a formula
# How often a prototype of each system is taken, to make up for how many there are.
SYSTEM_WEIGHT = {
    "triclinic": 4.0,
    "monoclinic": 1.6,
    "orthorhombic": 1.0,
    "tetragonal": 1.0,
    "trigonal": 1.5,
    "hexagonal": 1.2,
    "cubic": 1.1,
}
SIMILARITY_RANGE = 14.0  # mean difference of Mendeleev numbers at which a weight falls by e
LIBRARY_SITES, DECORATED_SITES, DECORATIONS = 16, 8, 40
# Candidates of these kinds are slow to relax: the first so many of the list are tried.
MOST_TRIED = {"triclinic": 800, "monoclinic": 1300}
LARGE_SITES, MOST_LARGE = 12, 600
# Candidates of each system that are tried in one round: the systems that relax fast come sooner,
# so that a build that is stopped early holds many crystals of all systems.
PACE = {
    "triclinic": 2.4,
    "monoclinic": 1.4,
    "orthorhombic": 2.0,
    "tetragonal": 3.0,
    "trigonal": 2.5,
    "hexagonal": 3.0,
    "cubic": 4.0,
}


@dataclass(frozen=True)
class Candidate:
    """A prototype and the elements for its roles."""

    number: int
    prototype: Prototype
    elements: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"mini-{self.number:05d}"


def load_prototypes() -> list[Prototype]:
    """Compounds of the library, and low-symmetry decorations of its small cells."""
    library = load_library(LIBRARY_SITES)
    parents = [p for p in library if len(p.structure) <= DECORATED_SITES]
    low = frozenset(["triclinic", "monoclinic"])
    families = frozenset(CHEMISTRIES)
    return [p for p in library if p.family != "A"] + decorate(parents, low, families, DECORATIONS)


def make_candidates(prototypes: list[Prototype], count: int, seed: int) -> list[Candidate]:
    """The first `count` candidates of the seed: each formula in one or more prototypes of its
    anonymous formula, the likelier the more similar its elements are to the prototype's own."""
    return list(islice(_stream(prototypes, random.Random(seed)), count))


def affordable(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates without those past the number to try of their kind, fast systems sooner."""
    seen: Counter = Counter()
    chosen = []
    for candidate in candidates:
        system = candidate.prototype.system
        large = len(candidate.prototype.structure) > LARGE_SITES
        seen[system] += 1
        seen["large"] += large
        if seen[system] > MOST_TRIED.get(system, math.inf):
            continue
        if not large or seen["large"] <= MOST_LARGE:
            chosen.append((seen[system] / PACE[system], candidate.number, candidate))
    return [candidate for *_, candidate in sorted(chosen, key=lambda entry: entry[:2])]


def _stream(prototypes: list[Prototype], rng: random.Random):
    families: dict[str, list[Prototype]] = defaultdict(list)
    for prototype in prototypes:
        families[prototype.family].append(prototype)
    names = sorted(families)
    weights = [sum(SYSTEM_WEIGHT[p.system] for p in families[n]) ** 0.8 for n in names]
    used, number = set(), 0
    while True:
        members = families[rng.choices(names, weights)[0]]
        elements = _draw_elements(members, rng)
        if elements is None:
            continue
        wanted = rng.choices(range(1, len(SHARED) + 1), SHARED)[0]
        for prototype in _draw_prototypes(members, elements, wanted, rng):
            what = (composition_key(elements, prototype.counts), prototype.key)
            if what not in used:
                used.add(what)
                yield Candidate(number, prototype, elements)
                number += 1


def _draw_elements(members: list[Prototype], rng: random.Random) -> tuple[str, ...] | None:
    """Elements in role order, from the family's chemistries or like one of its prototypes."""
    chemistries = CHEMISTRIES.get(members[0].family)
    if chemistries is None or rng.random() < 0.2:
        counts = _substitute(rng.choice(members), rng)
    else:
        pools = rng.choices([c for c, _ in chemistries], [w for _, w in chemistries])[0]
        drawn = [(rng.choice(POOLS.get(n, n).split()), int(k)) for n, k in _parse(pools)]
        counts = dict(drawn) if len({e for e, _ in drawn}) == len(drawn) else None
    return role_order(counts) if counts else None


def _parse(pools: str) -> list[list[str]]:
    return [part.split(":") for part in pools.split()]


def _substitute(prototype: Prototype, rng: random.Random) -> dict[str, int] | None:
    """Each element of a prototype exchanged for a similar one."""
    elements = [rng.choice(similar_elements(role)) for role in prototype.roles]
    if len(set(elements)) < len(elements):
        return None
    return dict(zip(elements, prototype.counts, strict=True))


@cache
def similar_elements(symbol: str) -> list[str]:
    """The element and others of its column, or near it among the metals of the d and f block."""
    allowed = sorted({e for pool in POOLS.values() for e in pool.split()})
    origin = Element(symbol)
    if origin.is_lanthanoid or origin.is_actinoid:
        return POOLS["rare"].split()
    near = [
        e
        for e in allowed
        if Element(e).group == origin.group
        or (Element(e).block == origin.block == "d" and abs(Element(e).group - origin.group) <= 1)
    ]
    return near or [symbol]


def _draw_prototypes(
    members: list[Prototype], elements: tuple[str, ...], count: int, rng: random.Random
) -> list[Prototype]:
    """Up to `count` different prototypes of a family, by similarity and by crystal system."""
    left, drawn = list(members), []
    while left and len(drawn) < count:
        weights = [
            SYSTEM_WEIGHT[p.system] * math.exp(-_distance(p, elements) / SIMILARITY_RANGE)
            for p in left
        ]
        pick = rng.choices(range(len(left)), weights)[0]
        drawn.append(left.pop(pick))
    return drawn


def _distance(prototype: Prototype, elements: tuple[str, ...]) -> float:
    """Mean difference of Mendeleev numbers between elements and the roles they take."""
    pairs = zip(prototype.roles, elements, strict=True)
    gaps = [abs(_mendeleev(a) - _mendeleev(b)) for a, b in pairs]
    return sum(gaps) / len(gaps)


@cache
def _mendeleev(symbol: str) -> float:
    return Element(symbol).mendeleev_no
