"""Binary files written field by field, at the places that other readers give."""

import struct

import numpy as np
import pytest

from xxact.errors import UserError
from xxact.inference.readers import read_pattern

START, STEP = 10.0, 0.02
COUNTS = 100 + np.arange(200) ** 2 % 37


def packed(size, **fields):
    """Bytes with numbers in them: `f72=1.5` is a float at 72."""
    content = bytearray(size)
    for name, value in fields.items():
        struct.pack_into(f"<{name[0]}", content, int(name[1:]), value)
    return content


def siemens1(**changes):
    fields = {"I4": 200, "f12": STEP, "f24": START, "f72": 1.5406, "f76": 1.54439} | changes
    return b"RAW " + packed(156, **fields)[4:] + COUNTS.astype("<f4").tobytes()


def siemens2(**changes):
    fields = {"H4": 1, "f190": 1.5406, "f194": 1.54439, "f198": 0.5, "H256": 60, "H258": 200}
    fields |= {"f268": STEP, "f272": START} | changes
    return b"RAW2" + packed(316, **fields)[4:] + COUNTS.astype("<f4").tobytes()


def stoe(kind="<i4", **changes):
    """The range's header is in the third record of 512 bytes, the counts in the fourth."""
    fields = {"f322": 1.5406, "f326": 1.54439, "H378": 1, "H480": 3, "H1058": 200, "f1064": 1.0}
    fields |= {
        "f1068": START,
        "f1084": STEP,
        "i1144": COUNTS.min(),
        "i1148": COUNTS.max(),
    } | changes
    return b"RAW_1.06Powdat" + packed(1536, **fields)[14:] + COUNTS.astype(kind).tobytes()


def philips(version=3, n_steps=199, **changes):
    """Roots of counts times ten: those here are exact."""
    fields = {"d94": 1.5406, "d102": 1.54439, "d110": 0.5, "d214": STEP, "d222": START}
    fields |= {"d230": START + n_steps * STEP} | changes
    content = packed(250 if version == 3 else 810, **fields)
    return f"V{version}RD".encode() + content[4:] + (10 * COUNTS).astype("<u2").tobytes()


WHOLE = {
    "siemens1": siemens1(),
    "siemens2": siemens2(),
    "stoe": stoe(),
    "stoe short": stoe("<i2", H1062=1),
    "philips 3": philips(3),
    "philips 5": philips(5),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_was_written_is_read(name, tmp_path):
    (tmp_path / "x.raw").write_bytes(WHOLE[name])
    found = read_pattern(tmp_path / "x.raw")
    np.testing.assert_allclose(found.two_theta_deg, START + STEP * np.arange(200))
    counts = COUNTS**2 if name.startswith("philips") else COUNTS
    np.testing.assert_allclose(found.counts, counts)
    radiation = found.radiation
    assert (radiation.alpha1, radiation.alpha2) == pytest.approx((1.5406, 1.54439))
    assert radiation.learned_from == "file"
    assert radiation.certain == (name in ("siemens2", "philips 3", "philips 5"))


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("n_bytes", [20, 180, -1, -300])
def test_a_file_that_is_cut_short(name, n_bytes, tmp_path):
    (tmp_path / "x.raw").write_bytes(WHOLE[name][:n_bytes])
    with pytest.raises(UserError, match="cut short") as caught:
        read_pattern(tmp_path / "x.raw")
    assert "\n" not in str(caught.value)


def test_points_of_a_continuous_scan_are_in_the_middle_of_steps(tmp_path):
    (tmp_path / "x.rd").write_bytes(philips(n_steps=200, B126=1))
    found = read_pattern(tmp_path / "x.rd")
    np.testing.assert_allclose(found.two_theta_deg, START + STEP * (np.arange(200) + 0.5))


def test_counts_that_were_scaled(tmp_path):
    (tmp_path / "x.raw").write_bytes(stoe(f1064=4.0))
    np.testing.assert_allclose(read_pattern(tmp_path / "x.raw").counts, COUNTS / 4)


def test_zero_is_no_wavelength(tmp_path):
    (tmp_path / "x.raw").write_bytes(siemens1(f72=0, f76=0))
    assert read_pattern(tmp_path / "x.raw").radiation.learned_from == "assumed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (siemens1(I152=1), "several scans"),
        (siemens2(H4=3), "several scans"),
        (stoe(H378=2), "several scans"),
        (siemens1(f12=0), "no scan of 2-theta"),
        (stoe(f1084=0), "no scan of 2-theta"),
        (siemens2(f268=float("nan")), "no number"),
        (philips(d214=0), "no scan of 2-theta"),
        (philips(d214=1e-300), "cut short"),
        (stoe(i1148=999), "says from 100 to 999: the file is damaged"),
        (stoe(H480=0), "within its header"),
        (stoe(H1058=0), "says 0 points"),
    ],
)
def test_what_is_refused(content, message, tmp_path):
    (tmp_path / "x.raw").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_pattern(tmp_path / "x.raw")
