"""Space-group settings by the names that people give them, and their operators.

The table of settings, symbols and Hall symbols is gemmi's. What stands here is how symbols are
written in files (`P2(1)/c`, `P_21/c`, `F 4/m -3 2/m`, `F d -3 m Z`, `R-3m (hexagonal axes)`), and
which settings a symbol leaves open: without a suffix both origins of the 24 groups that have two,
hexagonal and rhombohedral axes, and the unique axis of a short monoclinic symbol.

Operators are arrays (N, 3, 4): the rotation W, then the translation w, so that an atom at x is
also at W x + w.
"""

from __future__ import annotations

import functools
import re

import gemmi
import numpy as np

from xxact.xrd.crystal import Crystal, CrystalError
from xxact.xrd.symmetry import space_group_number

#: How far an operator may change the metric of a cell, as a fraction of its squared lengths.
METRIC_TOLERANCE = 0.01

_SAME_TRANSLATION = 1e-3
_TERM = re.compile(r"([+-]?)(?:(\d+\.?\d*|\.\d+)(?:/(\d+))?)?\*?([xyz]?)")
_MARKUP = (
    (r"<[^>]*>|[$'\"{}]", ""),  # HTML tags, TeX and left-over quotes
    ("[\u2212\u2013\u2010\u00af]", "-"),  # minus, dash, hyphen, macron
    ("(\\d)[\u0304\u0305]", r"-\1"),  # a digit under a bar
    (r"\\(?:bar|overline|=)\s*(\d)", r"-\1"),
    (r"([2346])\s*_?\(([1-5])\)", r"\1\2"),  # P 2(1)/c
    (r"([2346])_([1-5])", r"\1\2"),  # P2_1/c
    (r"2 1/", "21/"),
    (r"[_\s]+", " "),
)
_FULL_TO_SHORT = (
    (
        r"(?<!-)3(?= ?1? ?2/)",
        "-3",
    ),  # R 3 2/m, P 3 1 2/c, F 4/m 3 2/m: 2/m has a centre, so has the 3
    (r"^P ?-3( ?1)? ?2/([mc])", r"P -3\1 \2"),  # P -3 2/m 1, P -3 1 2/m
    (
        r"(?<![146])(?<!1 )21?/([abcdemn])(?! ?1$)",
        r"\1",
    ),  # P 21/n 21/m 21/a, I 41/a 2/m 2/d, R -3 2/m
    (r"4[1-3]?/([abcdmn])\s*-3", r"\1-3"),  # F 4/m -3 2/m
    (r"(?<=[abcdmn])3-", "-3"),  # F m 3- m
    (r"^(R.*) ?1$", r"\1"),  # R -3 m 1
    (r"^(P -?3 ?[mc])$", r"\1 1"),  # P -3 m, as before 1935
)
_CODES = {"S": "1", "Z": "2", "O1": "1", "O2": "2", "HR": "H", "RR": "R"}


def settings_of_symbol(symbol: str, code: str = "") -> list[gemmi.SpaceGroup]:
    """The settings that a Hermann-Mauguin symbol may stand for, the usual one first.

    symbol: short, full or extended, with or without a suffix such as `:1`, `:R` or
    `(origin choice 2)`.
    code: an `_space_group.IT_coordinate_system_code` (`1`, `2`, `h`, `r`, `b1`, `-cba`, ...).

    The list is empty if the symbol is not understood, or does not go with its suffix.
    """
    name, suffix = _split_suffix(symbol)
    for text, ending in (*_letter_endings(name, suffix), (name, suffix)):
        found = _with_axes_open(text)
        if found:
            return [s for s in found if _agrees(s, ending) and _agrees(s, code)]
    return []


def settings_of_number(number: int) -> list[gemmi.SpaceGroup]:
    """The standard setting of a space-group type 1 to 230, with each origin or axes that it has."""
    standard = gemmi.find_spacegroup_by_number(number)
    return [] if standard is None else _with_axes_open(standard.hm)


def has_one_setting(number: int) -> bool:
    """Whether a number alone says what the operators are."""
    return sum(s.number == number for s in gemmi.spacegroup_table()) == 1


