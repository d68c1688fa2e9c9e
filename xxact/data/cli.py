"""`xxact data prepare | info | verify | fetch`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xxact.data.elements import SYMBOLS
from xxact.data.labels import class_counts, remarks
from xxact.data.leak import leak
from xxact.data.sources import SOURCES, known_columns
from xxact.data.store import FAILURES, LOCK, SPLITS, Store, open_store
from xxact.data.targets import CRYSTAL_SYSTEM
from xxact.errors import UserError
from xxact.files import held

if TYPE_CHECKING:
    from xxact.data.prepare import Prepared

_DATA_SETS = {
    "mp": "127,132 Materials Project crystals of up to 60 sites, 98,409 with an energy",
    "mp20": "CDVAE's MP-20: train.csv, val.csv, test.csv",
    "alexandria": "Alexandria 3D (PBE), 2024.12.15",
    "amcsd": "9,275 experimental crystals of minerals, without energies",
    "aflow": "CrabNet's benchmark: AFLOW bulk moduli of formulas",
}


def add_parser(subparsers) -> None:
    """Register `data` and its commands; each parsed result has a `func(args) -> exit code`."""
    data = subparsers.add_parser("data", help="prepare, inspect and download data sets")
    commands = data.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    _add_prepare(commands)
    info = commands.add_parser("info", help="what a data set holds")
    info.add_argument("directory", type=Path, metavar="DIR")
    info.set_defaults(func=_info)
    verify = commands.add_parser("verify", help="compare a data set's files with their hashes")
    verify.add_argument("directory", type=Path, metavar="DIR")
    verify.set_defaults(func=_verify)
    _add_fetch(commands)


def _add_prepare(commands) -> None:
    parser = commands.add_parser(
        "prepare",
        help="make a data set from files of crystals or formulas",
        description="Interrupted, the same command goes on where it stopped.",
    )
    add = parser.add_argument
    add(
        "--source",
        required=True,
        choices=SOURCES,
        help="csv: a table with CIFs or formulas; cifs: a table beside CIF files; json: pymatgen "
        "structures, Materials Project or JARVIS; alexandria: its releases; mini: the embedded one",
    )
    add(
        "--input",
        nargs="+",
        action="extend",
        default=[],
        metavar="[SPLIT=]FILE",
        help="files; train=FILE, validation=FILE, test=FILE keep a given split",
    )
    add("--out", required=True, type=Path, metavar="DIR")
    add("--name", help="name of the data set in results (default: that of DIR)")
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    add(
        "--column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="a column under another name, e.g. formation_energy_per_atom=e_form or id=code",
    )
    add(
        "--target",
        action="append",
        default=[],
        metavar="NAME:UNIT=COLUMN",
        help="a further target: a number (bulk_modulus:GPa=K_VRH) or classes (phase:class=phase)",
    )
    add(
        "--split-by",
        choices=("id", "formula"),
        help="formula: all samples of a formula go to one split (default: by id, if rows have one)",
    )
    add("--symprec", type=float, default=0.01, metavar="ANGSTROM", help="default 0.01")
    add(
        "--share",
        metavar="K/N",
        help="compute the K-th of N shares (K from 0) of the shards and stop, for array jobs; "
        "the same command without --share finishes",
    )
    add("--overwrite", action="store_true", help="replace another data set in DIR")
    parser.set_defaults(func=_prepare)


def _prepare(args: argparse.Namespace) -> int:
    from xxact.data.prepare import prepare, prepare_share
    from xxact.data.sources.arguments import parse_columns, parse_inputs

    if args.source == "mini" and (args.column or args.target):
        raise UserError("the source 'mini' has fixed columns: leave --column and --target out")
    inputs = parse_inputs(args.input)
    settings = {
        "name": args.name,
        "columns": parse_columns(args.column, args.target, known_columns(args.source)),
        "symprec": args.symprec,
        "workers": args.workers,
        "overwrite": args.overwrite,
        "split_by": args.split_by,
    }
    if args.share:
        prepare_share(args.source, inputs, args.out, _parse_share(args.share), **settings)
        return 0
    return _report(prepare(args.source, inputs, args.out, **settings))


def _report(prepared: Prepared) -> int:
    """Print what was stored; 1 if an input could not be read to its end, else 0."""
    store, failures = prepared.store, prepared.store.manifest["failures"]
    splits = ", ".join(f"{n:,} {split}" for split, n in store.manifest["splits"].items())
    print(f"{store.path}: {store.n:,} stored ({splits}), {sum(failures.values()):,} unusable")
    for reason, n in failures.items():
        print(f"  {reason}: {n:,}")
    if failures:
        print(f"  each is listed in {store.path / FAILURES}")
    for line in [*leak(store), *remarks(store)]:
        print(f"  {line}")
    for path, reason in prepared.unreadable.items():
        print(f"error: {path} could not be read to its end: {reason}", file=sys.stderr)
    return 1 if prepared.unreadable else 0


def _parse_share(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise UserError(f"--share {text}: write K/N, e.g. 0/8 for the first of eight")
    return int(match[1]), int(match[2])


def _info(args: argparse.Namespace) -> int:
    print(describe(open_store(args.directory)))
    return 0


def _verify(args: argparse.Namespace) -> int:
    store = open_store(args.directory, check=False)
    problems = store.verify()
    if problems:
        lines = "\n  ".join(problems)
        raise UserError(f"{store.path} is damaged; prepare it again:\n  {lines}")
    n = len(store.manifest["columns"]) + len(store.manifest["files"])
    print(f"{store.path}: {n} files agree with the manifest")
    return 0


def _add_fetch(commands) -> None:
    parser = commands.add_parser(
        "fetch",
        help="download a public data set",
        description="Downloads resume; files that are there already and whole are kept.",
    )
    sets = parser.add_subparsers(dest="data_set", metavar="SET", required=True)
    for name, what in _DATA_SETS.items():
        command = sets.add_parser(name, help=what)
        command.add_argument("--out", type=Path, default=Path("data/raw", name), metavar="DIR")
        command.set_defaults(func=_fetch)
    sets.choices["alexandria"].add_argument(
        "--files", default="", metavar="RANGE", help="a part of them, e.g. 0-2 or 0,3,7 (all)"
    )


def _fetch(args: argparse.Namespace) -> int:
    from xxact.data.fetch import amcsd, data_sets, materials_project

    with held(args.out / LOCK, f"{args.out} is being filled"):
        if args.data_set == "alexandria":
            data_sets.alexandria(args.out, data_sets.parse_ranges(args.files))
        elif args.data_set == "mp":
            materials_project.mp(args.out)
        else:
            fetch = {"mp20": data_sets.mp20, "aflow": data_sets.aflow, "amcsd": amcsd.amcsd}
            fetch[args.data_set](args.out)
    return 0


def describe(store: Store) -> str:
    """Counts by split, crystal systems, elements, target ranges and failures, as text."""
    manifest = store.manifest
    lines = [
        f"{store.name}: {store.n:,} samples ({manifest['kind']}), data {store.content_sha256[:12]}",
        "from: " + ", ".join(f"{i['name']} ({i['bytes']:,} bytes)" for i in manifest["inputs"]),
        f"split by: {manifest['split']['by']}",
        *_table("split", _splits(store)),
        *leak(store),
    ]
    if store.has_xrd:
        reflections = len(store.intensity) / max(1, store.n)
        lines.append(
            f"symprec: {manifest['symprec']} angstrom, wavelength: "
            f"{manifest['wavelength_angstrom']} angstrom, reflections a sample: {reflections:.0f}"
        )
    size = sum((store.path / file).stat().st_size for file in manifest["columns"])
    lines.append(f"size: {size:,} bytes, {size / max(1, store.n):.0f} a sample")
    lines += _targets(store)
    classes = [name for name in manifest["targets"] if store.targets[name].is_class]
    if "space_group.npy" in manifest["columns"]:
        classes.append(CRYSTAL_SYSTEM.name)
    for name in classes:
        lines += _table(name.replace("_", " "), list(class_counts(store, name).items()))
    lines += remarks(store)
    lines += _elements(store)
    failures = manifest["failures"]
    lines.append(f"unusable rows: {sum(failures.values()):,}")
    lines += [f"  {reason}: {n:,}" for reason, n in failures.items()]
    if failures:
        lines.append(f"  (each with its reason: {store.path / FAILURES})")
    return "\n".join(lines)


def _splits(store: Store) -> list[tuple]:
    return [(name, {"samples": len(store.indices(name))}) for name in reversed(SPLITS)]


def _table(title: str, rows: list[tuple]) -> list[str]:
    """Rows of (name, {column: count}) with thousands separated, right-aligned."""
    columns = list(rows[0][1])
    width = max(16, *(len(name) + 3 for name in (title, *dict(rows))))
    lines = [f"{title + ':':<{width}}" + "".join(f"{c:>12}" for c in columns)]
    return lines + [
        f"{'  ' + name:<{width}}" + "".join(f"{r[c]:>12,}" for c in columns) for name, r in rows
    ]


def _targets(store: Store) -> list[str]:
    lines = [f"{'target:':<40}{'known':>10}{'least':>12}{'mean':>12}{'most':>12}"]
    for name in store.manifest["targets"]:
        unit = store.targets[name].unit
        if store.targets[name].is_class:
            continue
        values = store.values(name).astype(np.float64)
        known = values[~np.isnan(values)]
        numbers = (known.min(), known.mean(), known.max()) if len(known) else (np.nan,) * 3
        label = f"  {name}" + (f" ({unit})" if unit else "")
        lines.append(f"{label:<39} {len(known):>10,}" + "".join(f"{x:>12.4g}" for x in numbers))
    return lines


def _elements(store: Store) -> list[str]:
    counts = Counter(np.asarray(store.element_z).tolist())
    cells = [f"{SYMBOLS[z]} {n:,}" for z, n in counts.most_common()]
    rows = [cells[k : k + 10] for k in range(0, len(cells), 10)]
    return [f"elements ({len(cells)}), samples with each:", *("  " + ", ".join(r) for r in rows)]
