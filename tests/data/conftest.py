"""Small hand-made crystals, as CIFs in pymatgen's layout and as CSV files."""

import csv
import hashlib
import http.server
import io
import re
import threading
from pathlib import Path

import pytest


def _cubic_cif(a: float, atoms: list[tuple[str, float, float, float]], occupancy: str = "1") -> str:
    """A P1 CIF as pymatgen writes it: cubic cell of edge `a` (angstrom), fractional positions."""
    rows = "".join(
        f"  {symbol}  {symbol}{k}  1  {x:.8f}  {y:.8f}  {z:.8f}  {occupancy}\n"
        for k, (symbol, x, y, z) in enumerate(atoms)
    )
    formula = " ".join(f"{symbol}1" for symbol, *_ in atoms)
    return (
        "# generated using pymatgen\n"
        f"data_{formula.replace(' ', '')}\n"
        "_symmetry_space_group_name_H-M   'P 1'\n"
        + "".join(f"_cell_length_{axis}   {a:.8f}\n" for axis in "abc")
        + "".join(f"_cell_angle_{angle}   90.00000000\n" for angle in ("alpha", "beta", "gamma"))
        + "_symmetry_Int_Tables_number   1\n"
        f"_chemical_formula_structural   {formula.replace(' ', '')}\n"
        f"_chemical_formula_sum   '{formula}'\n"
        f"_cell_volume   {a**3:.8f}\n"
        "_cell_formula_units_Z   1\n"
        "loop_\n _symmetry_equiv_pos_site_id\n _symmetry_equiv_pos_as_xyz\n  1  'x, y, z'\n"
        "loop_\n _atom_site_type_symbol\n _atom_site_label\n _atom_site_symmetry_multiplicity\n"
        " _atom_site_fract_x\n _atom_site_fract_y\n _atom_site_fract_z\n _atom_site_occupancy\n"
        + rows
    )


def _caesium_chloride(k: int) -> str:
    """CsCl structures (space group 221) of many lattice parameters and elements."""
    cations, anions = ("Cs", "Rb", "K", "Na", "Tl"), ("Cl", "Br", "I")
    pair = cations[k % 5], anions[k % 3]
    return _cubic_cif(4.0 + 0.01 * k, [(pair[0], 0, 0, 0), (pair[1], 0.5, 0.5, 0.5)])


def _csv_text(rows: list[dict]) -> str:
    """Rows as CSV; the first row's keys are the header."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _crystal_rows(n: int, first: int = 0) -> list[dict]:
    """`n` usable rows in the layout of CDVAE's files."""
    return [
        {
            "material_id": f"t-{k}",
            "formation_energy_per_atom": f"{-1.0 - 0.001 * k}",
            "band_gap": f"{0.01 * k}",
            "spacegroup.number": "221",
            "cif": _caesium_chloride(k),
        }
        for k in range(first, first + n)
    ]


@pytest.fixture
def cubic_cif():
    """Function (edge in angstrom, [(symbol, x, y, z), ...]) -> CIF."""
    return _cubic_cif


@pytest.fixture
def csv_text():
    """Function [{column: value}, ...] -> CSV."""
    return _csv_text


@pytest.fixture
def crystal_rows():
    """Function (n, first) -> n usable rows in the layout of CDVAE's files."""
    return _crystal_rows


@pytest.fixture
def crystals_csv(tmp_path: Path) -> Path:
    """A CSV file of 60 usable crystals."""
    path = tmp_path / "crystals.csv"
    path.write_text(_csv_text(_crystal_rows(60)))
    return path


class _Files(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; `server.faults[path]` is what goes wrong with the next requests.

    A fault is "truncate" or "stall" (after half of the bytes), "corrupt", "busy" (503), "ignore"
    (the range that was asked for). Every request is noted in `server.requests`.
    """

    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        server, path = self.server, self.path.lstrip("/")
        content = server.files.get(path)
        if content is None:
            self.send_error(404)
            return
        faults = server.faults.get(path, [])
        fault = faults.pop(0) if body and faults else ""
        wanted = self.headers.get("Range")
        server.requests.append((self.command, path, wanted))
        if fault == "busy":
            self.send_error(503)
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if wanted and fault != "ignore" and self.headers.get("If-Range") == tag:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if fault == "corrupt":
            content = bytes(byte ^ 1 for byte in content)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", tag)
        self.end_headers()
        if body:
            half = start + (len(content) - start) // 2
            self.wfile.write(content[start : half if fault in ("truncate", "stall") else None])
            if fault == "stall":
                self.wfile.flush()
                server.stop_stalling.wait(10)

    def log_message(self, *_):
        pass


@pytest.fixture
def file_server():
    """A local HTTP server with `.url`, `.files`, `.faults` and `.requests`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_port}/"
    server.files, server.faults, server.requests = {}, {}, []
    server.stop_stalling = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.stop_stalling.set()
    server.shutdown()
    server.server_close()
