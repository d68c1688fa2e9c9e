"""YAML in, typed specs out: the rows of a table and the scales they are run at.

A row says what is trained (`experiments/<table>/<row>.yaml`), a scale how large and how long
(`experiments/scales/<scale>.yaml`); `resolve` makes a `RunSpec` of the two. Baselines that are no
networks have one size at every scale.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    Field,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from xxact.errors import UserError
from xxact.experiments.baselines import BASELINES, BaselineSpec
from xxact.models.spec import ModelSpec
from xxact.training.spec import (
    EngineSpec,
    Objective,
    OptimizerSpec,
    RegressionLoss,
    RunSpec,
    Spec,
)

#: In a row: the target that no run of Tables 1 and 2 is trained on; the scale names it.
UNSEEN = "unseen"

#: What a training takes over from its scale as it is.
_FROM_SCALE = {"batch_size", "optimizer", "regression_weight", "precision", "engine"}
#: What a row may set in its place, or in place of a training's own default.
_IN_PLACE_OF_SCALE = {
    "epochs",
    "evaluations",
    "batch_size",
    "regression_loss",
    "regression_weight",
    "optimizer",
    "mask_fraction",
    "mxm_scale",
    "mxm_activation",
}

AnySpec = TypeVar("AnySpec", bound=BaseModel)


class Row(Spec):
    """One training of a table, whatever the scale. `init` is another row, as `table2/none`.

    The keys without a value here are the scale's unless the row sets them, as one's own data may
    want it; of `optimizer` each of its keys alone. `epochs_factor` multiplies the scale's epochs.
    `change` replaces keys of the scale's model: of a part, as `xrd`, each of its keys alone.
    """

    reproduces: str
    model: str
    change: dict[str, Any] = Field(default_factory=dict)
    objective: Objective = "supervised"
    targets: tuple[str, ...] = ()
    together: bool = False
    init: str | None = Field(None, pattern=r"^\w+/\w+$")
    transfer: bool = False
    train_fraction: float = Field(1.0, gt=0, le=1)
    equal_steps: bool = False
    degraded: bool = False
    epochs_factor: PositiveFloat = 1.0
    epochs: PositiveFloat | None = None
    evaluations: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    regression_loss: RegressionLoss | None = None
    regression_weight: PositiveFloat | None = None
    optimizer: OptimizerSpec | None = None
    mask_fraction: float | None = None
    mxm_scale: str | None = None
    mxm_activation: str | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Row:
        if self.epochs is not None and "epochs_factor" in self.model_fields_set:
            raise ValueError("give either 'epochs' or 'epochs_factor'")
        return self


class Phase(Spec):
    """How long a run takes and how often it is evaluated: depends on what it does."""

    epochs: PositiveFloat
    evaluations: PositiveInt


class Scale(Spec):
    """How large and how long: data set, models, epochs, batch.

    Evaluations of a training are a multiple of 20, so that one falls on 5, 15 and 25 % of it. A
    scale without a phase has no row of that kind. `train_samples` is the size of the training
    part, for the plan of a machine that does not hold the data. `optimizer_of` says, model by
    model, what takes the place of keys of `optimizer`.
    """

    description: str
    data: Path  # folder of the store, relative to the repository
    prepare: str  # command that makes the store
    train_samples: PositiveInt | None = None
    unseen_target: str | None = None
    models: dict[str, ModelSpec]
    pretraining: Phase | None = None
    training: Phase
    transfer: Phase | None = None
    batch_size: PositiveInt
    optimizer: OptimizerSpec = OptimizerSpec()
    optimizer_of: dict[str, OptimizerSpec] = Field({})
    regression_weight: PositiveFloat = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    engine: EngineSpec = EngineSpec()

    @model_validator(mode="after")
    def _optimizer_of_known_models(self) -> Scale:
        for name in self.optimizer_of:
            if name not in self.models:
                close = _did_you_mean(name, self.models)
                raise ValueError(f"optimizer_of names the model '{name}', which is none{close}")
        return self


def resolve(row: Row, scale: Scale, where: str) -> RunSpec | BaselineSpec:
    """The run that `row` is at `scale`; `where` names the row's file in errors."""
    known = {**scale.models, **BASELINES}
    if row.model not in known:
        raise UserError(
            f"{where}: model: the scale has no model '{row.model}'; it has"
            f" {', '.join(known)}{_did_you_mean(row.model, known)}"
        )
    own = {
        key: value
        for key, value in row.model_dump(include=_IN_PLACE_OF_SCALE, exclude_unset=True).items()
        if value is not None
    }
    apart = {"model", "change", "targets", "epochs_factor", *_IN_PLACE_OF_SCALE}
    shared = row.model_dump(exclude=apart) | {
        "model": known[row.model],
        "targets": [scale.unseen_target if name == UNSEEN else name for name in row.targets],
    }
    if row.model in BASELINES:
        own |= {"change": row.change} if row.change else {}  # which a baseline does not know
        return _validated(BaselineSpec, shared | own, where)
    shared["model"] = _changed(known[row.model], row.change)
    supervised = "transfer" if row.transfer else "training"
    kind = supervised if row.objective == "supervised" else "pretraining"
    phase = getattr(scale, kind)
    if phase is None:
        raise UserError(
            f"{where}: this row is a {kind}, and the scale does not say how long one is"
        )
    length = {"epochs": phase.epochs * row.epochs_factor, "evaluations": phase.evaluations}
    settings = length | scale.model_dump(include=_FROM_SCALE)
    if row.model in scale.optimizer_of:
        settings["optimizer"] |= scale.optimizer_of[row.model].model_dump(exclude_unset=True)
    if "optimizer" in own:
        own["optimizer"] = settings["optimizer"] | own["optimizer"]
    return _validated(RunSpec, shared | settings | own, where)


