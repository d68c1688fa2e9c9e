"""The JSON file that a finished run leaves behind: its types, reading and writing.

`<root>/<scale>/<table>/<row>/seed<k>.json` is one run, with its predictions in `seed<k>.npz`
(`xxact.experiments.predictions`); `<root>/<scale>/data.json` describes the data set of a scale.
Analysis reads nothing else. Numbers carry their unit in their key
(`mae_mev_per_atom`, `accuracy_percent`), and every score its number of samples `n`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
)

from xxact.errors import UserError
from xxact.files import write_atomically

SCHEMA = 2

Model = TypeVar("Model", bound=BaseModel)

_SEED_FILE = re.compile(r"seed(\d+)\.json")


def _has_n(score: dict[str, float | None]) -> dict[str, float | None]:
    if score.get("n") is None:
        raise ValueError("a score needs its number of samples 'n'")
    return score


#: One score: the metric with its unit in the key, and n. None where n = 0 left nothing to measure.
Score = Annotated[dict[str, FiniteFloat | None], AfterValidator(_has_n)]
#: Scores by target name; of a pretraining, the one target is `objective`.
Scores = dict[str, Score]
Silhouettes = dict[str, FiniteFloat | None]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Open(BaseModel):
    """Records that may grow by keys that no table reads."""

    model_config = ConfigDict(frozen=True, extra="allow")


class SpecRecord(_Open):
    """The resolved spec of a run; whatever it holds besides these fields is kept as it is."""

    model: dict[str, Any]
    objective: str
    targets: list[str]
    init: str | None = None
    transfer: bool = False
    train_fraction: float = Field(1.0, gt=0, le=1)
    equal_steps: bool = False
    epochs: NonNegativeFloat | None = None
    batch_size: NonNegativeInt | None = None
    reproduces: str | None = None


class DataRecord(_Open):
    """Which data set a run saw (`Store.content_sha256`), and how many samples of each split."""

    name: str
    content_sha256: str
    n: dict[str, NonNegativeInt]


class Provenance(_Open):
    """Where a run came from: the code as of its start, versions, and the command to repeat it."""

    git_commit: str | None
    dirty: bool | None
    code_sha256: str | None = None
    versions: dict[str, str]
    command: str


class Hardware(_Open):
    """What a run ran on."""

    device: str
    name: str
    cores: NonNegativeInt | None = None
    precision: str | None = None
    processes: NonNegativeInt | None = None


class Cost(_Open):
    """What a run cost; `wall_s` is summed over restarts."""

    wall_s: NonNegativeFloat
    restarts: NonNegativeInt = 0
    peak_memory_bytes: NonNegativeInt | None = None
    samples_per_s: NonNegativeFloat | None = None
    parameters: NonNegativeInt | None = None
    steps: NonNegativeInt
    samples: NonNegativeInt | None = None


class FinalMetrics(_Open):
    """Scores of the last weights; `test_new_*`: on test samples unlike any training sample."""

    validation: Scores | None = None
    test: Scores | None = None
    test_new_formula: Scores | None = None
    test_new_chemical_system: Scores | None = None


class SelectedMetrics(_Open):
    """Scores at the evaluation that was best on the validation split."""

    step: NonNegativeInt
    criterion: str | None = None
    validation: Scores | None = None
    test: Scores | None = None


class Metrics(_Frozen):
    """Three readings of a run; the paper's is `best_on_test`: best over the curve, per target."""

    final: FinalMetrics
    selected: SelectedMetrics | None = None
    best_on_test: Scores | None = None


class CurvePoint(_Open):
    """One evaluation during training; `progress` is the share of the run's steps done, 0 to 1."""

    step: NonNegativeInt
    progress: float = Field(ge=0, le=1)
    epoch: NonNegativeFloat | None = None
    train_loss: FiniteFloat | None = None
    validation: Scores | None = None
    test: Scores | None = None


class ClassScores(_Open):
    """Per-class scores of the last weights on the test split; rows of confusion are the truth."""

    crystal_system: dict[str, Score] | None = None
    confusion: list[list[NonNegativeInt]] | None = None


class Embedding(_Open):
    """A fixed, seeded sample of the test split, projected to 2-D, with silhouettes by class."""

    n: NonNegativeInt
    part: str
    ids: list[str]
    crystal_system: list[str]
    pca: list[tuple[FiniteFloat, FiniteFloat]]
    explained_variance_ratio: list[FiniteFloat]
    silhouette: dict[Literal["embedding", "projection"], Silhouettes]
    silhouette_of_sample: dict[Literal["embedding", "projection"], list[FiniteFloat]] = {}


