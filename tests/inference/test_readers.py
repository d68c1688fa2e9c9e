"""Real files of every format, against what is known of them; and files that are none."""

import bz2
import gzip
import struct

import numpy as np
import pytest

from xxact.errors import UserError
from xxact.inference.radiation import of_word
from xxact.inference.readers import find_patterns, read_pattern

#: Points, first and last angle, highest intensity and its angle, wavelengths, where from.
KNOWN = {
    "powdR_D5000_1.xy": (3651, 2, 75, 6532, 30.98, (1.54056, 1.54439), "assumed"),
    "powdR_D5000_1.RAW": (3651, 2, 75, 6532, 30.98, (1.78897, 1.79285), "file"),
    "bruker_raw4_eva.raw": (7134, 10, 85.0413, 11330.5869, 76.846, (1.5406, None), "file"),
    "bruker_2theta_omega.brml": (2001, 44, 48, 495559.8, 45.82, (1.5406, 1.54439), "file"),
    "BT86_.UXD": (2374, 3, 40, 5774, 9.065, (1.5406, 1.54439), "file"),
    "nomad_XRD-918-16_10.xrdml": (
        5027,
        4.00657,
        69.99937,
        100168,
        26.617,
        (1.540598, 1.544426),
        "file",
    ),
    "aeris_counts.xrdml": (8301, 9.90343, 100.09489, 4389, 24.421, (1.540598, 1.544426), "file"),
    "nomad_TwoTheta_scan_powder.rasx": (2726, 10, 119, 1698.50854, 32.68, (1.540593, None), "file"),
    "xu_LaB6_d500_si_psd.xye": (
        17376,
        4.57208,
        None,
        14379.37,
        30.396,
        (1.54056, 1.54439),
        "assumed",
    ),
    "xrdpattern_single.csv": (
        None,
        30.00313,
        110.06562,
        211765,
        43.527,
        (1.54056, 1.54439),
        "assumed",
    ),
    "csv_no_header_coarse.csv": (584, 10, 79.96, 605, 26.56, (1.54056, 1.54439), "assumed"),
    "gsas_std_fluorapatite.XRA": (5751, 15, 130.0, 19693, 31.86, (1.54056, 1.54439), "assumed"),
    "gsas_fxye_synchrotron.fxye": (12799, 0.5, 26.096, 8454.35653, 9.298, (0.413263, None), "file"),
    "pdcif_laboratory.cif": (6501, 10, 140, 6221, 30.7, (1.54056, 1.54439), "file"),
}
REFUSED = {
    "bruker_raw1_three_ranges.raw": "3 scans",
    "xu_inas_layer_radial.ras": "2 scans",
    "fit2d_small.chi": "number of points is 10",
    "1517474.cif": "neutron",
}


@pytest.mark.parametrize("name", KNOWN)
def test_files_as_they_are_known(name, test_data):
    points, first, last, highest, at, wavelengths, source = KNOWN[name]
    found = read_pattern(test_data / "patterns" / name)
    assert points in (None, len(found.counts))
    assert found.two_theta_deg[0] == pytest.approx(first, abs=1e-3)
    assert last is None or found.two_theta_deg[-1] == pytest.approx(last, abs=1e-3)
    assert found.counts.max() == pytest.approx(highest, rel=1e-6)
    assert found.two_theta_deg[found.counts.argmax()] == pytest.approx(at, abs=2e-3)
    radiation = found.radiation
    assert (radiation.alpha1, radiation.alpha2) == pytest.approx(wavelengths)
    assert radiation.learned_from == source


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(name, test_data):
    with pytest.raises(UserError, match=REFUSED[name]) as caught:
        read_pattern(test_data / "patterns" / name)
    assert str(caught.value).startswith(str(test_data / "patterns" / name))
    assert "\n" not in str(caught.value)


def test_the_same_scan_in_two_formats(test_data):
    one, other = (
        read_pattern(test_data / "patterns" / f"powdR_D5000_1.{suffix}") for suffix in ("xy", "RAW")
    )
    np.testing.assert_allclose(one.two_theta_deg, other.two_theta_deg, atol=1e-6)
    np.testing.assert_array_equal(one.counts, other.counts)