def _changed(model: ModelSpec, change: Mapping[str, Any]) -> ModelSpec | dict[str, Any]:
    """`model` with some of its keys replaced, not validated yet; of a part each alone."""
    if not change:
        return model
    content = TypeAdapter(ModelSpec).dump_python(model, exclude_none=True)
    for key, value in change.items():
        content[key] = content.get(key, {}) | value if isinstance(value, Mapping) else value
    return content


def _validated(kind: type[AnySpec], content: dict[str, Any], where: str) -> AnySpec:
    """`content` as a `kind`; `UserError` names every mistake in it at once."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(_explain(error, where, kind)) from None


def read_spec(path: Path, kind: type[AnySpec]) -> AnySpec:
    """The YAML file at `path` as a `kind`. `UserError` names every mistake in it at once."""
    try:
        content = yaml.load(path.read_bytes(), _StrictLoader)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number that is none
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: nested too deeply") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys and values, as 'model: xxact_nn'")
    return _validated(kind, content, str(path))


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # which the base class refuses
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _explain(error: ValidationError, where: str, kind: type[BaseModel]) -> str:
    """One line for each mistake: file, dotted path, what is wrong, what may have been meant."""
    lines = []
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"]]
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = _keys_at(kind, location[:-1])
            message = f"unknown key{_did_you_mean(location[-1], known)}; the keys here are: " + (
                ", ".join(known)
            )
        lines.append(f"{where}: {'.'.join(location) + ': ' if location else ''}{message}")
    return "\n".join(lines)


def _keys_at(kind: Any, location: list[str]) -> list[str]:
    """Names of the fields of the spec that `location` leads to from `kind`."""
    for name in location:
        fields = _fields(kind)
        kind = fields.get(name, kind)
    return list(_fields(kind))


def _fields(kind: Any) -> dict[str, Any]:
    """Fields of a pydantic model or dataclass and their types; optional types are unwrapped."""
    fields = getattr(kind, "model_fields", None) or getattr(kind, "__pydantic_fields__", {})

    def unwrap(annotation: Any) -> Any:
        options = [a for a in getattr(annotation, "__args__", ()) if a is not type(None)]
        return options[-1] if options else annotation

    return {name: unwrap(field.annotation) for name, field in fields.items()}


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
