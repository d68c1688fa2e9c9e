"""Choose settings of each network of a scale on validation: python tools/choose_settings.py

Every network has the same budget: each learning rate with each dropout of `GRID` on either target
of Table 1, for half of the scale's epochs with seed 0, then the two best once more at full length.
The test split plays no part. A line a trial goes to `experiments/scales/trials/<scale>.csv`, and
those that are there are not repeated; what the scale's YAML says of a model is the choice printed
at the end.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from xxact.data.store import open_store
from xxact.experiments.suite import EXPERIMENTS, REPOSITORY, load_scale
from xxact.training.spec import RunSpec

GRID = {"peak_lr": (1e-3, 3e-3), "dropout": ("published", "0.0")}
#: Target -> key of its score.
TARGETS = {"formation_energy_per_atom": "mae_mev_per_atom", "crystal_system": "accuracy_percent"}


class Trial(NamedTuple):
    """One model with one choice of settings on one target."""

    model: str
    peak_lr: float
    dropout: str
    target: str
    epochs: float


def spec_of(trial: Trial, scale_name: str) -> RunSpec:
    """The training that a trial is."""
    scale = load_scale(scale_name)
    content: dict[str, Any] = scale.model_dump(mode="json")
    model = content["models"][trial.model]
    if trial.dropout != "published":
        rate = float(trial.dropout)
        for part in ("composition", "xrd", "fusion"):
            if model[part]:
                model[part]["dropout"] = rate
        if model["convolution"]:
            model["convolution"] |= {"dropout": rate, "top_dropout": rate}
    return RunSpec(
        model=model,
        targets=(trial.target,),
        epochs=trial.epochs,
        evaluations=1,
        batch_size=scale.batch_size,
        optimizer=content["optimizer"] | {"peak_lr": trial.peak_lr},
        precision=scale.precision,
        engine=content["engine"],
    )


def validation_score(trial: Trial, scale: str, data: Path) -> float:
    """Error (meV/atom) or accuracy (%) of a trial's last weights on the validation split."""
    import torch

    from xxact.training.loop import Training
    from xxact.training.progress import Progress

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(spec_of(trial, scale), open_store(data), Path(folder), seed=0)
        training.run(Progress(Path(folder), show=False))
    return training.state.curve[-1]["validation"][trial.target][TARGETS[trial.target]]


class Trials:
    """The trials of a scale that were made, in a CSV that grows by a line a trial."""

    def __init__(self, scale: str) -> None:
        self.path = EXPERIMENTS / "scales" / "trials" / f"{scale}.csv"
        self.scores: dict[Trial, float] = {}
        if self.path.exists():
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    score = float(row.pop("score"))
                    numbers = {key: float(row[key]) for key in ("peak_lr", "epochs")}
                    self.scores[Trial(**row | numbers)] = score

    def add(self, trial: Trial, score: float) -> None:
        """Write a trial down."""
        self.scores[trial] = score
        self.path.parent.mkdir(exist_ok=True)
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([[*Trial._fields, "score"]] if new else [])
            writer.writerow([*trial, f"{score:.2f}"])
        print(*trial, f"{score:.2f}", flush=True)

    def best(self, model: str, epochs: float) -> list[tuple[float, str]]:
        """Learning rates and dropouts, that with the smallest geometric mean of errors first."""

        def error(choice: tuple[float, str]) -> float:
            energy, system = (self.scores[Trial(model, *choice, name, epochs)] for name in TARGETS)
            return math.log(energy) + math.log(100 - system)

        tried = {t[1:3] for t in self.scores if t.model == model and t.epochs == epochs}
        return sorted(tried, key=error)


def make(trials: Trials, wanted: Sequence[Trial], scale: str, data: Path, jobs: int) -> None:
    """Make the `wanted` trials that were not made."""
    todo = [trial for trial in wanted if trial not in trials.scores]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        found = [pool.submit(validation_score, trial, scale, data) for trial in todo]
        for trial, future in zip(todo, found, strict=True):
            trials.add(trial, future.result())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scale", default="mini")
    parser.add_argument("--models", nargs="+", help="default: all of the scale")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (default: 2)")
    arguments = parser.parse_args()
    scale = load_scale(arguments.scale)
    models = arguments.models or list(scale.models)
    whole = scale.training.epochs
    common = arguments.scale, REPOSITORY / scale.data, arguments.jobs
    trials = Trials(arguments.scale)
    first = [Trial(*t, whole / 2) for t in product(models, *GRID.values(), TARGETS)]
    make(trials, first, *common)
    second = [
        Trial(model, *choice, target, whole)
        for model in models
        for choice in trials.best(model, whole / 2)[:2]
        for target in TARGETS
    ]
    make(trials, second, *common)
    for model in models:
        peak_lr, dropout = trials.best(model, whole)[0]
        print(f"{model}: peak_lr {peak_lr:g}, dropout {dropout}")


if __name__ == "__main__":
    main()