def test_the_users_wavelength_counts(write_xy):
    path = write_xy(heading="# wavelength = 0.7093\n")
    assert read_pattern(path).radiation.alpha1 == 0.7093
    found = read_pattern(path, of_word("CoKa"))
    assert (found.radiation.alpha1, found.radiation.learned_from) == (1.78896, "user")
    assert "the file says" in found.remarks[0]


def test_the_users_wavelength_counts_where_the_files_cannot_be(write_xy):
    path = write_xy(heading="# wavelength = 15.4\n")
    with pytest.raises(UserError, match=r"15.4 angstrom.*--wavelength"):
        read_pattern(path)
    assert read_pattern(path, of_word("Cu")).radiation.alpha1 == 1.54056


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (bytes(range(256)) * 8, "no format"),
        (b"<xrdMeasurements></xrdMeasurements>", "cannot be read"),
        (b"<xrdMeasurements>\n<xrdMeasurement><a></\nb></xrdMeasurement>", r"read \(.*\): export"),
        (b"10 5\n", "number of points is 1"),
        (b"a letter to nobody", "no two columns"),
    ],
)
def test_what_is_no_pattern(content, message, tmp_path):
    (tmp_path / "x.xy").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_pattern(tmp_path / "x.xy")


def bruker_raw1(scan, angles, counts):
    """A RAW1.01 of one range, whose scan has a code: 0 coupled, 3 rocking, 130 linear detector."""
    content = bytearray(712 + 304)
    struct.pack_into("<8s2i", content, 0, b"RAW1.01", 1, 1)
    struct.pack_into("<4d", content, 616, 1.79026, 1.78897, 1.79285, 1.62079)
    step = angles[1] - angles[0]
    struct.pack_into("<2i2d", content, 712, 304, len(angles), angles[0] / 2, angles[0])
    struct.pack_into("<d", content, 712 + 176, step)
    struct.pack_into("<i", content, 712 + 196, scan)
    struct.pack_into("<i", content, 712 + 252, 4)
    return bytes(content) + counts.astype("<f4").tobytes()


@pytest.mark.parametrize("scan", [0, 130])
def test_bruker_raw_of_either_detector(scan, tmp_path):
    angles, counts = 10 + 0.02 * np.arange(200), 100 + np.arange(200) % 7
    (tmp_path / "x.raw").write_bytes(bruker_raw1(scan, angles, counts))
    found = read_pattern(tmp_path / "x.raw")
    np.testing.assert_allclose(found.two_theta_deg, angles)
    np.testing.assert_array_equal(found.counts, counts)
    (tmp_path / "x.raw").write_bytes(bruker_raw1(3, angles, counts))
    with pytest.raises(UserError, match="cannot be read"):
        read_pattern(tmp_path / "x.raw")


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_packed_files(suffix, pack, write_xy, tmp_path):
    plain = write_xy(heading="# wavelength = 0.7093\n")
    packed = tmp_path / f"packed.xy.{suffix}"
    packed.write_bytes(pack(plain.read_bytes()))
    one, other = read_pattern(plain), read_pattern(packed)
    np.testing.assert_array_equal(one.counts, other.counts)
    assert one.radiation == other.radiation
    assert find_patterns([tmp_path]) == [packed, plain]
    packed.write_bytes(packed.read_bytes()[:500])
    with pytest.raises(UserError, match="the archive is damaged"):
        read_pattern(packed)


def test_chi_of_pyfai_has_columns_and_no_count_of_points(write_xy):
    path = write_xy("sample.chi", heading="# Wavelength: 7.0930e-11 m\n#   2th_deg   I\n")
    found = read_pattern(path)
    assert (found.two_theta_deg[0], found.radiation.alpha1) == (10, 0.7093)


def test_folders_are_searched_for_what_could_be_patterns(write_xy, tmp_path):
    inside = [write_xy("b.xy"), write_xy("a.TXT")]
    (tmp_path / "notes.md").write_text("none")
    write_xy("._a.xy")  # what some systems put beside a file
    (tmp_path / "folder.xy").mkdir()
    assert find_patterns([tmp_path, inside[0]]) == [*sorted(inside), inside[0]]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no file that could be a pattern"):
        find_patterns([tmp_path / "empty"])
