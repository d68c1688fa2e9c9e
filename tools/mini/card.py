"""The data card of `mini`, its numbers taken from the rows."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from importlib.metadata import version
from textwrap import fill

import numpy as np
from pymatgen.core import Composition

from mini.candidates import (
    DECORATED_SITES,
    DECORATIONS,
    LARGE_SITES,
    LIBRARY_SITES,
    MOST_LARGE,
    MOST_TRIED,
)
from mini.elements import COMMON
from mini.finish import Collection
from mini.literature import KNOWN
from mini.prototypes import NONMETALS, SYSTEMS, crystal_system, load_library
from mini.relax import FORCE_LIMIT, STRESS_LIMIT, dataset_of
from mini.work import FIT_LIMIT, LOOSE_SYMPREC, SYMPREC

TEMPLATE = """\
# The data set `mini`

**The labels of this data set are not DFT and not measurements. Formation energy, bulk modulus,
volume and the relaxed structures are those of CHGNet, a pretrained machine-learned potential.**
It exists so that the first command works without a download and in minutes. Do not use it to
rank materials, and do not compare errors on it with errors on DFT data.

{rows} hypothetical and known crystals, made as Alexandria was made: similar elements are put into
the structure prototypes of the AFLOW library and the crystals are relaxed.

| file | content |
|---|---|
| `mini.csv.xz` | one row a crystal, CSV in xz, {megabytes:.2f} MB |

| column | meaning |
|---|---|
| `material_id` | `mini-` and the number of the candidate |
| `formula` | reduced formula |
| `prototype` | AFLOW label of the prototype that was filled |
| `formation_energy_per_atom` | eV/atom, against the elements relaxed by CHGNet |
| `bulk_modulus` | GPa, from the E(V) curve at fixed shape and fractional coordinates |
| `spacegroup.number` | of the relaxed structure, spglib at symprec {symprec} A |
| `nsites` | sites of the primitive cell |
| `volume_per_atom` | A^3, at the minimum of the E(V) curve |
| `cif` | relaxed primitive cell in P1 |

## How it was made

```
pip install -e ".[mini]"
python tools/build_mini.py --count {count} --seed {seed}
```

with
{versions}.
The candidates follow from the seed alone; {listed} of the {count} are worth their time (see 2).
The labels can differ in the last digits between machines, and with how many processes share the
work, since sums in float32 do.

1. **Prototypes.** The compounds of the AFLOW library that pymatgen ships, up to {library_sites}
   sites in the primitive cell; and, since the library has few triclinic and monoclinic ones,
   ordered decorations of its cells of up to {decorated_sites} sites: some sites of one species are
   given to another, which lowers the symmetry (at most {decorations} labels for each of the two
   systems; their label is computed with moyopy).
2. **Elements.** For each anonymous formula, pools of similar elements: charge-balanced salts,
   oxides, chalcogenides, pnictides; carbides, nitrides, borides; intermetallics. A fifth are
   drawn by exchanging each element of a prototype for one of its column or a neighbour in the
   d block. A formula is put into one or several prototypes, the likelier the closer its elements
   are to the prototype's own (Mendeleev numbers), so that polymorphs arise. Of the slow kinds only
   the first of the list are tried: {triclinic} triclinic, {monoclinic} monoclinic, {large} above
   {large_sites} sites.
3. **Relaxation** of cell and positions in the space of distortions that keep the space group
   (BFGS), to {force} eV/A and {stress} GPa, from a volume guessed from atomic radii; given up
   after 60 steps.
4. **E(V)** at seven volumes within 6 % of the relaxed one, taken again further out where the
   minimum was not bracketed; a third-order Birch-Murnaghan fit gives volume, energy and bulk
   modulus. Shape and fractional coordinates are held, so that the modulus is an upper bound where
   they are free.
5. **Formation energy** against each element's lowest energy in {trials} structures or more
   (close-packed, open, layered, molecular, its own in the AFLOW library), relaxed the same way.

## Numbers

{tried} of the {listed} candidates tried, {rows} kept. Not kept:

| reason | crystals |
|---|---|
{reasons}

"Symmetry changed" means that the relaxed structure has more symmetry than its prototype at
symprec {symprec} or {loose} A: it is another prototype, or about to be. "E(V) not smooth" means
an rms of the fit above {fit_limit} eV/atom, "duplicate" the same formula and space group, energies
within 1 meV/atom and volumes within 0.5 %.

| crystal system | crystals | share |
|---|---|---|
{systems}

- {prototypes} prototype labels ({library} of the library, {derived} decorations), {elements}
  elements, {formulas} formulas
- {polymorphs} formulas ({polymorph_share:.0f} %) have two or more polymorphs; they hold
  {polymorph_rows:.0f} % of the crystals. Standard deviation of the energies of one formula:
  median {spread:.0f} meV/atom, 90th percentile {spread_high:.0f}
