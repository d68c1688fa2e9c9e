"""The runs of a table: what they are, what each starts from, and how far each is."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxact.data.store import Store
from xxact.errors import UserError
from xxact.experiments.baselines import BaselineSpec
from xxact.experiments.result import data_path, read_result, result_files, result_path
from xxact.experiments.spec import Row, Scale, _did_you_mean, read_spec, resolve
from xxact.files import held
from xxact.training import identity
from xxact.training.progress import read_progress
from xxact.training.spec import RunSpec

#: The suite is used from its checkout: specs and results lie beside the package.
REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = REPOSITORY / "experiments"
RESULTS = REPOSITORY / "results"
#: Weights of a finished run, and their description (`xxact.training.weights`).
MODEL = ("model.safetensors", "model.json")
#: What an unfinished run goes on from (`xxact.training.loop`).
CHECKPOINT = "checkpoint.pt"
#: Every file that a run writes into its folder, beside the lock and logs of jobs.
OWN_FILES = (identity.FILE, CHECKPOINT, *MODEL, "log.txt", "metrics.jsonl", "progress.json")


@dataclass(frozen=True)
class Run:
    """One training with one seed: `name` is `<table>/<row>`, `root` the tree it writes to."""

    name: str
    scale: str
    seed: int
    spec: RunSpec | BaselineSpec
    root: Path
    data: Path

    @property
    def result_path(self) -> Path:
        """The result JSON; it exists when the run is finished."""
        return result_path(self.root, self.scale, self.name, self.seed)

    @property
    def predictions_path(self) -> Path:
        """The predictions that the result names."""
        return self.result_path.with_suffix(".npz")

    @property
    def data_path(self) -> Path:
        """The description of the data set."""
        return data_path(self.root, self.scale)

    @property
    def folder(self) -> Path:
        """Identity, checkpoint, weights and log."""
        return self.result_path.with_suffix("")

    @property
    def model_path(self) -> Path:
        """Weights of the finished run."""
        return self.folder / MODEL[0]

    @property
    def is_baseline(self) -> bool:
        """Whether it is fitted rather than trained, and leaves no weights."""
        return isinstance(self.spec, BaselineSpec)

    @property
    def init_path(self) -> Path | None:
        """Weights that the run starts from."""
        if self.spec.init is None:
            return None
        folder = result_path(self.root, self.scale, self.spec.init, self.seed).with_suffix("")
        return folder / MODEL[0]

    @property
    def command(self) -> str:
        """What to type to do the run again from a fresh checkout."""
        table, row = self.name.split("/")
        return (
            f"python experiments/{table}/run.py --local --scale {self.scale}"
            f" --only {row} --seed {self.seed}"
        )

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.name} (seed {self.seed})"


@dataclass(frozen=True)
class OwnRun(Run):
    """A run of no table, which `xxact train` starts: all its files are in the folder `root`.

    `given` is the spec's file, and `parent` the folder of the run that it starts from.
    """

    given: Path
    parent: Path | None = None

    result_path = property(lambda self: self.root / "result.json")
    data_path = property(lambda self: self.root / "data.json")
    folder = property(lambda self: self.root)
    init_path = property(lambda self: self.parent and self.parent / MODEL[0])

    @property
    def command(self) -> str:
        """What to type to do the run again."""
        words = ["xxact", "train", self.given, "--scale", self.scale, "--data", self.data]
        words += ["--out", self.root, "--seed", self.seed]
        return shlex.join(map(str, [*words, *(["--init", self.parent] if self.parent else [])]))


def load_scale(name: str) -> Scale:
    """The scale of that name; `UserError` lists the scales there are."""
    folder = EXPERIMENTS / "scales"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UserError(
            f"there is no scale '{name}'{_did_you_mean(name, known)}; the scales are:"
            f" {', '.join(known)} (in {folder})"
        )
    return read_spec(folder / f"{name}.yaml", Scale)


def row_names(table: str) -> list[str]:
    """Rows of a table, as `<table>/<row>`, in alphabetical order."""
    return [f"{table}/{path.stem}" for path in sorted((EXPERIMENTS / table).glob("*.yaml"))]


def load_row(name: str) -> Row:
    """The row `<table>/<row>`; `UserError` lists the rows there are."""
    path = EXPERIMENTS / f"{name}.yaml"
    if not path.exists():
        table, row = name.split("/")
        known = [other.split("/")[1] for other in row_names(table)]
        raise UserError(
            f"table '{table}' has no row '{row}'{_did_you_mean(row, known)}; its rows are:"
            f" {', '.join(known)}"
        )
    return read_spec(path, Row)


def plan(
    names: Iterable[str],
    scale_name: str,
    seeds: Sequence[int],
    root: Path,
    data: Path | None = None,
) -> list[Run]:
    """The runs `names` with all that they start from, each after what it depends on."""
    scale = load_scale(scale_name)
    ordered: dict[str, Row] = {}

    def add(name: str, chain: tuple[str, ...] = ()) -> None:
        if name in chain:
            raise UserError(f"these rows start from each other: {' -> '.join([*chain, name])}")
        row = load_row(name)
        if row.init is not None:
            add(row.init, (*chain, name))
        ordered.setdefault(name, row)

    for name in names:
        add(name)
    return [
        Run(
            name=name,
            scale=scale_name,
            seed=seed,
            spec=resolve(row, scale, str(EXPERIMENTS / f"{name}.yaml")),
            root=root,
            data=data or REPOSITORY / scale.data,
        )
        for seed in seeds
        for name, row in ordered.items()
    ]


def heirs(run: Run) -> list[Run]:
    """The runs of any table that start from the weights of `run`, or from theirs."""
    tables = [folder.name for folder in EXPERIMENTS.iterdir() if (folder / "run.py").exists()]
    starts = {name: load_row(name).init for table in tables for name in row_names(table)}
    found = [run.name]
    for parent in found:  # which grows
        found += [name for name, init in starts.items() if init == parent]
    runs = plan(found[1:], run.scale, [run.seed], run.root, run.data)
    return [other for other in runs if other.name in found[1:]]


def state(run: Run) -> str:
    """How far a run is: "done", "weights missing", "step k of n" or "not started"."""
    if run.result_path.exists():
        return "done" if run.is_baseline or run.model_path.exists() else "weights missing"
    progress = read_progress(run.folder)
    return f"step {progress['step']} of {progress['total']}" if progress else "not started"


def unfinished(runs: Sequence[Run]) -> list[Run]:
    """The runs that have to be trained.

    A finished run whose weights are gone counts only if an unfinished run starts from it.
    """
    todo: list[Run] = []
    for run in reversed(runs):
        how_far = state(run)
        needed = any(other.init_path == run.model_path for other in todo)
        if how_far not in ("done", "weights missing") or (how_far == "weights missing" and needed):
            todo.insert(0, run)
    return todo


def identify(run: Run, store: Store) -> dict[str, Any]:
    """The identity of a run as the command says it now."""
    return identity.identify(run.spec, run.seed, store, run.init_path, run.command)


def check_identity(run: Run, now: dict[str, Any]) -> dict[str, Any] | None:
    """`UserError` if what there is of the run is of another one than `now`.

    A finished run is whole: the code may have changed since. An unfinished one, or one whose
    weights have gone and are made again, would be a mixture. Returns the identity of the run that
    has a checkpoint to go on from.
    """
    kind = type(run.spec)
    result = identity.read_identity(run.result_path)
    if result is not None:
        identity.check_same(run.result_path, result, now, kind, code=state(run) != "done")
    check_files(run)
    checkpoint = run.folder / CHECKPOINT
    if not checkpoint.exists():
        return None
    recorded = identity.read_identity(run.folder / identity.FILE)
    identity.check_same(checkpoint, recorded, now, kind)
    return recorded


def check_files(run: Run) -> None:
    """`UserError` if the folder holds files called as a run's, and does not say of which run."""
    if (run.folder / identity.FILE).exists():
        return
    names = [path.name for path in map(run.folder.joinpath, OWN_FILES) if path.exists()]
    if names:
        raise UserError(
            f"{run.folder} holds {', '.join(names)}, and no {identity.FILE} that says which run"
            " that is: choose another folder, or move them away"
        )


