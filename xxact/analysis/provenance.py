"""The results of one scale under one root, refused when they do not belong together.

Seeds of one run are averaged only if they share scale, data hash and resolved spec, and the runs of
one scale stand in one table only if they share the data hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from xxact.errors import UserError
from xxact.experiments.result import (
    DataSummary,
    Result,
    data_path,
    iter_results,
    read_data_summary,
    result_files,
    result_path,
    scales,
)

#: Order in which scales are shown; others follow alphabetically.
SCALE_ORDER = ("mini", "mp-small", "mp", "paper", "aflow")
#: Keys of a resolved spec that describe a run without changing it.
PROSE = frozenset({"reproduces", "seed", "title", "description", "notes", "engine"})


def data_hash(data: Any) -> str:
    """Hash of the content of a data set; of its manifest in results that have no other."""
    return getattr(data, "content_sha256", None) or data.manifest_sha256


def tree_root(root: str | Path) -> Path:
    """`root`; where it is relative and not in the working directory, that beside the package."""
    here = Path(root)
    beside = Path(__file__).resolve().parents[2] / root
    return beside if not here.exists() and beside.exists() else here


def read_tree(root: str | Path) -> tuple[Result, ...]:
    """Every result under `root`, by scale, run and seed; they have been found to belong together.

    `UserError` where there is none. Read again only where a file has changed.
    """
    root = tree_root(root)
    files = [path for scale in ordered_scales(root) for path in result_files(root, scale)]
    if not files:
        raise UserError(
            f"{root} holds no result; train some (make reproduce, or python "
            "experiments/table2/run.py --local), or name another folder"
        )
    described = {path.parents[2] / "data.json" for path in files}
    files += sorted(path for path in described if path.exists())
    stamps = ((path, (s := path.stat()).st_mtime_ns, s.st_size) for path in files)
    return _read_files(root, tuple(stamps))


@lru_cache(maxsize=4)
def _read_files(root: Path, stamps: tuple[tuple[Path, int, int], ...]) -> tuple[Result, ...]:
    scales = dict.fromkeys(path.relative_to(root).parts[0] for path, _, _ in stamps)
    trees = [Tree(root, scale) for scale in scales]
    return tuple(result for tree in trees for run in tree.runs for result in tree.results(run))


class Tree:
    """All results of one scale under one root, by run; a run that is absent has no results."""

    def __init__(self, root: str | Path, scale: str) -> None:
        self.root = Path(root)
        self.scale = scale
        found = list(iter_results(root, scale))
        self._runs = by_run(found)
        first = (found[0][0], data_hash(found[0][1].data)) if found else None
        self.data = self._read_data(first)
        self.manifest_sha256 = first[1] if first else self.data and data_hash(self.data)

    @property
    def runs(self) -> list[str]:
        """Names of the runs that are there, in alphabetical order."""
        return sorted(self._runs)

    def results(self, run: str) -> tuple[Result, ...]:
        """The results of a run by seed, empty when it was not run."""
        return self._runs.get(run, ())

    def path(self, result: Result) -> Path:
        """The file of a result."""
        return result_path(self.root, self.scale, result.run, result.seed)

    def _read_data(self, first: tuple[Path, str] | None) -> DataSummary | None:
        path = data_path(self.root, self.scale)
        if not path.exists():
            return None
        summary = read_data_summary(path)
        if first:
            _check_data(first, (path, data_hash(summary)))
        return summary


def by_run(found: Iterable[tuple[Path, Result]]) -> dict[str, tuple[Result, ...]]:
    """Results of one scale by run; `UserError` if they do not belong together."""
    runs: dict[str, list[tuple[Path, Result]]] = {}
    first: tuple[Path, str] | None = None
    for path, result in found:
        own = path, data_hash(result.data)
        first = first or own
        _check_data(first, own)
        seeds = runs.setdefault(result.run, [])
        if seeds:
            _check_spec(*seeds[0], path, result)
        seeds.append((path, result))
    return {run: tuple(result for _, result in seeds) for run, seeds in runs.items()}


def ordered_scales(*roots: str | Path | None) -> list[str]:
    """Scales with a result under any of the roots, smallest first."""
    found = {scale for root in roots if root for scale in scales(root)}
    known = [scale for scale in SCALE_ORDER if scale in found]
    return known + sorted(found - set(known))


def comparable_spec(result: Result) -> dict[str, Any]:
    """The resolved spec without its prose: what two results must share to be averaged."""
    return {k: v for k, v in result.spec.model_dump().items() if k not in PROSE}


def spec_differences(a: Result, b: Result) -> list[str]:
    """Dotted keys in which two resolved specs differ, with both values."""
    return list(_differences("spec", comparable_spec(a), comparable_spec(b)))


def _differences(key: str, a: Any, b: Any):
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted(set(a) | set(b)):
            yield from _differences(f"{key}.{name}", a.get(name), b.get(name))
    elif a != b:
        yield f"{key} ({a!r} and {b!r})"


def _check_data(first: tuple[Path, str], second: tuple[Path, str]) -> None:
    if first[1] == second[1]:
        return
    raise UserError(
        f"{first[0]} and {second[0]} were made on different data sets (hashes "
        f"{first[1][:12]} and {second[1][:12]}) and cannot stand in one table; "
        "move one of them away, or run it again on the same data"
    )


def _check_spec(path: Path, result: Result, other_path: Path, other: Result) -> None:
    differing = spec_differences(result, other)
    if differing:
        raise UserError(
            f"{path} and {other_path} are seeds of one run but differ in {', '.join(differing)}; "
            "they cannot be averaged: move one of them away, or run it again"
        )
