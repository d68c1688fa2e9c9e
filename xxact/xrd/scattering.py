"""Parameters of the X-ray scattering factors of the elements, from the table that pymatgen ships.

f(s) = Z - 41.78214 s^2 sum_k a_k exp(-b_k s^2) with s = sin(theta) / wavelength (De Graef and
McHenry, Structure of Materials, ch. 12), times exp(-B s^2) where a Debye-Waller factor B is given.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from xxact.errors import UserError
from xxact.xrd.crystal import CrystalError


@functools.cache
def _scattering_parameters() -> tuple[dict[str, int], np.ndarray]:
    """Atomic numbers by symbol, and (119, 9) a_1..a_4, b_1..b_4, 0 with NaN where there are none.

    The file is read from the installed pymatgen; its `xrd` module would bring matplotlib along.
    """
    from pymatgen.core import Element

    folder = find_spec("pymatgen.analysis.diffraction").submodule_search_locations[0]
    text = (Path(folder) / "atomic_scattering_params.json").read_text(encoding="utf-8")
    table = np.full((119, 9), np.nan)
    numbers = {element.symbol: element.Z for element in Element}
    for symbol, pairs in json.loads(text).items():
        if symbol in numbers and symbol != "D":
            table[numbers[symbol]] = [*np.array(pairs).T.ravel(), 0.0]
    return numbers, table


def form_factor_table(debye_waller_factors: Mapping[int | str, float] | None) -> np.ndarray:
    """(119, 9): a_1..a_4, b_1..b_4, B by atomic number."""
    numbers, table = _scattering_parameters()
    if not debye_waller_factors:
        return table
    table = table.copy()
    for key, value in debye_waller_factors.items():
        if key not in numbers and key not in numbers.values():
            raise UserError(f"debye_waller_factors names '{key}', which is not an element")
        table[numbers.get(key, key), 8] = value
    return table


def missing_factors(elements: np.ndarray) -> CrystalError:
    numbers, table = _scattering_parameters()
    symbols = {number: symbol for symbol, number in numbers.items()}
    missing = [f"{symbols[z]} (Z = {z})" for z in elements.tolist() if np.isnan(table[z, 0])]
    message = f"no X-ray scattering factors for {', '.join(missing)}"
    return CrystalError("no_scattering_factors", message)
