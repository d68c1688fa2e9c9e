"""Patterns as text of a fixed layout that `geddes` does not read or reads in part.

Most say where the scan starts and what its step is, and list counts alone: GSAS, Philips UDF,
Sietronics CPI, Materials Data MDI, Rigaku's `*TYPE`, Siemens' `.RAW` as text, the format of MAUD,
and those of a line of start, step and end (FullProf, DBWS, RIET7, XDD). Layouts: the manual of GSAS
(LAUR 86-748), comments in xylib and DASH, examples of MAUD. Each says how many counts it holds, and
so many have to be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from xxact.errors import UserError
from xxact.inference.columns import read_columns

#: Of a header: longer ones are none that a program writes.
_VALUE = r"(?:\d{1,9}(?:\.\d{0,15})?|\.\d{1,15})"
#: Of a header's form: a number, and lines of so many numbers that they are none of columns.
_PARTS = {
    "value": rf"[ \t]*{_VALUE}",
    "alone": rf"[ \t]*{_VALUE}[ \t]*\n",
    "many": rf"[ \t]*{_VALUE}(?:[ \t,]+{_VALUE}){{4,}}[ \t,]*\n",
}


def _header(form: str) -> re.Pattern:
    """A header up to its counts. In <> are parts, else names of the numbers that it says."""

    def expression(name: re.Match) -> str:
        return _PARTS.get(name[1]) or rf"[ \t]*(?P<{name[1]}>{_VALUE})"

    return re.compile(r"\A" + re.sub(r"<(\w+)>", expression, form), re.MULTILINE)


_HEADERS = {
    "UDF": _header(
        r"SampleIdent,(?=[\s\S]*?^DataAngleRange,<start>,<end>)(?=[\s\S]*?^ScanStepSize,<step>)"
        r"[\s\S]*?^RawScan\b"
    ),
    "CPI": _header(
        r"SIETRONICS XRD SCAN\s+<start>\s+<end>\s+<step>\s+\S+\s+<wavelength>[\s\S]*?^SCANDATA\b"
    ),
    "MDI": _header(r".*\n<start> +<step> +<value> +[A-Za-z]{2} +<wavelength> +<end> +<n>[ \t]*$"),
    "Rigaku": _header(
        r"\*TYPE\b(?=[\s\S]*?^\*START[ \t]*=<start>)(?=[\s\S]*?^\*STEP[ \t]*=<step>)"
        r"[\s\S]*?^\*COUNT[ \t]*=<n>.*"
    ),
    "Siemens": _header(
        r"\.RAW\n[\s\S]*?^<value>\n<alpha1>\n<alpha2>\n<value>\n<start>\n<step>\n<n> +\d+\n"
        r"<value>\n\s*<value>$"
    ),
    "MAUD": _header(r".*\n<n> +<step> +<start> +<wavelength> +1[ \t]*$(?=\n<alone>)"),
    "FullProf": _header(
        r"(?:\s*/\*[^*]*\*/\s*)?(?:.*\n){0,5}?(?!<many>)"
        r"<start>[ \t,]+<step>[ \t,]+<end>(?!\S).*$(?=\n(?:<alone>|<many>))"
    ),
}
#: The counts that follow, and what ends them: all but numbers.
_COUNTS = re.compile(r"[\d.,eE+\-\s]*")
_COUNT = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
#: MDI writes one behind the last count.
_LAST = -1
#: Angles are in hundredths of a degree.
_GSAS = re.compile(
    rf"^BANK +\d+ +(?P<n>\d{{1,9}}) +\d+ +CONS\w* +(?P<start>{_VALUE}) +(?P<step>{_VALUE})"
    r"(?: +[\d.]+){0,2} *(?P<kind>|STD|ESD|FXYE?) *$",
    re.MULTILINE,
)
_GSAS_LINE, _GSAS_FIELD = 80, 8
#: Columns whose third is a time.
_UXD = re.compile(r"^_2THETACOUNTSTIME\b([^_]*)", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Scan:
    """Angles in degrees 2-theta and counts, (n,) float64 each, in the order of the file.

    said: what the header says of the radiation, by the names that `headers` has for it.
    """

    angles: np.ndarray
    counts: np.ndarray
    said: dict[str, str] = field(default_factory=dict)


def stepped(start: float, step: float, counts: np.ndarray, said: dict[str, str]) -> Scan:
    """The scan of equal steps in degrees. `UserError` where they do not go up."""
    if not step > 0:
        raise UserError(f"its header says that the step is {step:g}: this is no scan of 2-theta")
    counts = np.asarray(counts, dtype=np.float64)
    return Scan(start + step * np.arange(len(counts)), counts, said)


def read_text(text: str) -> Scan | None:
    """The first scan of a text of these formats, None of others.

    `UserError` where there are not as many counts as its header says.
    """
    if bank := _GSAS.search(text):
        return _gsas(bank, text[bank.end() :])
    if columns := _UXD.search(text):
        return Scan(*read_columns(columns[1]))
    for name, header in _HEADERS.items():
        if found := header.match(text):
            return _listed(name, found, text)
    return None


def _listed(name: str, header: re.Match, text: str) -> Scan:
    """The counts that follow a header. Programs differ in whether it counts the last point."""
    said = {what: number for what, number in header.groupdict().items() if number}
    start, step, end = (float(said.pop(what, 0)) for what in ("start", "step", "end"))
    n_steps = (end - start) / step if step > 0 else 0
    n_points = int(float(said.pop("n", round(n_steps) + 1)))
    counts = np.array(_COUNT.findall(_COUNTS.match(text, header.end())[0]), dtype=np.float64)
    if list(counts[n_points:]) == [_LAST]:
        counts = counts[:-1]
    if abs(len(counts) - n_points) > 1:
        raise _of_another_length(name, n_points, len(counts))
    return stepped(start, step, counts, said)


def _gsas(bank: re.Match, data: str) -> Scan:
    """Records of fixed width: STD has ten of a number of detectors and a count in a line, ESD five
    of a count and its error. More than the header says is padding."""
    n_points = int(bank["n"])
    if bank["kind"].startswith("FXY"):
        angles, counts = read_columns(data)
        if len(counts) < n_points:
            raise _of_another_length("GSAS", n_points, len(counts))
        return Scan(angles / 100, counts)
    lines = (line.rstrip()[:_GSAS_LINE] for line in data.splitlines())
    fields = [line[k : k + _GSAS_FIELD] for line in lines for k in range(0, len(line), _GSAS_FIELD)]
    if bank["kind"] == "ESD":
        fields = fields[::2]
    elif any(one[:2].strip() not in ("", "1") for one in fields):
        raise UserError("its counts are means of several detectors, as those of neutrons are")
    else:
        fields = [one[2:] for one in fields]
    try:
        counts = np.array(fields[:n_points], dtype=np.float64)
    except ValueError as error:
        raise UserError(f"its records are not of 8 characters each ({error})") from None
    if len(counts) < n_points:
        raise _of_another_length("GSAS", n_points, len(counts))
    return stepped(float(bank["start"]) / 100, float(bank["step"]) / 100, counts, {})


def _of_another_length(name: str, expected: int, n_points: int) -> UserError:
    return UserError(
        f"read as {name}, its header says {expected} points, and {n_points} are there: it is cut"
        " short, damaged or of another form"
    )
