"""What formats say of radiation and scan."""

import io
import struct
import zipfile

import pytest

from xxact.errors import UserError
from xxact.inference.headers import read_header

XRDML = """<xrdMeasurements><usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">1.7889
</kAlpha1><kAlpha2 unit="Angstrom">1.7928</kAlpha2><ratioKAlpha2KAlpha1>0.5000
</ratioKAlpha2KAlpha1></usedWavelength><scan scanAxis="Gonio"></scan></xrdMeasurements>"""
RAS = """*RAS_DATA_START\n*HW_XG_WAVE_LENGTH_ALPHA1 "1.540593"\n*HW_XG_WAVE_LENGTH_ALPHA2 "1.544414"
*MEAS_COND_XG_WAVE_TYPE "Ka"\n*MEAS_SCAN_AXIS_X "2-Theta/Omega"\n*RAS_INT_START\n"""
UXD = "_FILEVERSION=2\n_WL1=0.709300\n_WL2=0.713590\n_WLRATIO=0.5\n_DRIVE='COUPLED'\n_COUNTS\n"
CIF_LOOP = """data_a\nloop_\n_diffrn_radiation_wavelength_id\n_diffrn_radiation_wavelength
_diffrn_radiation_wavelength_wt\n1 1.54051 1.0\n2 1.54433 0.5\nloop_\n_pd_proc_point_id\n1\n2\n"""
RASX = """<TargetName>Cu</TargetName><WaveType>Ka1</WaveType><WavelengthKalpha1>1.540593
</WavelengthKalpha1><WavelengthKalpha2>1.544414</WavelengthKalpha2>
<ScanInformation>\n<AxisName>TwoTheta</AxisName></ScanInformation>"""
BRML = """<ScanInformation ClassTypeName="x" ScanName="TwoThetaOmegaScan" VisibleName="y">
<WaveLengthAlpha1 Unit="Å" Value="1.5406" /><WaveLengthAlpha2 Unit="Å" Value="1.54439" />"""


def zipped(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), text)
    return content.getvalue()


def bruker_raw1(lines=(1.79026, 1.78897, 1.79285, 1.62079), ranges=1):
    content = bytearray(b"RAW1.01\0") + bytes(800)
    struct.pack_into("<i", content, 12, ranges)
    struct.pack_into("<4d", content, 616, *lines)
    return bytes(content)


def bruker_raw4(scans=1, points=200):
    scan = bytearray(160 + 24) + bytes(4 * points)
    struct.pack_into("<i", scan, 88, points)
    struct.pack_into("<2i", scan, 136, 4, 24)
    comment = struct.pack("<2i", 10, 40) + bytes(32)
    return b"RAW4.00".ljust(61, b"\0") + comment + scans * bytes(scan)


