"""Texts of fixed layouts, written as their programs write them."""

import numpy as np
import pytest

from xxact.errors import UserError
from xxact.inference.readers import read_pattern

ANGLES = 10 + 0.05 * np.arange(203)
COUNTS = 1000 + np.arange(203) ** 2 % 97


def lines(width, form="{:8d}", between=""):
    """All counts, so many in a line."""
    rows = [COUNTS[k : k + width] for k in range(0, len(COUNTS), width)]
    return "\n".join(between.join(map(form.format, row)) for row in rows)


def pairs(form, angles):
    """An angle and a count in each line."""
    return "\n".join(map(form.format, angles, COUNTS))


def gsas(kind, records, start=1000.0, n=203):
    return (
        f"title 1 2 3\nBANK 1 {n} 21 CONST {start:.1f} 5.0 0 0 {kind}".ljust(95) + f"\n{records}\n"
    )


UDF = (
    "SampleIdent,Quartz ,/\nTitle1,a, b ,/\nAnode,Cu,/\nLabdaAlpha1, 1.54060,/\n"
    "LabdaAlpha2, 1.54439,/\nRatioAlpha21, 0.50000,/\nDataAngleRange,   10.0000,  20.1000,/\n"
    "ScanStepSize,    0.050,/\nScanType,CONTINUOUS,/\nScanStepTime,    5.00,/\nRawScan\n"
)
RIGAKU = (
    "*TYPE\t\t=  Raw\n*GROUP_COUNT\t=  1\n*SCAN_AXIS\t=  2theta/theta\n*XRAY_CHAR\t=  K-ALPHA1\n"
    "*WAVE_LENGTH1\t=  1.54056\n*WAVE_LENGTH2\t=  1.5444\n*BEGIN\n*GROUP\t\t=  0\n*START\t\t=  10\n"
    "*STOP\t\t=  20.1\n*STEP\t\t=  0.05\n*OFFSET\t\t=  0.000000\n*COUNT\t\t=  203\n"
)
SIEMENS = (
    ".RAW\n18-MAR-99\0\0\0\n15:34:16\nCR16NI4, example    \n 1\n 2\n 1\n   300\n 105.000\n"
    "  10.000\n     0\n    40\nCU\n     200\n 2\n 2\n  \n 0\n"
    "1.541871\n1.540598\n1.544418\n1.539062\n  10.000\n"
    "   0.050\n   203 1\n  8.00\n  \n  \n   1096.\n  \n  \n"
)
UXD = "_FILEVERSION=2\n_WL1=1.540600\n_WL2=1.544390\n_DRIVE='COUPLED'\n_STEPSIZE=0.05\n"
TRIPLES = "_2THETACOUNTSTIME\n" + pairs("{:10.4f} {:8d} 1.500", ANGLES)
DOUBLET, TUBE, NONE = (1.5406, 1.54439, "file"), (1.54056, 1.54439, "file"), "assumed"
WHOLE = {
    "udf": (UDF + lines(8, between=",") + "/\n", DOUBLET),
    "udf, open end": (UDF + lines(8, between=",").replace("\n", ",\n"), DOUBLET),
    "cpi": (
        "SIETRONICS XRD SCAN\n10.00\n20.10\n0.050\nCu\n1.54060\n1-1-1900\n0.600\nCaO:Nb2O5 .0\n"
        f"SCANDATA\n{lines(1)}\n",
        TUBE,
    ),
    "mdi": (
        "  09/11/91 DIF Demo08: 10-173\n 10.000 0.0500  4.0 CU  1.540598  20.100    203\n"
        f"{lines(8)}      -1\n.\n",
        TUBE,
    ),
    "rigaku": (RIGAKU + lines(4, between=", ") + "\n*END\n\n*EOF\n", TUBE),
    "siemens": (SIEMENS + lines(1, "{:7d}.") + "\n", (1.540598, 1.544418, "file")),
    "maud": (f"beta-brass\n203 0.05 10 1.5405981 1\n{lines(1)}\n", TUBE),
    "maud, steps": (f"beta-brass\n202 .05 10 1.5405981 1\n{lines(1)}\n", TUBE),
    "fullprof": (f"10.0 0.05 20.1\n{lines(10)}", NONE),
    "dbws": (f"   10.00    0.05   20.10 LaB6 at 300 K\n{lines(8)}\n", NONE),
    "riet7": (f"fluorite, 3 hours\nsecond title\n  10.00   0.05   20.10\n{lines(10)}\n", NONE),
    "xdd": (f"/* Y2O3\n 12 */\n10 0.05 20.1\n{lines(1)}\n", NONE),
    "gsas std": (gsas("STD", lines(10, " 1{:6d}")), NONE),
    "gsas std, blank": (gsas("", lines(10)), NONE),
    "gsas std, filled up": (gsas("STD", lines(10).ljust(2000) + "\n" + 10 * "       0"), NONE),
    "gsas esd": (gsas("ESD", lines(5, "{:8.1f}    31.6")), NONE),
    "gsas fxy": (gsas("FXY", pairs("{:12.3f}{:12.2f} ", 100 * ANGLES)), NONE),
    "uxd": (UXD + TRIPLES + "\n; end\n", DOUBLET),
}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", WHOLE)
def test_what_was_written_is_read(name, end, tmp_path):
    content, radiation = WHOLE[name]
    (tmp_path / "x.dat").write_bytes(content.replace("\n", end).encode())
    found = read_pattern(tmp_path / "x.dat")
    np.testing.assert_allclose(found.two_theta_deg, ANGLES)
    np.testing.assert_array_equal(found.counts, COUNTS)
    said = found.radiation
    if radiation == NONE:
        assert said.learned_from == NONE
    else:
        assert (said.alpha1, said.alpha2, said.learned_from) == pytest.approx(radiation)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "uxd"])
def test_a_file_that_is_cut_short(name, tmp_path):
    content = WHOLE[name][0]
    (tmp_path / "x.dat").write_text(content[: content.index("1000") + 500])
    with pytest.raises(UserError, match=r"says 20\d points, and \d+ are there") as caught:
        read_pattern(tmp_path / "x.dat")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RIGAKU + lines(4) + "\n*END\n" + RIGAKU + lines(4), "2 scans"),
        (RIGAKU.replace("2theta/theta", "omega") + lines(4), "scan of 'omega'"),
        (UXD + TRIPLES + "\n_DRIVE='COUPLED'\n" + TRIPLES, "2 scans"),
        (gsas("STD", lines(10, " 6{:6d}")), "several detectors"),
        (gsas("STD", lines(10, " x{:6d}").replace(" x", " 1").replace("1096", "10z6")), "10z6"),
        (UDF.replace("0.050", "0.000") + lines(8, between=","), "1 points, and 203"),
    ],
)
def test_what_is_refused(content, message, tmp_path):
    (tmp_path / "x.dat").write_text(content)
    with pytest.raises(UserError, match=message):
        read_pattern(tmp_path / "x.dat")


@pytest.mark.parametrize("more", ["", " 100.0 1.0", " 100.0 1.0 2.0"])
def test_columns_are_no_lists_of_counts(more, tmp_path):
    """Of columns too, the first line can look like a start, a step and an end."""
    rows = [f"{angle:.2f} {0.05 + angle % 3:.2f} 99.0{more}" for angle in ANGLES - 10]
    (tmp_path / "x.txt").write_text("title\n" + "\n".join(rows))
    np.testing.assert_allclose(read_pattern(tmp_path / "x.txt").two_theta_deg, ANGLES - 10)