class PredictionsRecord(_Frozen):
    """The file of predictions beside a result, of `n` test samples."""

    file: str
    sha256: str
    n: NonNegativeInt


class Result(_Frozen):
    """Everything one finished run reports."""

    schema_: Literal[2] = Field(alias="schema")
    run: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    scale: str
    seed: NonNegativeInt
    spec: SpecRecord
    data: DataRecord
    init_sha256: str | None = None
    provenance: Provenance
    hardware: Hardware
    cost: Cost
    metrics: Metrics
    curve: list[CurvePoint] = []
    per_class: ClassScores | None = None
    per_element: dict[str, dict[str, Score]] | None = None
    embedding: Embedding | None = None
    predictions: PredictionsRecord | None = None


class DataSummary(_Open):
    """`data.json` of a scale: how many samples, by split, crystal system, space group and element.

    `formula_floors`: target -> split -> score of the median of each formula (`xxact.data.floors`).
    """

    name: str
    content_sha256: str
    n: dict[str, NonNegativeInt]
    crystal_systems: dict[str, dict[str, NonNegativeInt]] = {}
    space_groups: dict[str, dict[str, NonNegativeInt]] = {}
    elements: dict[str, dict[str, NonNegativeInt]] = {}
    formula_floors: dict[str, Scores] = {}


def result_path(root: str | Path, scale: str, run: str, seed: int) -> Path:
    """Where the result of `run` (`table/row`) with `seed` lives under `root`."""
    return Path(root) / scale / run / f"seed{seed}.json"


def data_path(root: str | Path, scale: str) -> Path:
    """Where the description of the data set of `scale` lives under `root`."""
    return Path(root) / scale / "data.json"


def read_result(path: str | Path) -> Result:
    """The result in `path`; `UserError` with path and field where it is damaged."""
    result = _read(path, Result)
    expected = result_path("", result.scale, result.run, result.seed)
    if not Path(path).resolve().parts[-4:] == expected.parts:
        raise UserError(
            f"{path}: the fields 'scale', 'run' and 'seed' belong to {expected}; "
            "move the file there, or correct the fields"
        )
    return result


def read_data_summary(path: str | Path) -> DataSummary:
    """The data summary in `path`; `UserError` with path and field where it is damaged."""
    return _read(path, DataSummary)


def write_result(path: str | Path, result: Mapping[str, Any]) -> None:
    """Check `result` against the schema and write it in one step."""
    _validated(Result, result, path)
    write_json(path, result)


def write_data_summary(path: str | Path, summary: Mapping[str, Any]) -> None:
    """Check `summary` against the schema and write it in one step."""
    _validated(DataSummary, summary, path)
    write_json(path, summary)


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON, in one step."""
    write_atomically(path, (_pretty(content) + "\n").encode("utf-8"))


def scales(root: str | Path) -> list[str]:
    """Names of the scales that have at least one result under `root`, in alphabetical order."""
    root = Path(root)
    return sorted({path.relative_to(root).parts[0] for path in root.glob("*/*/*/seed*.json")})


def result_files(root: str | Path, scale: str) -> list[Path]:
    """The result files of one scale, by table, row and seed number."""
    found = [p for p in (Path(root) / scale).glob("*/*/seed*.json") if _SEED_FILE.fullmatch(p.name)]
    return sorted(found, key=lambda p: (p.parts[-3:-1], int(p.stem.removeprefix("seed"))))


def _read(path: str | Path, model: type[Model]) -> Model:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(path, error) from error


def _validated(model: type[Model], content: Any, path: str | Path) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _damaged(path, error) from error


def _damaged(path: str | Path, error: ValidationError) -> UserError:
    """One message for all fields that are wrong."""
    problems = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]).replace("schema_", "schema")
        message = problem["msg"].removeprefix("Value error, ")
        problems.append(f"field '{field}': {message}" if field else message)
    shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if problems[5:] else "")
    return UserError(f"{path}: damaged result: {shown}. Restore it, or delete it and run again")


def _pretty(value: Any, indent: str = "") -> str:
    """JSON with one line per entry, but scores and lists of numbers on a single line."""
    if isinstance(value, Mapping) and any(isinstance(v, Mapping | list) for v in value.values()):
        inner = [f"{json.dumps(str(k))}: {_pretty(v, indent + ' ')}" for k, v in value.items()]
        opening, closing = "{}"
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        inner = [_pretty(v, indent + " ") for v in value]
        opening, closing = "[]"
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    lines = ",\n".join(f"{indent} {line}" for line in inner)
    return f"{opening}\n{lines}\n{indent}{closing}"