@pytest.mark.parametrize(
    ("content", "alpha1", "alpha2", "certain"),
    [
        (XRDML, 1.7889, 1.7928, True),
        (XRDML.replace("0.5000", "0.0000"), 1.7889, None, True),
        (RAS, 1.540593, 1.544414, False),
        (RAS.replace('"Ka"', '"Ka1"'), 1.540593, None, True),
        (UXD, 0.7093, 0.71359, True),
        (CIF_LOOP, 1.54051, 1.54433, True),
        ("data_a\n_diffrn_radiation_wavelength 0.41(1)\n_pd_proc_point_id\n", 0.41, None, True),
        ("# Calibrated wavelength = 0.413263\n1 2\n", 0.413263, None, True),
        ("# Wavelength: 1.5406 A\n1 2\n", 1.54056, 1.54439, False),
        ("# Anode: Co\n1 2\n", 1.78896, 1.79285, False),
        ("# Mo K-alpha, capillary\n1 2\n", 0.7093, 0.71359, False),
        ("K-Alpha1 wavelength,1.540598\nK-Alpha2 wavelength,1.544426\n", 1.540598, 1.544426, False),
        ("# Wavelength: Cu K-alpha1 (1.5406 A)\n1 2\n", 1.54056, 1.54439, False),
        ("# Wellenlänge = 0,7093\n1 2\n", 0.7093, 0.71359, False),
        ("# Wavelength used: Co K\u03b11\n1 2\n", 1.78896, 1.79285, False),
        ("# wavelength: 0.12 nm\n1 2\n", 1.2, None, True),
        ("# Wavelength: 2.0664e-11 m\n1 2\n", 0.20664, None, True),
        ("# Wavelength: 1e-10 m\n1 2\n", 1.0, None, True),
        ("# wavelength: 1 A\n1 2\n", 1.0, None, True),
        ("# \u03bb = 0.4959 \u00c5\n1 2\n", 0.4959, None, True),
        ("*WAVE_LENGTH1\t=  1.78897\n1 2\n", 1.78896, 1.79285, False),
        (";KAlpha1 = 1.540593\n;KAlpha2 = 1.544414\n1 2\n", 1.540593, 1.544414, False),
        ("K-Alpha1 wavelength;1,78901\nK-Alpha2 wavelength;1,79290\n", 1.78901, 1.7929, False),
        ("Ratio K-Alpha2/K-Alpha1,0.500\nAnode material,Co\n", 1.78896, 1.79285, False),
        ('[Data]\nWL1="1.78897"\nWL2="1.79285"\n1 2\n', 1.78897, 1.79285, False),
        ("[Anode] Co\n1 2\n", 1.78896, 1.79285, False),
        ("0.850750\n4.002 20.4 11.9\n", 0.85075, None, True),
        ("  1.54056\n 2.000     458.000\n", 1.54056, 1.54439, False),
        ("# Tube: Co\n1 2\n", 1.78896, 1.79285, False),
        ("# neutron-irradiated steel, Cu Ka\n1 2\n", 1.54056, 1.54439, False),
        (
            "data_crystal\n_diffrn_radiation_wavelength 0.71073\ndata_powder\n"
            "_diffrn_radiation_wavelength 0.41\nloop_\n_pd_meas_counts_total\n1\n2\n",
            0.41,
            None,
            True,
        ),
        (zipped(Data0__MesurementConditions0_xml=RASX), 1.540593, None, True),
        (zipped(Experiment0__RawData0_xml=BRML), 1.5406, 1.54439, False),
        (bruker_raw1(), 1.78897, 1.79285, True),
        (
            b"RAW4.00" + bytes(300) + struct.pack("<4d", 1.5406, 1.5406, 0.0, 1.39222),
            1.5406,
            None,
            True,
        ),
    ],
)
def test_radiation(content, alpha1, alpha2, certain):
    found = read_header(content if isinstance(content, bytes) else content.encode()).radiation
    assert (found.alpha1, found.alpha2) == pytest.approx((alpha1, alpha2))
    assert found.certain == certain
    assert found.learned_from == "file"


@pytest.mark.parametrize(
    "content",
    [
        b"1 2\n3 4\n",
        b"RAW4.00" + bytes(5000),
        b"# made up\n1 2\n",
        b"# Co-Kaolinite, lambda/2 filter\n1 2\n",
        b"0.0200\n1 2\n",
        b"# K-alpha1 40 kV\n1 2\n",
    ],
)
def test_nothing_is_said(content):
    assert read_header(content).radiation is None


