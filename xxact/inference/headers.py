"""What a file says of its measurement beside angles and counts: one table of expressions.

Each is looked for in the text of the file, whatever its format, or in the members of an archive
that describe it. Formats that keep numbers as bytes have functions of their own.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass

from xxact.errors import UserError
from xxact.inference.binaries import BEGINNINGS
from xxact.inference.radiation import (
    ANODES,
    LONGEST_ANGSTROM,
    SHORTEST_ANGSTROM,
    Radiation,
    anode_of,
    check_wavelength,
    of_number,
    tube,
)

_NUMBER = r"\s*['\"]?(\d*[.,]?\d+)"
#: What a wavelength is called where people write it, and how: with decimals or with its unit, so
#: that the 1 of `K-alpha 1` is none.
_WAVELENGTH = (
    r"(?<![a-z])(?:wave[ _-]?length|lambda|\u03bb|wellenl(?:ä|ae|a)nge|longueurs? d['\u2019]onde)"
)
_WRITTEN = r"(\d+,\d{2,}(?![.\d])|\d*\.\d+(?:e-?\d+)?|\d+e-\d+|\d+(?= *(?:å|a\b|ang)))"
_K_ALPHA = r"(?<!/)K[ _-]?Alpha[ _-]?{}(?: wavelength)?[\s,;:=]*(\d[.,]\d{{3,}})"
_ANODE = rf"({'|'.join(ANODES)})\b"
#: What stands before names of columns in a line without the name of an angle.
_NAMES = r"^(?!.*(?:theta|angle))(?:[#;!].*|[^\d\n<*]*)"

#: By what they say: the first that is found is taken. Names of formats are in the comments.
_EXPRESSIONS = {
    "alpha1": (
        rf"<kAlpha1[^>]*>{_NUMBER}",  # xrdml
        rf"HW_XG_WAVE_LENGTH_ALPHA1{_NUMBER}",  # ras
        rf"<WavelengthKalpha1>{_NUMBER}",  # rasx
        rf"<WaveLengthAlpha1\b[^>]*Value={_NUMBER}",  # brml
        rf"^_?WL1={_NUMBER}",  # uxd and txt of Bruker
        rf"^LabdaAlpha1,{_NUMBER}",  # udf of Philips
        _K_ALPHA.format(1),  # csv of PANalytical, txt of Rigaku
    ),
    "alpha2": (
        rf"<kAlpha2[^>]*>{_NUMBER}",
        rf"HW_XG_WAVE_LENGTH_ALPHA2{_NUMBER}",
        rf"<WavelengthKalpha2>{_NUMBER}",
        rf"<WaveLengthAlpha2\b[^>]*Value={_NUMBER}",
        rf"^_?WL2={_NUMBER}",
        rf"^LabdaAlpha2,{_NUMBER}",
        _K_ALPHA.format(2),
        rf"^_diffrn_radiation_wavelength \S+ {_NUMBER}",  # cif, two lines
    ),
    "ratio": (
        rf"<ratioKAlpha2KAlpha1[^>]*>{_NUMBER}",
        rf"<WaveLengthRatio\b[^>]*Value={_NUMBER}",
        rf"^_WLRATIO={_NUMBER}",
        rf"^RatioAlpha21,{_NUMBER}",
        rf"Ratio K-?Alpha-?2/K-?Alpha-?1[\s,;:=]*{_NUMBER}",
    ),
    "wavelength": (
        rf"^_diffrn_radiation_wavelength{_NUMBER}",
        rf"{_WAVELENGTH}[^\n]{{0,60}}?{_WRITTEN}",  # comment lines, as at 11-BM
        r"\A\s*([12]\.\d{3,6}|0\.[1-9]\d{3,5})\s*$",  # the first line of xye of DASH
    ),
    "nanometres": (rf"{_WAVELENGTH}[^\n]*?\b(nm|nanomet\w+)\b",),
    "beta": (
        r"<usedWavelength intended=\"(K-?Beta)",
        r"MEAS_COND_XG_WAVE_TYPE \"(K_?b(?:eta)?)",
        r"<WaveType>(K_?b(?:eta)?)<",
    ),
    "anode": (
        rf"<anodeMaterial>\s*{_ANODE}",
        rf"HW_XG_TARGET_NAME\s*\"{_ANODE}",
        rf"<TargetName>\s*{_ANODE}",
        rf"^_ANODE='?{_ANODE}",
        rf"\b(?:anode|tube|target|radiation|source|röhre|strahlung)(?: material)?"
        rf"[\s,;:='\"\]]+{_ANODE}",
        rf"\b({'|'.join(ANODES)})[ _-]?K[ _\\-]?(?:alpha|a|\u03b1)(?![a-z])",
    ),
    "monochromatic": (
        r"MEAS_COND_XG_WAVE_TYPE \"(K_?a(?:lpha)?_?1)\"",
        r"<WaveType>(Ka1)<",
        r"^_diffrn_radiation_type .*(K\\a~1~)",
    ),
    "axis": (
        r"<scan\b[^>]*scanAxis=\"([^\"]+)",
        r"MEAS_SCAN_AXIS_X \"([^\"]+)",
        r"<ScanInformation>\s*<AxisName>([^<]+)",
        r"<ScanInformation\b[^>]*ScanName=\"([^\"]+)",
        r"^_DRIVE='?([^'\n]+)",
        r"^\*SCAN_AXIS\s*=\s*(\S[^\n]*)",  # text of Rigaku
        r"Scantype: *\"([^\"]+)",  # xy of Bruker
        r"^Scan axis *[,;:] *([^\n,;]+)",  # csv of PANalytical
    ),
    "other": (  # what is no angle-dispersive X-ray powder pattern
        r"^_diffrn_radiation_(?:probe|type) .*(neutron|electron)",
        r"^_diffrn_(?:radiation_)?source .*(neutron|nuclear|spallation)",
        r"^[#;!].*\b(neutron)s?\b(?![ -]irradiat)",
        r"^BANK .*\b(SLOG|TIME_MAP|RALF|LOG6|LPSD)\b",
        r"^_pd_\w+_(time_of_flight|energy_\w+)\b",
        r"^[^\d\n].*\b(time[ -]of[ -]flight|EDXRD)\b",
        r"^[#;!].*\b((?:kinetic|binding) energy)\b",  # of photoelectrons
        r"^[^\d\n<*]*\b(energy[ _]*[\[(]? *keV\b)(?!.*\d)",  # a column, no value
        rf"{_NAMES}(\bq[ _]*[\[(/]? *(?:1/|inverse|(?:a|å|nm) *(?:\^|\*\*)?-?[1⁻]))",
        rf"{_NAMES}(inverse (?:nano|ang)\w*)",
        rf"{_NAMES}\b(d[ -]?spacing|radial distance|scattering vector|momentum transfer)",
    ),
}
_COMPILED = {
    what: [re.compile(one, re.IGNORECASE | re.MULTILINE) for one in several]
    for what, several in _EXPRESSIONS.items()
}
#: Each is there once a scan.
_SCANS = re.compile(
    r"<scan\b|^\*RAS_INT_START|^\*BEGIN\b|^BANK +\d|^_2?(?:THETA)?(?:COUNTS(?:TIME)?|CPS)\b", re.M
)
#: Many lines of numbers are data, which say nothing and would be searched many times. The first may
#: be a value whose name is on the line above.
_DATA = re.compile(r"^([\d.,;+\-eE \t\r]+\n)(?:[\d.,;+\-eE \t\r]+\n){20,}", re.MULTILINE)
#: Members of rasx and brml that describe a scan, and those that hold one.
_DESCRIPTION = re.compile(r"MesurementConditions\d+\.xml|RawData\d+\.xml|Profile\d+\.txt")
#: The third column of Rigaku's files.
_ATTENUATOR = re.compile(r"^[\d.]+[ \t]+[\d.eE+-]+[ \t]+([\d.]+)[ \t\r]*$", re.MULTILINE)
#: What broken, encrypted and oddly packed archives lead to.
_DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)
_PROFILE = re.compile(r"(?:Profile\d+\.txt|RawData\d+\.xml)$")
_POWDER_AXIS = re.compile(r"(2|two)[ _-]?theta|gonio|coupled|locked|detector", re.IGNORECASE)
_CIF_TAGS = (
    *(f"_diffrn_radiation_{what}" for what in ("wavelength", "type", "probe", "source")),
    "_diffrn_source",
    "_pd_meas_time_of_flight",
)
#: What a block with a measured pattern has; others hold structures, or patterns that were computed.
_CIF_MEASURED = ("_pd_meas_counts_total", "_pd_meas_intensity_total")
_CIF_PATTERN = (*_CIF_MEASURED, "_pd_proc_intensity_total", "_pd_proc_intensity_net")
#: Layout of Bruker's RAW: mean, K-alpha-1, K-alpha-2 and K-beta follow each other.
_RAW1_WAVELENGTHS, _RAW1_RANGES, _RAW1_HEADER, _RAW4_HEADER = 616, 12, 712, 4096
#: And of RAW4: segments from here on, of a kind and a length; those of these kinds are scans.
_RAW4_SEGMENTS, _RAW4_SCANS, _RAW4_SCAN_HEADER = 61, (0, 160), 160
_BETA_RATIO = (0.85, 0.93)  # K-beta over K-alpha-1, of every anode
#: Smaller numbers are wavelengths in metres.
_LARGEST_METRES = 1e-8
#: The lines of a doublet differ by less, as a fraction of the wavelength.
_DOUBLET = 0.01


@dataclass(frozen=True)
class Header:
    """What a file says: its radiation (None: nothing), how many scans it holds.

    complaint: why the radiation that it says cannot be, empty where it can.
    """

    radiation: Radiation | None
    n_scans: int = 1
    complaint: str = ""


def read_header(content: bytes, said: dict[str, str] | None = None) -> Header:
    """The header of a file. `UserError` if it says that this is no X-ray powder scan.

    said: what is known of its radiation already, by the names of the expressions.
    """
    if content.startswith(b"RAW1.01"):
        if len(content) < _RAW1_HEADER:
            raise UserError("the file ends within its header")
        (n_scans,) = struct.unpack_from("<i", content, _RAW1_RANGES)
        return Header(_bruker(content, [_RAW1_WAVELENGTHS]), n_scans)
    if content.startswith(b"RAW4"):
        last = min(_RAW4_HEADER, len(content)) - 32
        return Header(_bruker(content, range(last + 1)), _raw4_scans(content))
    text, n_scans = _text(content)
    described = without_data(text)
    found = {what: _first(several, described) for what, several in _COMPILED.items()}
    found |= said or {}
    if found["other"]:
        raise UserError(
            f"this is no angle-dispersive X-ray pattern ('{found['other']}'): the models know X-ray"
            " powder patterns over 2-theta alone"
        )
    is_rigaku = content.startswith(b"PK") or "*RAS_INT_START" in text
    if is_rigaku and len(set(map(float, _ATTENUATOR.findall(text)))) > 1:
        raise UserError(
            "the attenuator changes within the scan (third column), and the file does not say"
            " whether counts are corrected for it: export corrected ones as two columns of text"
        )
    if found["axis"] and not _POWDER_AXIS.search(found["axis"]):
        raise UserError(f"this is a scan of '{found['axis']}': a powder pattern is one of 2-theta")
    try:
        return Header(_radiation(found), n_scans)
    except UserError as error:
        return Header(None, n_scans, str(error))


def as_text(content: bytes) -> str:
    """Bytes of a text file as text, whatever its encoding and ends of lines."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", "replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def without_data(text: str) -> str:
    """The text without its many lines of numbers, among which nothing is looked for."""
    return _DATA.sub(r"\1", text)