def operators_of(group: gemmi.GroupOps) -> np.ndarray:
    """(N, 3, 4) operators of a gemmi group, centring included."""
    return np.array(
        [np.column_stack([np.array(op.rot) / op.DEN, np.array(op.tran) / op.DEN]) for op in group]
    )


def operators_of_hall(symbol: str) -> np.ndarray | None:
    """(N, 3, 4) operators of a Hall symbol, or None if it is none."""
    try:
        return operators_of(gemmi.symops_from_hall(symbol.replace("_", " ")))
    except (RuntimeError, ValueError):
        return None


def number_of_hall(symbol: str) -> int:
    """Space-group number of a Hall symbol in gemmi's table, else 0."""
    found = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(symbol.replace("_", " ")))
    return found.number if found else 0


def parse_operators(texts: list[str]) -> np.ndarray:
    """(N, 3, 4) operators from `x, y+1/2, -z` and the like; a fourth part (time) is passed over.

    Raises `CrystalError` (`unreadable_symmetry`) for what is no operator and for lists that are no
    group.
    """
    return _group(tuple(dict.fromkeys(texts)))


@functools.lru_cache(maxsize=1024)  # a database has few lists of operators: AMCSD has 471
def _group(texts: tuple[str, ...]) -> np.ndarray:
    operators = np.array([_parse_operator(text) for text in texts])
    products = np.einsum("aij,bjk->abik", operators[:, :, :3], operators[:, :, :3])
    shifts = np.einsum("aij,bj->abi", operators[:, :, :3], operators[:, :, 3])
    shifts += operators[:, None, :, 3]
    keys = _rotation_keys(operators[:, :, :3])
    for product_keys, product_shifts in zip(_rotation_keys(products), shifts, strict=True):
        same = product_keys[:, None] == keys
        offset = product_shifts[:, None] - operators[:, :, 3]
        same &= (np.abs(offset - np.round(offset)) < _SAME_TRANSLATION).all(-1)
        if not same.any(1).all():
            raise CrystalError(
                "unreadable_symmetry",
                f"the {len(operators)} symmetry operators of the file are no group: some are "
                "missing or wrong",
            )
    operators.flags.writeable = False
    return operators


