"""`xxact predict`: from files of patterns to answers; `xxact calibrate`: from runs to a bundle."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xxact.errors import MISTAKES, UserError, explained
from xxact.files import write_atomically
from xxact.terminal import StatusLine

if TYPE_CHECKING:
    from xxact.inference.answer import Answer
    from xxact.inference.predictor import Predictor, Sample

#: Patterns that go through a model together.
BATCH_SIZE = 32


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the commands."""
    predict = commands.add_parser(
        "predict",
        help="crystal system, space group and more of measured patterns",
        description="Files of X-ray powder patterns over 2-theta, or folders of them.",
    )
    predict.add_argument("files", type=Path, nargs="+", metavar="FILE")
    predict.add_argument("--formula", metavar="F", help="of all files, as LiFePO4")
    predict.add_argument(
        "--wavelength",
        metavar="W",
        help="CuKa, CoKa1, MoKa, ... or in angstrom; counts more than the file's own",
    )
    predict.add_argument(
        "--standard",
        choices=("Si", "LaB6"),
        help="mixed into the samples: tells their displacement",
    )
    predict.add_argument("--model", type=Path, metavar="RUN", help="a bundle, or a finished run")
    output = predict.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the answers as JSON")
    output.add_argument("--csv", type=Path, metavar="OUT.csv", help="write a table")
    predict.add_argument("--html", type=Path, metavar="OUT.html", help="write a page with pictures")
    predict.set_defaults(func=_predict)

    calibrate = commands.add_parser(
        "calibrate",
        help="make a bundle for `xxact predict` of finished runs",
        description="A bundle holds one run that reads the pattern alone, one that also needs the"
        " formula, or both, and a card: temperatures, intervals and thresholds from the validation"
        " split of a store.",
    )
    calibrate.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    calibrate.add_argument("--data", type=Path, required=True, metavar="DIR", help="the store")
    calibrate.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle")
    calibrate.add_argument(
        "--risk",
        type=_fraction,
        default=0.1,
        metavar="R",
        help="fraction of the answers given that may be wrong (default: 0.1)",
    )
    calibrate.add_argument(
        "--known-share",
        type=_fraction,
        default=0.0,
        metavar="S",
        help="share of what temperatures are fitted on that is from the training, for samples that"
        " may well be crystals it has (default: 0)",
    )
    calibrate.add_argument(
        "--notes",
        type=Path,
        metavar="NOTES.yaml",
        help="for the card: data, left_out, licence and limits, in words",
    )
    calibrate.set_defaults(func=_calibrate)


def _predict(options: argparse.Namespace) -> int:
    from xxact.inference.readers import find_patterns

    paths = find_patterns(options.files)
    for out in filter(None, (options.csv, options.html)):
        if out.resolve() in {path.resolve() for path in paths}:
            raise UserError(f"{out} is one of the patterns: name another file to write")
    from xxact.inference.predictor import Predictor, composition_of
    from xxact.inference.radiation import of_word

    if options.formula is not None:  # what is wrong with all files is told once
        composition_of(options.formula)
    if options.wavelength is not None:
        of_word(options.wavelength)
    predictor = Predictor(options.model)
    answers, failures = [], 0
    for found in _answers(predictor, paths, options):
        if isinstance(found, str):
            failures += 1
            print(f"error: {found}", file=sys.stderr)
        else:
            answers.append(found)
    if not answers and not options.json:  # every file has its line, and nothing is written
        return 2
    if options.json:
        print(json.dumps([answer.as_dict() for answer in answers], indent=1))
    elif options.csv:
        write_atomically(options.csv, _table(answers).encode())
        print(f"{len(answers)} answers: {options.csv}", file=sys.stderr)
    else:
        print("\n\n".join(map(str, answers)) if len(paths) == 1 else _lines(answers))
    if options.html:
        from xxact.inference.page import write_page

        write_page(options.html, answers)
        print(f"page: {options.html}", file=sys.stderr)
    return 2 if failures else 0


def _answers(
    predictor: Predictor, paths: list[Path], options: argparse.Namespace
) -> Iterator[Answer | str]:
    """The answer to each file, or the line that says why there is none, as they come."""
    status = StatusLine(redraw_s=0.2, print_s=10.0)
    waiting = []

    def sample(path: Path) -> Sample:
        return predictor.sample(path, options.formula, options.wavelength, options.standard)

    for k, path in enumerate(paths, start=1):
        try:
            waiting.append(sample(path))
        except MISTAKES as error:
            yield explained(error)
        if len(waiting) == BATCH_SIZE or k == len(paths):
            yield from predictor.predict_all(waiting, windows=bool(options.html))
            waiting = []
        if len(paths) > 1 and (status.is_due or k == len(paths)):
            status.show(f"{k} of {len(paths)} patterns", last=k == len(paths))


def _lines(answers: list[Answer]) -> str:
    """A table for a terminal: a line a file."""
    rows = []
    for answer in answers:
        cells = [Path(answer.measured.name).name]
        for target in ("crystal_system", "space_group"):
            found = answer.classes.get(target)
            if found is None:
                cells.append("-")
            else:
                unsure = "" if found.known else "?"
                cells.append(f"{found.best}{unsure} {found.probabilities[found.best]:.0%}")
        cells.append("; ".join(["I do not know: " + doubt for doubt in answer.doubts]))
        rows.append(cells)
    rows.insert(0, ["file", "crystal system", "space group", ""])
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    )


def _table(answers: list[Answer]) -> str:
    rows = [answer.as_row() for answer in answers]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _calibrate(options: argparse.Namespace) -> int:
    from xxact.data.store import open_store
    from xxact.experiments.spec import read_spec
    from xxact.inference.calibrate import calibrate
    from xxact.inference.card import Notes

    notes = read_spec(options.notes, Notes) if options.notes else None
    store = open_store(options.data)
    card = calibrate(
        options.runs, store, options.out, options.risk, notes, known_share=options.known_share
    )
    for run in card.runs:
        for name, found in run.classes.items():
            print(
                f"{run.folder} {name}: accuracy {found.accuracy:.1%}, ECE {found.ece:.3f} (before:"
                f" {found.ece_before:.3f}), temperatures {_listed(found.temperatures)}; at and"
                f" above {found.threshold:.1%} {found.coverage:.0%} are answered,"
                f" {found.risk:.1%} of them wrong (n {found.n})"
            )
        for name, value in run.values.items():
            print(
                f"{run.folder} {name}: {value.level:.0%} within {value.half_width:.3g} {value.unit}"
                f" (n {value.n})"
            )
    print(f"bundle: {options.out}")
    return 0


def _listed(temperatures: Mapping[str, float]) -> str:
    return ", ".join(f"{t:.2f} ({folder})" for folder, t in temperatures.items())


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"it has to be between 0 and 1, and is {text}")
    return value
