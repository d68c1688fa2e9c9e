"""Result files read together, and refused when they do not belong together.

Seeds of one run are averaged only if they share the resolved spec, and the runs of one scale stand
in one table only if they share the data, by `Store.content_sha256`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from xxact.errors import UserError
from xxact.experiments.baselines import BASELINES, BaselineSpec
from xxact.experiments.result import (
    Result,
    data_path,
    read_data_summary,
    read_result,
    result_files,
    scales,
)
from xxact.files import sha256_of
from xxact.training.identity import of_today
from xxact.training.spec import RunSpec, Spec

#: Order in which scales are shown; others follow alphabetically.
SCALE_ORDER = ("mini", "mp-small", "mp", "paper", "mp-amcsd", "aflow")
#: Keys of a resolved spec that describe a run without changing it.
PROSE = frozenset({"reproduces", "seed", "title", "description", "notes", "engine"})


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
    files += [path for scale in scales(root) if (path := data_path(root, scale)).exists()]
    stamps = ((path, (s := path.stat()).st_mtime_ns, s.st_size) for path in files)
    return _read(tuple(stamps))


@lru_cache(maxsize=4)
def _read(stamps: tuple[tuple[Path, int, int], ...]) -> tuple[Result, ...]:
    """stamps: path, time and size of each file."""
    paths = [path for path, _, _ in stamps]
    found = [(path, read_result(path)) for path in paths if path.name != "data.json"]
    check_together(found)
    first = {result.scale: (path, result) for path, result in reversed(found)}
    for path in paths:
        if path.name == "data.json" and path.parent.name in first:
            other, result = first[path.parent.name]
            hashes = result.data.content_sha256, read_data_summary(path).content_sha256
            _check_data(other, path, *hashes)
    return tuple(result for _, result in found)


def check_together(found: Iterable[tuple[Path, Result]]) -> None:
    """`UserError` if results of one scale are of different data, or seeds of different specs."""
    of_scale: dict[str, tuple[Path, Result]] = {}
    of_run: dict[tuple[str, str], tuple[Path, Result]] = {}
    for path, result in found:
        other, same = of_scale.setdefault(result.scale, (path, result))
        _check_data(other, path, same.data.content_sha256, result.data.content_sha256)
        other, same = of_run.setdefault((result.scale, result.run), (path, result))
        differing = spec_differences(same, result)
        if differing:
            raise UserError(
                f"{other} and {path} are seeds of one run but differ in {', '.join(differing)}; "
                "they cannot be averaged: move one of them away, or run it again"
            )


def _check_data(path: Path, other: Path, own_hash: str, other_hash: str) -> None:
    if own_hash != other_hash:
        raise UserError(
            f"{path} and {other} were made on different data sets (content_sha256 "
            f"{own_hash[:12]} and {other_hash[:12]}) and cannot stand in one table; "
            "move one of them away, or run it again on the same data"
        )


def predictions_of(path: Path, result: Result) -> Path | None:
    """The file of predictions that the result at `path` names, if it kept any.

    `UserError` if another one lies there, or none.
    """
    if result.predictions is None:
        return None
    file = path.with_name(result.predictions.file)
    if not file.exists() or sha256_of(file) != result.predictions.sha256:
        raise UserError(f"{file} is not the file that {path} names: train that run again")
    return file


def ordered_scales(root: str | Path) -> list[str]:
    """Scales with a result under the root, smallest first."""
    found = scales(root)
    known = [scale for scale in SCALE_ORDER if scale in found]
    return known + sorted(set(found) - set(known))


def spec_differences(a: Result, b: Result) -> list[str]:
    """Dotted keys in which two resolved specs differ, with both values; prose does not count, and
    neither does a key that one of them is too old for, at its default in the other."""
    specs = (of_today(r.spec.model_dump(exclude_unset=True), _kind(r)) for r in (a, b))
    compared = ({k: v for k, v in spec.items() if k not in PROSE} for spec in specs)
    return list(_differences("spec", *compared))


def _kind(result: Result) -> type[Spec]:
    """The type that the result's spec has today."""
    fitted = {model.kind for model in BASELINES.values()}
    return BaselineSpec if result.spec.model.get("kind") in fitted else RunSpec


def _differences(key: str, a: Any, b: Any) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted(set(a) | set(b)):
            yield from _differences(f"{key}.{name}", a.get(name), b.get(name))
    elif a != b:
        yield f"{key} ({a!r} and {b!r})"