def same_operators(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two groups (N, 3, 4) are the same up to lattice translations."""
    if len(a) != len(b):
        return False
    offset = a[:, None, :, 3] - b[:, :, 3]
    same = (np.abs(offset - np.round(offset)) < _SAME_TRANSLATION).all(-1)
    same &= (a[:, None, :, :3] == b[:, :, :3]).all((-1, -2))
    return bool(same.any(1).all())


def keep_metric(operators: np.ndarray, lattice: np.ndarray) -> bool:
    """Whether every rotation leaves lengths and angles of the cell (3, 3) as they are."""
    metric = lattice @ lattice.T
    rotations = operators[:, :, :3]
    images = np.einsum("nji,jk,nkl->nil", rotations, metric, rotations)
    lengths = np.sqrt(np.diag(metric))
    return bool((np.abs(images - metric) <= METRIC_TOLERANCE * np.outer(lengths, lengths)).all())


def number_of_operators(operators: np.ndarray, lattice: np.ndarray) -> int:
    """Space-group number of operators in any setting: that of three general orbits of atoms."""
    points = np.array(
        [[0.1357, 0.2791, 0.0813], [0.0529, 0.1213, 0.3371], [0.2217, 0.0397, 0.1571]]
    )
    images = operators[:, :, :3] @ points.T + operators[:, :, 3:]  # (N, 3 axes, 3 points)
    kinds = np.tile([6, 7, 8], len(operators))
    crystal = Crystal(lattice, images.transpose(0, 2, 1).reshape(-1, 3), kinds)
    return space_group_number(crystal, symprec=1e-3)


@functools.cache
def _table() -> list[gemmi.SpaceGroup]:
    return list(gemmi.spacegroup_table())


def _split_suffix(symbol: str) -> tuple[str, str]:
    """The symbol without mark-up and its suffix as one of 1, 2, H, R or a qualifier."""
    suffix = ""
    match = re.search(r"\s*(?::|[(\[,]?\s*(?=origin|rhomb|hex))(.*)$", symbol, re.IGNORECASE)
    if match:
        symbol, words = symbol[: match.start()], match[1].strip("()[]'\" ").lower()
        digit = re.search(r"[12]$", words) if "origin" in words or "choice" in words else None
        suffix = digit[0] if digit else words
        suffix = "H" if suffix.startswith("hex") else "R" if suffix.startswith("rho") else suffix
    for pattern, replacement in _MARKUP:
        symbol = re.sub(pattern, replacement, symbol)
    symbol = symbol.strip()
    return symbol, suffix or ("H" if symbol.startswith("H") else "")


def _letter_endings(name: str, suffix: str) -> list[tuple[str, str]]:
    """The name without a letter for the setting: `F d -3 m Z`, `R-3mH` (ICSD)."""
    match = re.fullmatch(r"(.*?)\s*(HR|RR|O1|O2|[SZHR])", name)
    if match is None or suffix:
        return []
    return [(match[1], _CODES.get(match[2], match[2]))]


def _with_axes_open(name: str) -> list[gemmi.SpaceGroup]:
    """Settings of a symbol without a suffix."""
    squeezed = name.replace(" ", "").lower()
    short = [s for s in _table() if 3 <= s.number <= 15 and _short(s).lower() == squeezed]
    if short:
        return short
    found = _find(name)
    return [s for s in _table() if found and s.hm == found.hm and s.number == found.number]


def _find(name: str) -> gemmi.SpaceGroup | None:
    """gemmi's entry of a symbol, as written or brought from its full to its short form."""
    name = name[:1].upper() + name[1:].lower()
    forms = [name]
    for pattern, replacement in _FULL_TO_SHORT:
        forms.append(re.sub(pattern, replacement, forms[-1]))
    for form in filter(None, dict.fromkeys(forms)):
        found = gemmi.find_spacegroup_by_name(form)
        joined = re.fullmatch(r"[A-Z](?: \d){2,}", form)  # `P 3 2`, which gemmi takes for P 32
        if found and not (joined and len(found.hm.split()) < len(form.split())):
            return found
    return None


def _short(setting: gemmi.SpaceGroup) -> str:
    """The monoclinic symbol without its axes: P21/c."""
    return "".join(part for part in setting.hm.split() if part != "1")


def _agrees(setting: gemmi.SpaceGroup, code: str) -> bool:
    """Whether a setting is the one that a suffix or code names."""
    code = code.lower()
    ext = setting.ext.strip("\0").lower()
    if code in ("", ext, setting.qualifier):
        return True
    if code in ("1", "abc") and not ext:
        return True
    return bool(ext) and code in (ext + (setting.qualifier or "abc"),)


def _rotation_keys(rotations: np.ndarray) -> np.ndarray:
    """An integer for each rotation (..., 3, 3)."""
    flat = np.rint(rotations.reshape(*rotations.shape[:-2], 9)).astype(np.int64) + 4
    return flat @ (9 ** np.arange(9))


def _parse_operator(text: str) -> np.ndarray:
    """(3, 4) from the three parts of one operator."""
    operator = np.zeros((3, 4))
    parts = re.sub(r"\s", "", text).lower().split(",")
    if len(parts) == 4 and parts[3].lstrip("+-") == "1":
        parts = parts[:3]  # magnetic: the fourth says whether time is reversed
    complete = len(parts) == 3
    for row, part in enumerate(parts[:3]):
        terms = [match for match in _TERM.finditer(part) if match[0]]
        complete = complete and part != "" and "".join(match[0] for match in terms) == part
        for sign, number, divisor, axis in (match.groups() for match in terms):
            size = float(number or 1) / float(divisor or 1) if divisor != "0" else np.nan
            operator[row, "xyz".index(axis) if axis else 3] += -size if sign == "-" else size
    if not complete or not np.isclose(abs(np.linalg.det(operator[:, :3])), 1.0):
        raise CrystalError("unreadable_symmetry", f"'{text:.60}' is no symmetry operator")
    nearest = np.round(operator[:, 3] * 24) / 24  # 0.3333 is a third
    exact = np.abs(nearest - operator[:, 3]) < _SAME_TRANSLATION
    operator[:, 3] = np.where(exact, nearest, operator[:, 3])
    return operator