def _text(content: bytes) -> tuple[str, int]:
    """The text that describes a measurement, and the number of scans."""
    if content.startswith(BEGINNINGS):
        return "", 1
    if content.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = archive.namelist()
                parts = [archive.read(m) for m in members if _DESCRIPTION.search(m)]
        except _DAMAGES as error:
            raise UserError(f"the archive is damaged: {error}") from None
        return "\n".join(map(as_text, parts)), sum(bool(_PROFILE.search(m)) for m in members)
    text = as_text(content)
    if "_pd_" in text and re.search(r"^data_\S", text, re.MULTILINE):
        return _cif_text(text)
    return text, max(1, len(_SCANS.findall(without_data(text))))


def _cif_text(text: str) -> tuple[str, int]:
    """The tags of a CIF that matter, a line each with all values, however laid out, those of blocks
    with a pattern first; and the number of measured patterns."""
    import gemmi

    try:
        blocks = list(gemmi.cif.read_string(text))
    except (ValueError, RuntimeError):
        return text, 1

    def has(block: gemmi.cif.Block, tags: tuple[str, ...]) -> bool:
        return any(map(block.find_values, tags))

    lines = []
    for block in sorted(blocks, key=lambda block: not has(block, _CIF_PATTERN)):
        for tag in _CIF_TAGS:
            values = [gemmi.cif.as_string(value) for value in block.find_values(tag)]
            lines += [" ".join([tag, *values])] if values else []
    return "\n".join(lines), max(1, sum(has(block, _CIF_MEASURED) for block in blocks))


