"""A training, described whole: everything that its numbers follow from, seed and data aside."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from xxact.models.spec import KINDS, ModelSpec

Objective = Literal["contrastive", "mxm", "contrastive+mxm", "supervised"]
RegressionLoss = Literal["squared", "robust_l1"]


class Spec(BaseModel):
    """Base of all specs: immutable, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerSpec(Spec):
    """AdamW with linear warm-up and cosine decay; the defaults are the paper's (section 3.4)."""

    start_lr: PositiveFloat = 1e-6
    peak_lr: PositiveFloat = 5e-4
    final_lr: PositiveFloat = 1e-7
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)


class EngineSpec(Spec):
    """How a run is computed, not what: sums are taken in another order, dropout is drawn anew.

    `kind` "auto" is plain PyTorch in one process and DeepSpeed in several. `zero_stage` 1 shares
    the optimiser's state out over the processes, 2 the gradients as well, 0 nothing. `gpus` is
    the number of processes, each with a GPU of its own, that a cluster is asked for.
    `micro_batch` is the largest number of samples that go through the model at once in a
    process; None: all that are its share of a batch. `activation_checkpointing` keeps the inputs
    of each transformer block alone and computes the rest again for its gradients. `compile`
    compiles these blocks.
    """

    kind: Literal["auto", "torch", "deepspeed"] = "auto"
    zero_stage: Literal[0, 1, 2] = 1
    gpus: PositiveInt = 1
    micro_batch: PositiveInt | None = None
    activation_checkpointing: bool = False
    compile: bool = False


class RunSpec(Spec):
    """One training: model, objective, what it starts from, and for how long.

    `init` names the run whose weights it starts from. `transfer` freezes everything but the heads.
    `epochs` counts passes over the training split; an epoch of T targets is T draws per example,
    as each draw is trained on one of them, or with `together` one draw, trained on all.
    With `equal_steps` a run on a fraction of the training split takes the steps that it would take
    on the whole of it.
    `evaluations` are evenly spaced over the run; 5, 15 and 25 % fall on one when it is a multiple
    of 20. `precision` "auto" is bfloat16 autocast where the processor computes in it.
    `regression_loss` is of standardised values; "robust_l1" is that of CrabNet's authors, whose
    output net alone says how sure it is. `regression_weight` multiplies it: it shares a trunk with
    a cross-entropy that is many times as large as a squared error; the paper states no weight.
    `degraded` trains and scores on patterns as instruments measure them (`xxact.xrd.instrument`),
    each draw of a sample on another; models that read what was not measured also lose its ends.
    Masked modelling then rebuilds clean patterns, whole ones, from what is shown of degraded ones.
    `mxm_scale` and `mxm_activation` are of masked modelling: what is rebuilt, intensities or their
    square roots, and what its outputs pass through.
    """

    reproduces: str = ""
    model: ModelSpec
    objective: Objective = "supervised"
    targets: tuple[str, ...] = ()
    together: bool = False
    init: str | None = None
    transfer: bool = False
    train_fraction: float = Field(1.0, gt=0, le=1)
    equal_steps: bool = False
    epochs: PositiveFloat
    batch_size: PositiveInt
    optimizer: OptimizerSpec = OptimizerSpec()
    regression_loss: RegressionLoss = "squared"
    regression_weight: PositiveFloat = 1.0
    mask_fraction: float = Field(0.05, gt=0, lt=1)
    degraded: bool = False
    mxm_scale: Literal["raw", "sqrt"] = "raw"
    mxm_activation: Literal["relu", "none"] = "relu"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    evaluations: PositiveInt = 40
    engine: EngineSpec = EngineSpec()

    @property
    def supervised(self) -> bool:
        """Whether the run trains on targets rather than on its inputs alone."""
        return self.objective == "supervised"

    @model_validator(mode="after")
    def _targets_match_objective(self) -> RunSpec:
        if self.supervised and not self.targets:
            raise ValueError("a supervised run needs at least one target")
        if not self.supervised and self.targets:
            raise ValueError(f"a run with objective '{self.objective}' takes no targets")
        if self.together and len(self.targets) < 2:
            raise ValueError("'together' is of several targets")
        if not self.supervised and not self.model.bimodal:
            raise ValueError(
                f"objective '{self.objective}' needs a model that fuses composition and pattern by"
                f" attention, and {self.model.kind} does not"
            )
        if "mxm" in self.objective and self.model.fusion.by == "swapped":
            raise ValueError("masked modelling needs fused tokens in the pattern's places")
        if self.regression_loss == "robust_l1" and (self.model.kind != "crabnet" or self.transfer):
            raise ValueError("regression_loss 'robust_l1' needs the output net of crabnet")
        if self.transfer and not (self.supervised and self.init):
            raise ValueError("transfer needs a supervised objective and an 'init' to start from")
        if self.degraded and (self.transfer or "contrastive" in self.objective):
            raise ValueError(
                "degraded patterns need objective 'supervised', without transfer, or 'mxm'"
            )
        if self.degraded and KINDS[self.model.kind].parts == ("composition",):
            raise ValueError(f"'degraded' is of patterns, and {self.model.kind} reads none")
        return self