@pytest.mark.parametrize(
    ("content", "scans"),
    [
        (XRDML, 1),
        (XRDML.replace("<scan ", '<scan scanAxis="Gonio"></scan><scan '), 2),
        (RAS + RAS, 2),
        (UXD + "_COUNTS\n", 2),
        ("1 2\n", 1),
        (zipped(Experiment0__RawData0_xml=BRML, Experiment0__RawData1_xml=BRML), 2),
        (bruker_raw1(ranges=3), 3),
        (bruker_raw4(), 1),
        (bruker_raw4(3), 3),
        (bruker_raw4(3)[:-10], 3),
        ("".join(f"data_{k}\nloop_\n_pd_meas_counts_total\n1\n2\n" for k in "ab"), 2),
    ],
)
def test_scans_are_counted(content, scans):
    content = content if isinstance(content, bytes) else content.encode()
    assert read_header(content).n_scans == scans


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("data_a\n_diffrn_radiation_probe neutron\n_pd_x 1\n", "'neutron'"),
        ("# neutron diffractometer D2B\n10 5\n", "'neutron'"),
        ("data_a\n_pd_meas_time_of_flight 1\n", "'time_of_flight'"),
        ("title\nBANK 1 200 20 SLOG 1000 2000 0.001 0 FXYE\n", "'SLOG'"),
        ("Energy (keV),counts\n10,5\n", "keV"),
        ("# Q (1/A)  I\n1.0 5\n", "Q"),
        ("d-spacing  I\n1.0 5\n", "d-spacing"),
        ("#   q_nm^-1      I\n1.0 5\n", "q_nm"),
        ("# 1: q (1/nm)\n# 2: I\n1.0 5\n", "q "),
        ("data_a\n_diffrn_source 'nuclear reactor'\n_pd_x 1\n", "'nuclear'"),
        (RAS + "10.0 5.0 1.0\n10.1 5.0 10.0\n", "attenuator changes"),
        (XRDML.replace("Gonio", "Omega"), "scan of 'Omega'"),
        (RAS.replace("2-Theta/Omega", "Phi"), "scan of 'Phi'"),
        (UXD.replace("COUPLED", "KHI"), "scan of 'KHI'"),
        ('\'Id: "" Anode: "Cu" Scantype: "Rocking curve"\n10 5\n', "'Rocking curve'"),
        ("Scan axis,Omega\n10,5\n", "scan of 'Omega'"),
    ],
)
def test_what_is_no_powder_pattern_is_refused(content, message):
    with pytest.raises(UserError, match=message):
        read_header(content.encode())


def test_a_wavelength_that_cannot_be_is_told():
    found = read_header(b"# wavelength = 15.4\n10 5\n")
    assert found.radiation is None
    assert "15.4 angstrom" in found.complaint


@pytest.mark.parametrize(
    "content",
    [
        XRDML.replace("K-Alpha 1", "K-Beta"),
        RAS.replace('"Ka"', '"Kb"'),
    ],
)
def test_k_beta_is_not_taken_for_k_alpha(content):
    found = read_header(content.encode())
    assert found.radiation is None
    assert "measured with K" in found.complaint


def test_angles_beside_other_quantities_and_photon_energies_are_no_reason_to_refuse():
    for heading in ("Angle,d-spacing,Counts", "# Photon energy (keV): 30.0"):
        assert read_header(f"{heading}\n10,5,3\n".encode()).radiation is None


def test_nanometres_of_a_file_are_read():
    found = read_header(b"# wavelength (nm) = 0.15406\n10 5\n").radiation
    assert (found.alpha1, found.alpha2) == (1.54056, 1.54439)


@pytest.mark.parametrize("size", [7, 300])
def test_a_raw_file_that_ends_in_its_header_is_refused(size):
    with pytest.raises(UserError, match="ends within its header"):
        read_header(bruker_raw1()[:size])


def broken(record, offset, replacement):
    """An archive with other bytes at an offset from the signature of one of its records."""
    content = bytearray(zipped(Data0__MesurementConditions0_xml=RASX))
    place = content.index(b"PK" + record) + offset
    content[place : place + len(replacement)] = replacement
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" + bytes(100),
        broken(b"\3\4", 100, b"other bytes"),
        broken(b"\1\2", 8, b"\1"),  # encrypted
        broken(b"\1\2", 10, b"\x63"),  # packed in an unknown way
        broken(b"\5\6", 12, b"\xff"),  # a directory longer than it is
        broken(b"\5\6", 16, b"\xff\xff"),  # and further away
    ],
)
def test_a_broken_archive_is_refused(content):
    with pytest.raises(UserError, match="archive is damaged"):
        read_header(content)


@pytest.mark.parametrize(
    "header",
    ['<kAlpha1 unit="Angstrom">\n 1.7890\n</kAlpha1>\n<x/>\n', "K-Alpha1 wavelength\n1.7890\n"],
)
def test_a_value_on_a_line_of_its_own_is_no_data(header):
    data = "".join(f"{10 + 0.02 * k:.2f} {100 + k % 7}\n" for k in range(500))
    assert read_header((header + data).encode()).radiation.alpha1 == pytest.approx(1.789, abs=1e-3)