def is_there(run: Run) -> bool:
    """Whether there is anything of the run, finished or not."""
    return run.result_path.exists() or (run.folder / identity.FILE).exists()


def discard(run: Run) -> None:
    """Delete what a run left behind, its result included; `UserError` if it is being trained."""
    with hold(run):
        remove(run)
        shutil.rmtree(run.folder / "slurm", ignore_errors=True)


def hold(run: Run) -> AbstractContextManager[None]:
    """Context in which no other process may change the run; `UserError` if one does already."""
    return held(run.folder / "lock", f"{run.folder} is being trained")


def remove(run: Run) -> None:
    """Delete the files of a run that the caller holds, and no other file."""
    run.result_path.unlink(missing_ok=True)  # first: what is left of a run is not finished
    run.predictions_path.unlink(missing_ok=True)
    for name in reversed(OWN_FILES):
        (run.folder / name).unlink(missing_ok=True)


def measured_cost(run: Run) -> dict[str, Any] | None:
    """What the committed result of the same row and scale cost: wall seconds and hardware."""
    for path in result_files(RESULTS, run.scale):
        if path.parent == result_path(RESULTS, run.scale, run.name, run.seed).parent:
            result = read_result(path)
            return {"wall_s": result.cost.wall_s, "hardware": result.hardware.name}
    return None