- {metallic:.0f} % of the crystals hold metals alone, {anionic:.0f} % an anion former
  (H, C, N, O, P, S, As, Se, Te, halogens)
- sites in the primitive cell: {sites}

| quantile | 1 % | 10 % | 50 % | 90 % | 99 % |
|---|---|---|---|---|---|
| formation energy (eV/atom) | {energy_quantiles} |
| bulk modulus (GPa) | {modulus_quantiles} |
| volume (A^3/atom) | {volume_quantiles} |

## Against measured values

The same pipeline on well-known compounds. Lattices and moduli are measured at room temperature;
enthalpies of formation at 298 K stand beside CHGNet's energies without zero-point and thermal
parts.

| compound | a (c), A | measured | A^3/atom | measured | eV/atom | measured | B, GPa | measured |
|---|---|---|---|---|---|---|---|---|
{known}

Mean absolute difference: {known_errors}.

CHGNet learnt from DFT (PBE and PBE+U of the Materials Project, with its energy corrections), and
it is known to be too soft; the differences hold the errors of both. Its E(V) curve of GaAs has a
kink near the minimum, so its modulus there is half of the measured one; other crystals can have
such artefacts of the potential too.

Measured values: enthalpies from the CRC Handbook of Chemistry and Physics, except GaP, GaAs and InP
(against red phosphorus; Yamaguchi et al., Mater. Trans. JIM 35, 596, 1994), GaN (Ranade et al.,
J. Phys. Chem. B 104, 4060, 2000), NiAl (Rzyman et al., J. Phase Equilib. 19, 106, 1998, at 0 K),
SrTiO3 (Barin, Thermochemical Data of Pure Substances), TiC (JANAF Thermochemical Tables) and Cu3Au
(Kubaschewski and Alcock, Metallurgical Thermochemistry); lattices from Wyckoff, Crystal Structures,
and Madelung, Semiconductors: Data Handbook; bulk moduli of NaF from its equation of
state (J. Appl. Crystallogr. 58, 2025), of GaAs from McSkimin et al. (J. Appl. Phys. 38, 2362,
1967), of GaN from the elastic constants of Polian et al. (J. Appl. Phys. 79, 3343, 1996), of TiC
from those of Chang and Graham (J. Appl. Phys. 37, 3778, 1966), the others as tabulated by Kittel,
Introduction to Solid State Physics, Madelung, and Landolt-Boernstein. Sources scatter by some
percent in the modulus, and by up to 18 kJ/mol in the enthalpy of the phosphides and arsenides.

## Reference elements

Lowest energy of each element in CHGNet in eV/atom, and the prototype that was relaxed to it (with
its symmetry kept or raised, so hexagonal close packing can stand under another name):

{references}

## Licences

- This data set: CC BY 4.0.
- AFLOW prototypes: M. J. Mehl et al., Comput. Mater. Sci. 136, S1 (2017); D. Hicks et al., Comput.
  Mater. Sci. 161, S1 (2019); D. Hicks et al., Comput. Mater. Sci. 199, 110450 (2021). They are read
  from pymatgen (MIT licence).
- CHGNet: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023); code and weights under a modified BSD
  licence (three clauses).
