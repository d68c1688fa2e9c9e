"""The training loop: every run of the suite, pretraining or supervised, goes through it.

A run is a function of (spec, seed, store, initial weights): the order of the data, masks and
dropout follow from (seed, step), so a resumed run gives the numbers of an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xxact.data.batches import DeviceStore
from xxact.data.store import Store
from xxact.data.subset import choose
from xxact.errors import UserError
from xxact.models import build_model
from xxact.models.base import Model
from xxact.training import checkpoint, identity, readings
from xxact.training.distributed import World, pick_device
from xxact.training.engine import make_engine
from xxact.training.micro_batches import MicroBatch, micro_batches_of
from xxact.training.progress import Progress
from xxact.training.sampler import Sampler
from xxact.training.schedule import learning_rate
from xxact.training.signals import StopFlag, Stopped
from xxact.training.spec import RunSpec
from xxact.training.task import make_task, targets_of
from xxact.training.weights import WEIGHTS, read_weights, save_weights

#: Seconds between checkpoints, beside the one at the end; so many times as long as saving takes,
#: where that is more than a second.
CHECKPOINT_EVERY_S = 30.0
#: Parts that the learning curve is measured on.
EVALUATED_SPLITS = ("validation", "test")


@dataclass
class State:
    """Where a run is: everything in a checkpoint besides weights and optimiser."""

    step: int = 0
    restarts: int = 0
    wall_s: float = 0.0
    training_s: float = 0.0  # of wall_s, without evaluations and checkpoints
    loss_sum: float = 0.0  # since the last evaluation
    loss_steps: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    #: Predictions (n,) for the test split by reading (`xxact.training.readings`) and target.
    kept: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def training_rows(store: Store, fraction: float, seed: int) -> np.ndarray:
    """Rows of the training split, or of the subset of it that a fraction and a seed select.

    Each seed draws its own subsets, so that the spread over seeds holds what a subset is worth;
    those of one seed are nested.
    """
    rows = store.indices("train")
    return rows if fraction == 1 else rows[choose(store.ids[rows], fraction, seed)]


def make_model(spec: RunSpec, store: Store) -> Model:
    """A freshly initialised model of `spec` with a head for each of its targets.

    Raises `UserError` when the store lacks a target or an input of the model.
    """
    model = build_model(spec.model, targets_of(spec, store), linear_heads=spec.transfer)
    check_inputs(model, store)
    return model


def check_inputs(model: Model, store: Store) -> None:
    """`UserError` if `store` has no patterns and the model reads them."""
    if "xrd" in model.uses and not store.has_xrd:
        raise UserError(
            f"{store.path} holds compositions only, and the model reads patterns: prepare it from a"
            " file with a column 'cif', or train crabnet"
        )


def load_weights(model: Model, folder: Path) -> None:
    """Take over all weights of the finished run in `folder` but its heads."""
    weights, _ = read_weights(folder)
    own = model.state_dict()
    wanted = [key for key in own if not key.startswith("heads.")]
    for key in wanted:
        if key not in weights or weights[key].shape != own[key].shape:
            raise UserError(
                f"{folder} does not fit this model: {key} is absent or of another shape; start from"
                " a run of the same model and scale"
            )
    model.load_state_dict({key: weights[key] for key in wanted}, strict=False)


def evaluation_steps(total: int, evaluations: int) -> set[int]:
    """Numbers of finished steps after which to evaluate: evenly spaced, the last is `total`."""
    return {max(1, round(total * k / evaluations)) for k in range(1, evaluations + 1)}


class Training:
    """One run: `run()` brings it to its end from wherever `folder/checkpoint.pt` left it.

    `init` is the weights file of the run to start from. `known` is the run's identity where the
    caller has it already. Raises `UserError` when the weights do not fit, or when the checkpoint
    is of another run.
    The processes of `world` do the same calls, and each gets the same numbers; the first alone
    writes files.
    """

    def __init__(
        self,
        spec: RunSpec,
        store: Store,
        folder: Path,
        seed: int,
        init: Path | None = None,
        world: World | None = None,
        known: dict[str, Any] | None = None,
    ) -> None:
        self._began = time.monotonic()
        self.spec, self.store, self.folder, self.seed = spec, store, folder, seed
        self.world = world or World()
        device = pick_device()
        self.train_rows = training_rows(store, spec.train_fraction, seed)
        torch.manual_seed(seed)
        self.model = make_model(spec, store)
        self.model.freeze_for(spec.objective, spec.transfer)
        data = DeviceStore(store, device, xrd="xrd" in self.model.uses)
        self.task = make_task(spec, store, data, self.train_rows)
        self.sampler = Sampler(self.task.rows_by_task, spec.batch_size, seed)
        self.total = max(1, round(spec.epochs * self._steps_per_epoch()))
        self.micro_batches = self._own_micro_batches()
        self.state = State()
        saved = checkpoint.load(self.checkpoint_path) if self.checkpoint_path.exists() else None
        if init is not None and saved is None:
            load_weights(self.model, init.parent)
        self.engine = make_engine(self.model, spec, self.world)
        self._check_same_start(saved["state"]["step"] if saved else None)
        self.identity = known or identity.identify(spec, seed, store, init)
        if saved is not None:
            self.world.on_first(lambda: self._check_identity(saved))
            self.identity = saved["identity"]
            self.engine.load(saved["engine"])
            self.state = State(**saved["state"])
            self.state.restarts += 1
        self._earlier_wall_s = self.state.wall_s

    def _own_micro_batches(self) -> list[MicroBatch]:
        """This process's micro-batches of a batch. `UserError` if some process would get none."""
        world, batch_size = self.world, self.sampler.batch_size
        largest = self.spec.engine.micro_batch
        own = micro_batches_of(batch_size, world.rank, world.size, largest)
        if batch_size < world.size * len(own):
            raise UserError(
                f"a batch of {batch_size} cannot be cut into {len(own)} micro-batches for each of"
                f" {world.size} processes: take fewer processes, or a larger engine.micro_batch"
            )
        return own

    def _check_same_start(self, step: int | None) -> None:
        """`UserError` if the processes found checkpoints of different steps, or some found none."""
        step = -1 if step is None else step
        most, least = self.world.largest(step, -step)
        if most != -least:
            raise UserError(
                f"the processes of this run see different checkpoints in {self.folder}: it has to"
                " be on a file system that all nodes share"
            )

    def _check_identity(self, saved: dict[str, Any]) -> None:
        """`UserError` if the checkpoint is of another run."""
        if "identity" not in saved:
            raise UserError(f"{self.checkpoint_path} does not say which run it is of: delete it")
        same = saved["identity"], self.identity
        identity.check_same(self.checkpoint_path, *same, type(self.spec))

    def _steps_per_epoch(self) -> int:
        """Of the rows that are trained on, or with `equal_steps` of the whole training split."""
        if not self.spec.equal_steps:
            return self.sampler.steps_per_epoch
        whole = make_task(self.spec, self.store, self.task.data, self.store.indices("train"))
        return Sampler(whole.rows_by_task, self.spec.batch_size, self.seed).steps_per_epoch

    @property
    def checkpoint_path(self) -> Path:
        """What an interrupted run goes on from; removed once its result is written."""
        return self.folder / "checkpoint.pt"

    @property
    def model_path(self) -> Path:
        """The weights of the finished run, for runs that start from it and for predictions."""
        return self.folder / WEIGHTS

    def run(self, progress: Progress) -> None:
        """Train to the last step and write the weights.

        Raises `Stopped` after saving when a signal asked any of the processes for it, and
        `UserError` when the loss is not finite or a checkpoint cannot be written.
        """
        evaluate_after = evaluation_steps(self.total, self.spec.evaluations)
        if self.spec.transfer:
            self.task.fix_features(self.engine)
        writes = self.world.is_first
        if writes:
            progress.start(self.state.step, self.total, self.state.curve)
        last_save, pause_s = time.monotonic(), CHECKPOINT_EVERY_S
        losses: list[Tensor] = []  # not yet looked at: looking waits for the device
        with StopFlag() as stop:
            while self.state.step < self.total:
                began = time.monotonic()
                losses.append(self._step(self.state.step))
                self.state.step += 1
                evaluate = self.state.step in evaluate_after
                due = writes and time.monotonic() - last_save > pause_s
                # One decision for all processes: those that went on would wait for ever.
                stopping, due = map(bool, self.world.largest(stop.requested, due))
                save = stopping or due
                if evaluate or save or self.engine.device.type == "cpu":
                    self._account_for(losses)
                    losses = []
                self.state.training_s += time.monotonic() - began
                if evaluate:
                    self._evaluate()
                if writes:
                    progress.update(self.state.step, self.state.curve, evaluate)
                if save:
                    began = time.monotonic()
                    self.save()
                    last_save = time.monotonic()
                    pause_s = CHECKPOINT_EVERY_S * max(1.0, last_save - began)
                if stopping and self.state.step < self.total:
                    raise Stopped(self.state.step, self.total)
            self.save()
        description = {
            "spec": self.spec.model_dump(mode="json"),
            "identity": self.identity,
            "targets": [vars(target) for target in self.task.targets],
            "standard": self.task.standard,
        }
        weights = self.engine.weights()
        self.world.on_first(lambda: save_weights(self.folder, weights, description))

    def save(self) -> None:
        """Write `checkpoint.pt`."""
        self.take_time()
        content = {"identity": self.identity, "engine": self.engine.state()}
        content |= {"state": vars(self.state)}
        self.world.on_first(lambda: checkpoint.save(self.checkpoint_path, content))

    def take_time(self) -> None:
        """Bring `state.wall_s` up to now."""
        self.state.wall_s = self._earlier_wall_s + time.monotonic() - self._began

    def forget_checkpoint(self) -> None:
        """Delete what only an unfinished run needs; to be called when its result is written."""
        self.world.on_first(lambda: self.checkpoint_path.unlink(missing_ok=True))

    def _step(self, step: int) -> Tensor:
        """One optimiser step; this process's share of its loss, detached, still on the device."""
        if not self.model.training:  # as an evaluation leaves it
            self.model.train()
        random = self.seed * 1_000_003 + step
        generator = torch.Generator(device=self.engine.device).manual_seed(random)  # masks
        slots = self.sampler.batch(step)
        rate = learning_rate(step, self.total, self.spec.optimizer)
        losses = self.task.losses(self.engine, slots, self.micro_batches, generator, random)
        return self.engine.step(rate, losses)

    def _account_for(self, losses: list[Tensor]) -> None:
        """Add the losses of the last steps to the running mean; stop the run at a bad one."""
        first = self.state.step - len(losses)
        whole = self.world.sum(torch.stack(losses))
        for step, loss in enumerate(whole.tolist(), start=first):
            if not math.isfinite(loss):
                rows = self.sampler.batch(step).rows
                ids = ", ".join(identifier.decode() for identifier in self.store.ids[rows[:8]])
                raise UserError(
                    f"the loss is {loss} at step {step} of {self.folder}; the batch of {len(rows)}"
                    f" began with {ids}. {self._last_checkpoint()}; lower optimizer.peak_lr, or"
                    " look at these rows"
                )
            self.state.loss_sum += loss
            self.state.loss_steps += 1

    def _last_checkpoint(self) -> str:
        if not self.checkpoint_path.exists():
            return "There is no checkpoint yet"
        step = checkpoint.load(self.checkpoint_path)["state"]["step"]
        return f"The last good checkpoint is {self.checkpoint_path}, step {step}"

    def _evaluate(self) -> None:
        """Add an entry to the learning curve."""
        state = self.state
        splits = {split: self.store.indices(split) for split in EVALUATED_SPLITS}
        found = {
            split: self.task.evaluate(self.engine, rows)
            for split, rows in splits.items()
            if len(rows)
        }
        entry = {
            "step": state.step,
            "progress": state.step / self.total,
            "epoch": state.step / self.sampler.steps_per_epoch,
            "train_loss": state.loss_sum / state.loss_steps,
        }
        state.curve.append(entry | {split: scores for split, (scores, _) in found.items()})
        _, predictions = found.get("test", ({}, {}))
        if predictions:
            latest = readings.kept_of_last(state.curve, self.task.targets, predictions)
            for reading, values in latest.items():
                own = {name: torch.from_numpy(array) for name, array in values.items()}
                state.kept.setdefault(reading, {}).update(own)
        state.loss_sum, state.loss_steps = 0.0, 0
