"""Choose the lengths of kriging on the validation split: python tools/choose_kriging.py --help

Every combination of a few values is tried on a finished run (`open/energy` of `mini`, seed 0) and
scored on the validation split; the constants in `xxact/experiments/kriging.py` are the best ones.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import sys
from pathlib import Path

from xxact import command
from xxact.files import write_atomically

#: By the constants' names: what is tried.
TRIED = {
    "COARSE_SIGMA_DEG": (0.8, 1.6, 3.2, 6.4),
    "EMBEDDING_SCALE": (0.4, 0.8, 1.6),
    "PATTERN_SCALE": (0.18, 0.36, 0.72),
    "FRACTION_SCALE": (0.4, 0.6, 1.0),
    "NOISE": (0.01, 0.03, 0.1),
}
COLUMNS = (*map(str.lower, TRIED), "score")


def main() -> int:
    """Try all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="of one target, a number")
    parser.add_argument("--data", type=Path, required=True, metavar="STORE")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.csv")
    options = parser.parse_args()
    rows = trials(options.run, options.data)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    write_atomically(options.out, text.getvalue().encode())
    print(f"{len(rows)} trials: {options.out}")
    return 0


def trials(run: Path, data: Path) -> list[tuple[object, ...]]:
    """A row for each combination: lengths, and the mean absolute error on validation."""
    import numpy as np

    from xxact.data.store import open_store
    from xxact.experiments import kriging
    from xxact.training.trained import FinishedRun

    store, (target,) = open_store(data), FinishedRun(run).targets
    read = kriging.Reader(run / "model.safetensors", store, target)
    values = store.values(target.name)
    train, asked = (store.indices(split) for split in ("train", "validation"))
    train, asked = (rows[target.known(values[rows])] for rows in (train, asked))
    found, read_at = [], None
    for tried in itertools.product(*TRIED.values()):
        for name, value in zip(TRIED, tried, strict=True):
            setattr(kriging, name, value)
        if tried[0] != read_at:  # the pattern's Gaussian alone changes what is read
            known, unknown, read_at = read(train), read(asked), tried[0]
        fitted = kriging.Kriging().fit(known, values[train])
        score = np.abs(fitted.predict(unknown) - values[asked]).mean()
        found.append((*tried, f"{score:.4f}"))
    return found


if __name__ == "__main__":
    sys.exit(command.run(main))
