"""What the scaling benchmark reads off its runs, and that it measures a real preparation."""

import pytest
import scale
from release import compressed_block


def test_the_extrapolation_is_the_line_through_the_runs():
    runs = [
        {"entries": n, "cpu_s": 3 + 0.8e-3 * n, "store_bytes": 5000 + 650 * n}
        for n in (1_000, 10_000, 100_000)
    ]
    found = scale.extrapolate(runs, 1_000_000)
    assert found["cpu_ms_per_entry"] == pytest.approx(0.8)
    assert found["core_hours"] == pytest.approx(803 / 3600)
    assert found["store_bytes_per_entry"] == pytest.approx(650)
    assert found["store_bytes"] == pytest.approx(650e6)


def test_a_preparation_is_measured(tmp_path):
    file = tmp_path / "a.json.bz2"
    file.write_bytes(compressed_block(0, 20, 0, 20, 0))
    run = scale.measure([file], tmp_path / "store", 20, workers=2)
    assert (run["entries"], run["stored"]) == (20, 20)
    assert run["cpu_s"] > 0
    assert run["peak_memory_bytes"] > 20_000_000  # an interpreter with NumPy at the least
    assert run["store_bytes"] > 20 * 100
    assert run["release_bytes"] == file.stat().st_size


def test_a_preparation_that_fails_stops_the_benchmark(tmp_path):
    with pytest.raises(SystemExit, match="exit code 2"):
        scale.measure([tmp_path / "none.json.bz2"], tmp_path / "store", 1, workers=1)
