"""CIF text to a `Crystal`: as the file means it, or refused with the reason.

This is the one rule for every source of CIFs. `CrystalError.reason` names the kind of refusal.

=================  =================================================================================
text               gemmi reads the grammar; what is no CIF is named (`unreadable_cif`).
blocks             Blocks of text alone are passed over; the first with a cell or atoms is the
                   crystal, and is refused where it cannot be read. Other crystals in the file:
                   `several_crystals`.
numbers            `.` is the default (occupancy 1, angle 90); `?`, words, decimal commas, open
                   brackets, negative occupancies are refused by name (`invalid_...`).
sites              Empty sites and vacancies are passed over. Sites within 0.05 angstrom share a
                   place; occupancies there may add to 1.01 and are scaled to 1. An atom that close
                   to a special position is moved onto it. D and T are hydrogen. Groups (`OH2`,
                   `NO3`) and attached hydrogens have no places: `missing_element`.
symmetry           Operators, if they are a group; else the Hall or Hermann-Mauguin symbol or the
                   number. All of them have to agree (`contradictory_symmetry`) and be understood
                   (`unknown_symmetry`), and keep the metric of the cell (`wrong_axes`). Of what is
                   left open (origin, axes) one crystal must fit formula, Z and distances
                   (`ambiguous_symmetry`).
composition        The formula must have the elements of the sites (`missing_element`), in their
                   proportions (`wrong_composition`), and Z times in the cell (`wrong_z`).
=================  =================================================================================

Most CIFs of this field's data sets are P1 and fully occupied, in the layout of pymatgen or of the
Materials Project: these are read directly, to the same bits and a hundred times faster.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np

from xxact.data.cif.block import Block, parse_blocks, parse_cell, parse_sites
from xxact.data.cif.composition import check_composition, parse_composition
from xxact.data.cif.symmetry import crystal_of
from xxact.data.elements import ATOMIC_NUMBERS
from xxact.xrd.crystal import Crystal, CrystalError
from xxact.xrd.orbits import expand
from xxact.xrd.symmetry import space_group_number

_CELL = "".join(f"_cell_length_{x} +(\\S+)\n" for x in "abc") + "".join(
    f"_cell_angle_{x} +(\\S+)\n" for x in ("alpha", "beta", "gamma")
)
_P1 = re.compile(
    r"\s*(?:# generated using pymatgen\n)?"
    r"data_\S+\n"
    r"_symmetry_space_group_name_H-M +'P 1'\n" + _CELL + r"(?:_symmetry_Int_Tables_number +1\n"
    r"_chemical_formula_structural +[^\n]+\n"
    r"_chemical_formula_sum +([^\n]+)\n"
    r"_cell_volume +\S+\n"
    r"_cell_formula_units_Z +\d+\n)?"
    r"loop_\n"
    r"(?: _symmetry_equiv_pos_site_id\n)?"
    r" ?_symmetry_equiv_pos_as_xyz\n"
    r" +(?:1 +)?'x, y, z'\n"
    r"loop_\n"
    r" ?_atom_site_type_symbol\n"
    r" ?_atom_site_label\n"
    r"( ?_atom_site_symmetry_multiplicity\n)?"
    r" ?_atom_site_fract_x\n"
    r" ?_atom_site_fract_y\n"
    r" ?_atom_site_fract_z\n"
    r" ?_atom_site_occupancy\n"
)
_AMOUNT = re.compile(r"([A-Z][a-z]?)(\d+)")


def read_cif(text: str) -> Crystal:
    """The crystal of a CIF; `CrystalError` says why there is none, or none that is sure."""
    crystal = read_pymatgen_p1(text)
    return read_any(text) if crystal is None else crystal


def read_pymatgen_p1(text: str) -> Crystal | None:
    """A fully occupied P1 structure in exactly a known layout, of the formula that it states.

    None for anything else.
    """
    text = text.replace("\r\n", "\n")
    head = _P1.match(text)
    if head is None:
        return None
    *cell, formula, multiplicity = head.groups()
    rows = text[head.end() :].rstrip()
    fields = rows.split()
    width = 7 if multiplicity else 6
    if len(fields) != width * (rows.count("\n") + 1):
        return None
    symbols = fields[0::width]
    if formula and Counter(symbols) != {s: int(n) for s, n in _AMOUNT.findall(formula)}:
        return None
    try:
        if any(float(occupancy) != 1.0 for occupancy in set(fields[width - 1 :: width])):
            return None
        numbers = [ATOMIC_NUMBERS[symbol] for symbol in symbols]
        cell = [float(field) for field in cell]
        axes = range(width - 4, width - 1)
        coords = np.array([[float(x) for x in fields[k::width]] for k in axes]).T
    except (KeyError, ValueError):
        return None
    coords = round_to_thirds(coords)
    return Crystal(lattice_vectors(*cell), coords - np.floor(coords), numbers)


def read_any(text: str) -> Crystal:
    """The crystal of a CIF in any layout, by the rule above."""
    blocks = [block for block in parse_blocks(text) if block.describes_a_crystal]
    if not blocks:
        raise CrystalError("no_sites", "the CIF has no atoms: it is text alone")
    crystal = read_block(blocks[0])
    for other in blocks[1:]:
        try:
            another = read_block(other)
        except CrystalError:
            continue
        if not _alike(crystal, another):
            raise CrystalError(
                "several_crystals",
                f"the CIF has several crystals, in its blocks '{blocks[0].name}' and "
                f"'{other.name}': give each a row of its own",
            )
    return crystal


def read_block(block: Block) -> Crystal:
    """The crystal of one block; `CrystalError` if it has none or contradicts itself."""
    lattice = lattice_vectors(*parse_cell(block))
    stated = parse_composition(block)
    listed = parse_sites(block, stated.elements)
    sites = [replace(s, coords=tuple(round_to_thirds(np.array(s.coords)))) for s in listed.sites]

    def build(operators: np.ndarray) -> Crystal:
        crystal = expand(lattice, sites, operators)
        check_composition(crystal, stated, listed.implied)
        return crystal

    return crystal_of(block, lattice, build)


def _alike(a: Crystal, b: Crystal) -> bool:
    """Whether two blocks hold one crystal, measured twice: same atoms and group, 5 % of volume."""
    volumes = [abs(np.linalg.det(crystal.lattice)) for crystal in (a, b)]
    counts = [np.bincount(c.atomic_numbers, c.occupancies, minlength=119) for c in (a, b)]
    close = abs(volumes[0] / volumes[1] - 1) < 0.05 and np.allclose(*counts, rtol=0.05)
    return close and space_group_number(a) == space_group_number(b)


def lattice_vectors(
    a: float, b: float, c: float, alpha: float, beta: float, gamma: float
) -> np.ndarray:
    """(3, 3) vectors as rows, angstrom, with c along z and a in the xz plane, as pymatgen has it.

    Lengths in angstrom, angles in degrees.
    """
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians([alpha, beta, gamma]))
    sin_alpha, sin_beta, _ = np.sin(np.radians([alpha, beta, gamma]))
    cosine = (cos_alpha * cos_beta - cos_gamma) / (sin_alpha * sin_beta)
    gamma_star = np.arccos(np.clip(cosine, -1.0, 1.0))
    return np.array(
        [
            [a * sin_beta, 0.0, a * cos_beta],
            [
                -b * sin_alpha * np.cos(gamma_star),
                b * sin_alpha * np.sin(gamma_star),
                b * cos_alpha,
            ],
            [0.0, 0.0, c],
        ]
    )


def round_to_thirds(coords: np.ndarray) -> np.ndarray:
    """Coordinates within 1e-4 (relative) of 1/3 or 2/3 become exactly that, as in `CifParser`."""
    for third in (1 / 3, 2 / 3):
        coords = np.where(np.abs(coords / third - 1.0) <= 1e-4, third, coords)
    return coords