"""


def write_card(
    arguments, collection: Collection, listed: int, references: dict, known: dict
) -> None:
    """Write `README.md` beside the table; `listed` is the number of candidates to try."""
    facts = {
        "rows": len(collection.rows),
        "tried": collection.tried,
        "listed": listed,
        "count": arguments.count,
        "seed": arguments.seed,
        "megabytes": (arguments.out / "mini.csv.xz").stat().st_size / 1e6,
        "versions": _versions(),
        "library_sites": LIBRARY_SITES,
        "decorated_sites": DECORATED_SITES,
        "decorations": DECORATIONS,
        "triclinic": MOST_TRIED["triclinic"],
        "monoclinic": MOST_TRIED["monoclinic"],
        "large": MOST_LARGE,
        "large_sites": LARGE_SITES,
        "symprec": SYMPREC,
        "loose": LOOSE_SYMPREC,
        "force": FORCE_LIMIT,
        "stress": STRESS_LIMIT,
        "fit_limit": FIT_LIMIT,
        "trials": len(COMMON.split()),
        "reasons": "\n".join(f"| {r} | {n} |" for r, n in collection.rejected.most_common()),
        "known": "\n".join(_known_row(k, known[k.formula], references) for k in KNOWN),
        "known_errors": _known_errors(known, references),
        "references": _references(references),
    }
    facts |= _distribution(collection.rows) | _polymorphs(collection.rows)
    (arguments.out / "README.md").write_text(TEMPLATE.format(**facts))


def _versions() -> str:
    packages = ("chgnet", "torch", "pymatgen", "spglib", "moyopy", "numpy")
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    return fill(f"{names} and Python {platform.python_version()} (CHGNet weights 0.3.0)", 98)


def _distribution(rows: list[dict]) -> dict:
    """Counts by system, prototype, element and bonding, and quantiles of the labels."""
    systems = Counter(crystal_system(row["spacegroup.number"]) for row in rows)
    labels = {row["prototype"] for row in rows}
    library = {p.label for p in load_library(LIBRARY_SITES)}
    contents = [set(Composition(row["formula"]).get_el_amt_dict()) for row in rows]
    sizes = Counter(min((row["nsites"] - 1) // 4, 3) for row in rows)
    anions = NONMETALS - {"B", "Si", "Ge", "Sb"}
    anionic = 100 * sum(bool(c & anions) for c in contents) / len(rows)
    return {
        "systems": "\n".join(
            f"| {s} | {systems[s]} | {100 * systems[s] / len(rows):.1f} % |" for s in SYSTEMS
        ),
        "prototypes": len(labels),
        "library": len(labels & library),
        "derived": len(labels - library),
        "elements": len(set().union(*contents)),
        "metallic": 100 * sum(not c & NONMETALS for c in contents) / len(rows),
        "anionic": anionic,
        "sites": ", ".join(
            f"{name}: {sizes[i]}" for i, name in enumerate(("1-4", "5-8", "9-12", "13-16"))
        ),
        "energy_quantiles": _quantiles(rows, "formation_energy_per_atom", "{:.2f}"),
        "modulus_quantiles": _quantiles(rows, "bulk_modulus", "{:.0f}"),
        "volume_quantiles": _quantiles(rows, "volume_per_atom", "{:.1f}"),
    }


def _quantiles(rows: list[dict], column: str, form: str) -> str:
    values = np.quantile([row[column] for row in rows], [0.01, 0.1, 0.5, 0.9, 0.99])
    return " | ".join(form.format(value) for value in values)


def _polymorphs(rows: list[dict]) -> dict:
    """How many formulas have several crystals, and how far apart these are in energy."""
    energies = defaultdict(list)
    for row in rows:
        energies[row["formula"]].append(row["formation_energy_per_atom"])
    several = [values for values in energies.values() if len(values) > 1]
    spreads = [1000 * np.std(values) for values in several] or [0.0]
    return {
        "formulas": len(energies),
        "polymorphs": len(several),
        "polymorph_share": 100 * len(several) / len(energies),
        "polymorph_rows": 100 * sum(map(len, several)) / len(rows),
        "spread": np.median(spreads),
        "spread_high": np.quantile(spreads, 0.9),
    }


def _formation_energy(record: dict, references: dict) -> float:
    amounts = Counter(record["species"])
    baseline = sum(references[e]["energy"] * n for e, n in amounts.items())
    return record["energy"] - baseline / len(record["species"])


def _cell(lengths) -> str:
    """a, or a (c), of a conventional cell."""
    a, c = lengths[0], lengths[-1]
    return f"{a:.3f}" if abs(a - c) < 1e-3 else f"{a:.3f} ({c:.3f})"


def _known_row(known, record: dict, references: dict) -> str:
    if "rejected" in record:
        return f"| {known.formula} | refused: {record['rejected']} | | | | | | | |"
    from pymatgen.core import Structure

    structure = Structure(record["lattice"], record["species"], record["frac"])
    lengths = np.linalg.norm(dataset_of(structure, SYMPREC).std_lattice, axis=1)
    measured = "-" if known.formation_energy is None else f"{known.formation_energy:.3f}"
    return (
        f"| {known.formula} | {_cell(lengths)} | {_cell(known.cell)} "
        f"| {record['volume']:.2f} | {known.volume:.2f} "
        f"| {_formation_energy(record, references):.3f} | {measured} "
        f"| {record['bulk_modulus']:.0f} | {known.bulk_modulus:g} |"
    )


def _known_errors(known: dict, references: dict) -> str:
    """Mean absolute differences from the measured values, over the compounds that have one."""
    pairs = [(k, known[k.formula]) for k in KNOWN if "rejected" not in known[k.formula]]
    volume = np.mean([abs(r["volume"] / k.volume - 1) for k, r in pairs])
    modulus = np.mean([abs(r["bulk_modulus"] / k.bulk_modulus - 1) for k, r in pairs])
    energy = np.mean(
        [
            abs(_formation_energy(r, references) - k.formation_energy)
            for k, r in pairs
            if k.formation_energy is not None
        ]
    )
    return (
        f"volume {100 * volume:.1f} %, formation energy {energy:.2f} eV/atom, "
        f"bulk modulus {100 * modulus:.0f} %"
    )


def _references(references: dict) -> str:
    entries = [
        f"{element}\0{record['energy']:.3f}\0({record['structure']})"
        for element, record in sorted(references.items())
    ]
    return fill(", ".join(entries), 100, break_on_hyphens=False).replace("\0", " ")
