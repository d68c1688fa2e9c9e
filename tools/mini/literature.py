"""Well-known compounds with measured values, put through the same pipeline as every candidate."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from pymatgen.core import Composition

from mini.potential import Potential
from mini.prototypes import load_library, role_order
from mini.relax import Rejected, run_in_step
from mini.work import label, read_records

KJ_PER_MOL = 96.485  # kJ/mol in one eV


@dataclass(frozen=True)
class Known:
    """Measured values at room temperature; None where no value was trusted."""

    formula: str
    prototype: str  # start of the key of the library's prototype
    cell: tuple[float, ...]  # a or a, b, c of the conventional cell, A; hexagonal a, c
    atoms: int  # in the conventional cell
    enthalpy: float | None  # of formation, kJ per mole of formula units
    bulk_modulus: float  # GPa

    @property
    def volume(self) -> float:
        """A^3 per atom."""
        if self.prototype.split("_")[1][0] == "h":
            return self.cell[0] ** 2 * self.cell[1] * math.sqrt(0.75) / self.atoms
        lengths = self.cell if len(self.cell) == 3 else self.cell * 3
        return math.prod(lengths) / self.atoms

    @property
    def formation_energy(self) -> float | None:
        """eV/atom."""
        if self.enthalpy is None:
            return None
        return self.enthalpy / KJ_PER_MOL / Composition(self.formula).num_atoms


# Enthalpies: CRC Handbook of Chemistry and Physics (compared with the table that the Python package
# `chemicals` 1.3.3 ships), except GaP, GaAs and InP (solution calorimetry, Yamaguchi et al. 1994;
# the handbook's differ by 15 to 18 kJ/mol), GaN (Ranade et al. 2000), NiAl (Rzyman et al. 1998),
# SrTiO3 (Barin, Thermochemical Data of Pure Substances), TiC (JANAF), and Cu3Au (Kubaschewski and
# Alcock, Metallurgical Thermochemistry). Lattices: Wyckoff, Crystal Structures, and Madelung,
# Semiconductors. Bulk moduli: NaF from its equation of state (2025), GaAs McSkimin et al. 1967, GaN
# from the elastic constants of Polian et al. 1996, TiC from those of Chang and Graham 1966, the
# others ultrasonic or compression values as tabulated by Kittel, Introduction to Solid State
# Physics, Madelung, and Landolt-Boernstein; they scatter by some %.
KNOWN = (
    Known("LiF", "AB_cF8_225_a_b", (4.026,), 8, -616.0, 67),
    Known("NaF", "AB_cF8_225_a_b", (4.634,), 8, -576.6, 46.8),
    Known("NaCl", "AB_cF8_225_a_b", (5.640,), 8, -411.2, 24.5),
    Known("KCl", "AB_cF8_225_a_b", (6.293,), 8, -436.5, 17.5),
    Known("CsCl", "AB_cP2_221_b_a", (4.123,), 2, -443.0, 17),
    Known("MgO", "AB_cF8_225_a_b", (4.212,), 8, -601.6, 160),
    Known("CaO", "AB_cF8_225_a_b", (4.811,), 8, -634.9, 113),
    Known("CaF2", "AB2_cF12_225_a_c", (5.463,), 12, -1228.0, 82),
    Known("TiO2", "A2B_tP6_136_f_a", (4.594, 4.594, 2.959), 6, -944.0, 211),
    Known("Al2O3", "A2B3_hR10_167_c_e", (4.759, 12.991), 30, -1675.7, 254),
    Known("SrTiO3", "AB3C_cP5_221_a_c_b", (3.905,), 5, -1672.4, 174),
    Known("FeS2", "AB2_cP12_205_a_c", (5.418,), 12, -178.2, 145),
    Known("ZnO", "AB_hP4_186_b_b", (3.250, 5.207), 4, -350.5, 143),
    Known("ZnS", "AB_cF8_216_c_a", (5.409,), 8, -206.0, 77),
    Known("CdTe", "AB_cF8_216_c_a", (6.482,), 8, -92.5, 42),
    Known("GaP", "AB_cF8_216_c_a", (5.451,), 8, -103.2, 88),
    Known("GaAs", "AB_cF8_216_c_a", (5.653,), 8, -87.7, 74.7),
    Known("InP", "AB_cF8_216_c_a", (5.869,), 8, -70.2, 71),
    Known("AlN", "AB_hP4_186_b_b", (3.112, 4.982), 4, -318.0, 208),
    Known("GaN", "AB_hP4_186_b_b", (3.189, 5.185), 4, -156.8, 210),
    Known("SiC", "AB_cF8_216_c_a", (4.360,), 8, -65.3, 225),
    Known("TiC", "AB_cF8_225_a_b", (4.328,), 8, -184.1, 242),
    Known("NiAl", "AB_cP2_221_b_a", (2.887,), 2, -131.8, 158),
    Known("FeAl", "AB_cP2_221_b_a", (2.909,), 2, None, 136),
    Known("Cu3Au", "AB3_cP4_221_a_c", (3.748,), 4, -28.6, 150),
)


def label_known(folder: Path) -> dict[str, dict]:
    """Records of the known compounds by formula; makes those missing."""
    path = folder / "known.jsonl"
    done = read_records(folder, path.name)
    if any(known.formula not in done for known in KNOWN):
        library = load_library(16)
        tasks = []
        for known in (k for k in KNOWN if k.formula not in done):
            prototype = next(p for p in library if p.key.startswith(known.prototype + "/"))
            amounts = Composition(known.formula).get_el_amt_dict()
            elements = role_order({e: int(n) for e, n in amounts.items()})
            task = label(prototype.fill(elements), prototype.spacegroup)
            tasks.append((known.formula, task))
        with open(path, "a", buffering=1) as out:
            for formula, result in run_in_step(tasks, Potential(), 6):
                what = {"rejected": str(result)} if isinstance(result, Rejected) else result
                out.write(json.dumps({"id": formula} | what) + "\n")
    return read_records(folder, path.name)