def _first(expressions: list[re.Pattern], text: str) -> str | None:
    return next((found[1].strip() for one in expressions if (found := one.search(text))), None)


def _radiation(found: dict[str, str | None]) -> Radiation | None:
    """The radiation that the strings found in a header mean."""
    if found["beta"]:
        raise UserError(f"it was measured with {found['beta']}, whose wavelength is not read")
    alpha1, alpha2, wavelength, ratio = (
        float((found[key] or "0").replace(",", "."))
        for key in ("alpha1", "alpha2", "wavelength", "ratio")
    )
    first = alpha1 or wavelength
    if 0 < first < _LARGEST_METRES:
        first *= 1e10
    elif found["nanometres"] or anode_of(10 * first):
        first, alpha2 = 10 * first, 10 * alpha2
    if first and abs(alpha2 / first - 1) < _DOUBLET:
        certain = bool(found["ratio"]) or not alpha1
        check_wavelength(first)
        said = Radiation(first, alpha2, certain, "file")
    elif first:
        said = of_number(first, "file")
    elif found["anode"]:
        said = tube(found["anode"].title(), "file", certain=False)
    else:
        return None
    is_single = found["monochromatic"] or (found["ratio"] and not ratio)
    return said.alone() if is_single else said


def _raw4_scans(content: bytes) -> int:
    """How many scans a RAW4 file holds: the header of each tells how long its data are."""
    place, n_scans, length = _RAW4_SEGMENTS, 0, _RAW4_SCAN_HEADER
    while length > 0 and place + _RAW4_SCAN_HEADER <= len(content):
        kind, length = struct.unpack_from("<2i", content, place)
        if kind in _RAW4_SCANS:
            (n_points,) = struct.unpack_from("<i", content, place + 88)
            point_bytes, drive_bytes = struct.unpack_from("<2i", content, place + 136)
            length = _RAW4_SCAN_HEADER + drive_bytes + n_points * point_bytes
            n_scans += 1
        place += length
    return max(1, n_scans)


def _bruker(content: bytes, places: range | list[int]) -> Radiation | None:
    """The radiation of a RAW file: four doubles at one of `places`, known by their ratio."""
    for place in places:
        _, alpha1, alpha2, beta = struct.unpack_from("<4d", content, place)
        is_known = SHORTEST_ANGSTROM < alpha1 < LONGEST_ANGSTROM
        if is_known and _BETA_RATIO[0] < beta / alpha1 < _BETA_RATIO[1]:
            is_doublet = abs(alpha2 / alpha1 - 1) < _DOUBLET
            return Radiation(alpha1, alpha2 if is_doublet else None, learned_from="file")
    return None
