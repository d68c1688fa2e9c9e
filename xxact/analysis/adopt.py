"""Copy finished results from the runs into the committed ones; checkpoints stay behind."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xxact.analysis.provenance import check_together, predictions_of
from xxact.errors import UserError
from xxact.experiments.result import (
    data_path,
    read_data_summary,
    read_result,
    result_files,
    scales,
)
from xxact.files import write_atomically

COPIED = "copied"
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Adopted:
    """One file and what became of it."""

    target: Path
    state: str


def adopt(
    source: Path, target: Path, runs: Sequence[str] = (), overwrite: bool = False
) -> list[Adopted]:
    """Copy every result whose run matches `runs` (all without any), its predictions and data.json.

    `runs` are names as `table2/none` or patterns as `table2/*`, with a scale in front if wanted
    (`mini/table2/*`). Every file is checked before the first is copied: a damaged one, one that
    does not belong together with what is committed (other data, seeds of another spec), or another
    result where one is committed already, stops everything.
    """
    for wanted in runs or [""]:
        if not list(_chosen(source, [wanted] if wanted else [])):
            raise UserError(
                f"{source} holds no finished result" + (f" that matches {wanted}" if wanted else "")
            )
    pairs = [(path, target / path.relative_to(source)) for path in _chosen(source, runs)]
    # of data that are called otherwise, what is committed stays
    pairs = [pair for pair in pairs if not _describe_one_data_set(*pair)]
    differing = [to for path, to in pairs if to.exists() and to.read_bytes() != path.read_bytes()]
    if differing and not overwrite:
        shown = ", ".join(map(str, differing[:5])) + (" ..." if differing[5:] else "")
        raise UserError(
            f"{len(differing)} committed file(s) differ from those in {source}: {shown}. "
            "Name the runs to adopt, or add --overwrite to replace them"
        )
    there = {path: path for scale in scales(target) for path in result_files(target, scale)}
    there |= {to: path for path, to in pairs if path.suffix == ".json" and path.stem != "data"}
    check_together((path, read_result(path)) for _, path in sorted(there.items()))
    return [_copy(path, to) for path, to in pairs]


def _chosen(source: Path, runs: Sequence[str]) -> Iterator[Path]:
    for scale in scales(source):
        found = []
        for path in result_files(source, scale):
            result = read_result(path)
            names = (result.run, f"{scale}/{result.run}")
            if not runs or any(fnmatch.fnmatch(n, wanted) for n in names for wanted in runs):
                # the result last: it names the other
                found += [p for p in (predictions_of(path, result), path) if p]
        yield from found
        described = data_path(source, scale)
        if found and described.exists():
            read_data_summary(described)
            yield described


def _describe_one_data_set(path: Path, to: Path) -> bool:
    """Whether both are data.json of the same content."""
    if path.name != "data.json" or not to.exists() or path.read_bytes() == to.read_bytes():
        return False
    return read_data_summary(path).content_sha256 == read_data_summary(to).content_sha256


def _copy(path: Path, to: Path) -> Adopted:
    content = path.read_bytes()
    if to.exists() and to.read_bytes() == content:
        return Adopted(to, UNCHANGED)
    write_atomically(to, content)
    return Adopted(to, COPIED)
