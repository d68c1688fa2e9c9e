"""Our CrabNet against its authors' on a benchmark of theirs: bulk moduli of AFLOW compounds.

Not part of the XxaCT-NN paper: it shows that the baseline called CrabNet is CrabNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from xxact.analysis import measures as m
from xxact.analysis.cells import READINGS, Cell, Section, Table, by_reading
from xxact.analysis.measures import Measure, Reading
from xxact.analysis.published import published
from xxact.experiments.result import Result

#: The scale at which it is run; nothing else is.
SCALE = "aflow"
_TARGET = "bulk_modulus"
# Row -> label, run (None: the authors' alone) and what the published number is of.
_ROWS: dict[str, tuple[str, str | None, str]] = {
    "crabnet": ("CrabNet", "crabnet_check/crabnet", "from mat2vec vectors"),
    "hotcrab": ("CrabNet from one-hot elements", None, ""),
    "roost": ("Roost", None, ""),
    "forest": ("random forest", "crabnet_check/forest", "on Magpie features"),
}


def table() -> Table:
    """Test MAE of each model beside the published one, and CrabNet's gap to it."""
    numbers = published().crabnet_check
    rows = [
        (row, label, run, _TARGET, numbers.rows[row], note)
        for row, (label, run, note) in _ROWS.items()
    ]
    title = "bulk modulus, MAE"
    errors = by_reading("mae", title, numbers.unit, rows, published_beside="selected")
    notes = (
        "Data, split and numbers: Wang et al., npj Comput. Mater. 7, 77 (2021), and the authors' "
        "repository. Pure elements are left out of every part, as there: 732 test compounds.",
        "The authors select on the validation part, so their numbers stand beside that reading. "
        "Ours learns its element vectors and minimises the squared error with AdamW; theirs starts "
        "from mat2vec (or one-hot) vectors and minimises a robust L1 loss with averaged weights.",
    )
    return Table("crabnet_check", "CrabNet against its authors' result", (errors, _gap()), notes)


def _gap() -> Section:
    """How much larger our error is than the published one, in %."""
    value = published().crabnet_check.rows["crabnet"]
    label, run, _ = _ROWS["crabnet"]
    cells = {
        ("crabnet", reading): Cell((run,), _excess(m.test_score(_TARGET, reading), value))
        for reading in READINGS
    }
    title = "error above the published one"
    return Section("gap", title, "%", "model", {"crabnet": label}, READINGS, cells)


def _excess(measure: Measure, published_value: Decimal) -> Measure:
    def excess(results: Sequence[Result]) -> Reading:
        found = measure(results)
        if found.value is None:
            return found
        return Reading(100 * (found.value / float(published_value) - 1), found.n, "%")

    return excess
