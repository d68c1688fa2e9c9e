"""The section on the data pipeline: numbers of the files, and what is not there."""

import json
import re

import pytest
from xxact.analysis.pipeline import section

HARDWARE = {"device": "cpu", "name": "A & B", "cores": 2, "processes": 1, "load_average": 0.5}


@pytest.fixture
def benchmarks(tmp_path):
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    data = {
        "n": 1234,
        "input": "synthetic release",
        "mean_sites": 7.25,
        "store_bytes_per_entry": 678.4,
        "stages": {"parse": {"xxact_ms": 0.0625, "reference_ms": 0.75, "ratio": 12.0}},
        "largest_pattern_difference": 3e-5,
        "space_groups_that_differ": 2,
        "hardware": HARDWARE,
    }
    runs = [
        {
            "entries": n,
            "wall_s": n / 800,
            "cpu_s": 2 + n / 1000,
            "peak_memory_bytes": 300_000_000,
            "store_bytes": 700 * n,
        }
        for n in (1000, 10_000)
    ]
    extrapolation = {
        "entries": 5_046_272,
        "cpu_ms_per_entry": 1.0,
        "core_hours": 1.402,
        "store_bytes_per_entry": 700.0,
        "store_bytes": 700.0 * 5_046_272,
    }
    scale = {"workers": 2, "runs": runs, "extrapolation": extrapolation, "hardware": HARDWARE}
    (folder / "data.json").write_text(json.dumps(data))
    (folder / "scale.json").write_text(json.dumps(scale))
    return folder


def test_the_section_shows_the_numbers_of_the_files(benchmarks, tmp_path):
    text = section(benchmarks, tmp_path / "figures")
    assert "<th>parse</th><td>0.062</td><td>0.750</td><td>12.0</td>" in text
    assert "1,234 entries of 7.2 sites" in text
    assert "678 bytes each" in text
    assert "A &amp; B" in text
    assert "<th>10,000</th><td>12.5</td><td>12.0</td><td>1.200</td><td>300</td>" in text
    assert "1.40 core-hours and 3.53 GB; dense float32 patterns would take 86 GB" in text
    assert (tmp_path / "figures" / "pipeline.pdf").exists()
    assert len(re.findall("not run", text)) == 1  # data_mp.json


def test_what_was_not_run_says_so_and_how(tmp_path):
    text = section(tmp_path / "none", tmp_path / "figures")
    assert len(re.findall("not run", text)) == 3
    assert "python benchmarks/scale.py" in text
    assert not (tmp_path / "figures").exists()
