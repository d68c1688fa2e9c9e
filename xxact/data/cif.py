"""CIF text to a `Crystal`: a quick reader for what pymatgen writes, `CifParser` for the rest.

The data sets of this field keep structures as P1 CIFs written by pymatgen. These are read directly
(the same numbers as `CifParser` gives, about a hundred times faster); any deviation from that
layout, however small, goes to pymatgen.
"""

from __future__ import annotations

import re
import warnings

import numpy as np

from xxact.data.elements import ATOMIC_NUMBERS
from xxact.xrd.crystal import Crystal, CrystalError

_CELL = "".join(f"_cell_length_{x} +(\\S+)\n" for x in "abc") + "".join(
    f"_cell_angle_{x} +(\\S+)\n" for x in ("alpha", "beta", "gamma")
)
_P1 = re.compile(
    r"\s*(?:# generated using pymatgen\n)?"
    r"data_\S+\n"
    r"_symmetry_space_group_name_H-M +'P 1'\n" + _CELL + r"(?:_symmetry_Int_Tables_number +1\n"
    r"_chemical_formula_structural +[^\n]+\n"
    r"_chemical_formula_sum +[^\n]+\n"
    r"_cell_volume +\S+\n"
    r"_cell_formula_units_Z +\d+\n)?"
    r"loop_\n"
    r"(?: _symmetry_equiv_pos_site_id\n)?"
    r" ?_symmetry_equiv_pos_as_xyz\n"
    r" (?: 1 )? ?'x, y, z'\n"
    r"loop_\n"
    r" ?_atom_site_type_symbol\n"
    r" ?_atom_site_label\n"
    r"(?P<multiplicity> _atom_site_symmetry_multiplicity\n)?"
    r" ?_atom_site_fract_x\n"
    r" ?_atom_site_fract_y\n"
    r" ?_atom_site_fract_z\n"
    r" ?_atom_site_occupancy\n"
)


def read_cif(text: str) -> Crystal:
    """The first structure of a CIF; `CrystalError` (`unreadable_cif`) if there is none."""
    crystal = read_pymatgen_p1(text)
    return read_with_pymatgen(text) if crystal is None else crystal


def read_pymatgen_p1(text: str) -> Crystal | None:
    """A fully occupied P1 structure in exactly pymatgen's layout; None for anything else.

    The layout of `xxact data fetch mp`, which is pymatgen's with what repeats itself left out, is
    read too.
    """
    text = text.replace("\r\n", "\n")
    head = _P1.match(text)
    if head is None:
        return None
    rows = text[head.end() :].rstrip()
    fields = rows.split()
    n = rows.count("\n") + 1
    width = 7 if head["multiplicity"] else 6
    if len(fields) != width * n:
        return None
    if any(float_or_nan(f) != 1.0 for f in set(fields[width - 1 :: width])):
        return None
    try:
        numbers = [ATOMIC_NUMBERS[symbol] for symbol in fields[0::width]]
        cell = [float(field) for field in head.groups()[:6]]
        columns = range(width - 4, width - 1)
        coords = np.array([[float(x) for x in fields[k::width]] for k in columns]).T
    except (KeyError, ValueError):
        return None
    coords = round_to_thirds(coords)
    return Crystal(lattice_vectors(*cell), coords - np.floor(coords), numbers)


def read_with_pymatgen(text: str) -> Crystal:
    """The reference: the first structure that pymatgen's `CifParser` finds."""
    from pymatgen.core import Structure

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = Structure.from_str(text, fmt="cif")
    except Exception as error:  # CifParser raises whatever its parts raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = lines[-1] if lines else type(error).__name__
        raise CrystalError("unreadable_cif", message) from error
    return Crystal.from_structure(structure)


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


def float_or_nan(text: str) -> float:
    """The number that a text holds, or NaN."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
