"""The data card of `mini`: what changes with the data is counted here, the rest is the template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from xxact.data.elements import SYMBOLS
from xxact.data.store import SPLITS, Store
from xxact.data.targets import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS

TEMPLATE = Path(__file__).with_name("mini_card.md")
SOURCES = ("megnet_mp2018", "matbench_by_formula", "anchored_sibling", "anchored_matbench_min", "")
#: Column -> format of its quantiles.
QUANTILES = {"formation_energy_per_atom": "{:.2f}", "band_gap": "{:.2f}", "nsites": "{:.0f}"}


def card(rows: pd.DataFrame, store: Store, agreement: Mapping[str, Mapping[str, float]]) -> str:
    """The card of the crystals `rows` (text, as in the CSV), of which `store` was prepared.

    agreement: how far the sources of the energies agree (see `mp_join.agreement`).
    """
    numbers = rows[list(QUANTILES)].apply(pd.to_numeric)
    energy, formula = numbers.formation_energy_per_atom, rows.pretty_formula
    split = _split(rows, store)
    span = 1000 * energy.groupby(formula).agg(np.ptp)
    systems = store.values(CRYSTAL_SYSTEM.name)
    return TEMPLATE.read_text(encoding="utf-8").format(
        n=len(rows),
        n_formulas=formula.nunique(),
        n_gaps=numbers.band_gap.notna().sum(),
        energy_sources=_table(rows.energy_source.value_counts().reindex(SOURCES)),
        gap_sources=_table(rows.gap_source.value_counts().reindex(SOURCES)),
        agreement=_agreement(agreement),
        splits=_table(split.value_counts().reindex(reversed(SPLITS))),
        polymorphs=_polymorphs(formula),
        systems=_table(pd.Series({s: (systems == k).sum() for k, s in enumerate(CRYSTAL_SYSTEMS)})),
        n_elements=len(np.unique(store.element_z)),
        elements=_elements(store),
        floor=1000 * formula_floor(energy, formula).mean(),
        test_floor=1000 * formula_floor(energy, formula)[split == "test"].mean(),
        span=span.median(),
        span_high=span.quantile(0.9),
        quantiles=_quantiles(numbers),
    )


def formula_floor(energy: pd.Series, formula: pd.Series) -> pd.Series:
    """Distance of each energy from the median of its formula: what the formula cannot tell."""
    return (energy - energy.groupby(formula).transform("median")).abs()


def _split(rows: pd.DataFrame, store: Store) -> pd.Series:
    """Name of the split of each row."""
    name = {code: split for split, code in SPLITS.items()}
    by_id = {i.decode(): name[code] for i, code in zip(store.ids, store.split, strict=True)}
    return rows.material_id.map(by_id)


def _table(counts: pd.Series) -> str:
    """A line for each name that occurs: its number and its share."""
    counts = counts.dropna().astype(int)
    counts = counts[counts > 0].rename({"": "not known"})
    return "\n".join(f"| {k} | {n:,} | {100 * n / counts.sum():.1f} % |" for k, n in counts.items())


def _agreement(agreement: Mapping[str, Mapping[str, float]]) -> str:
    lines = []
    for source, found in agreement.items():
        quantiles = " | ".join(f"{1000 * found[key]:.1f}" for key in ("p50", "p90", "p99"))
        lines.append(f"| {source} | {found['n']:,} | {quantiles} |")
    return "\n".join(lines)


def _polymorphs(formula: pd.Series) -> str:
    """Formulas and crystals by the number of crystals of a formula."""
    sizes = formula.value_counts()
    groups = pd.cut(sizes, [1, 2, 3, 5, 10, 20, np.inf])
    lines = []
    for group, members in sizes.groupby(groups, observed=True):
        first, last = int(group.left) + 1, members.max()
        label = f"{first}" if first == last else f"{first} to {last}"
        lines.append(f"| {label} | {len(members):,} | {members.sum():,} |")
    return "\n".join(lines)


def _elements(store: Store) -> str:
    numbers, counts = np.unique(store.element_z, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return ", ".join(f"{SYMBOLS[numbers[k]]} {counts[k]:,}" for k in order)


def _quantiles(numbers: pd.DataFrame) -> str:
    lines = []
    for column, form in QUANTILES.items():
        values = numbers[column].quantile([0.01, 0.1, 0.5, 0.9, 0.99])
        lines.append(f"| {column} | " + " | ".join(map(form.format, values)) + " |")
    return "\n".join(lines)
