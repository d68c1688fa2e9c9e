"""The section on training speed: numbers of the file, machine by machine."""

import json

from xxact.analysis.speed import SHARES, section


def entry(name: str, device: str, mfu: float | None) -> dict:
    shares = dict(zip(SHARES, (0.01, 0.4, 0.45, 0.05, 0.06, 0.03), strict=True))
    hardware = {"device": device, "name": name, "processes": 1}
    if device == "cpu":
        hardware |= {"cores": 2, "load_average": 0.5}
    return {
        "size": "mini",
        "row": "table2/none",
        "model": "xxact_nn",
        "objective": "supervised",
        "threads": 1,
        "batch_size": 64,
        "flops_per_sample": 18.6e6,
        "hardware": hardware,
        "xxact": {
            "samples_per_s": 2345.6,
            "model_flops_per_s": 43.6e9,
            "mfu": mfu,
            "peak_memory_bytes": 512e6,
            "shares": shares,
        },
        "first_draft": {"samples_per_s": 1000.4, "workers": 1, "peak_memory_bytes": 1024e6},
        "ratio": {"wall": 2.345, "processor": 2.5},
    }


def test_what_has_not_been_run_says_so(tmp_path):
    assert "not run" in section(tmp_path)


def test_each_machine_has_a_table_of_its_numbers(tmp_path):
    entries = [entry("C & D", "cpu", 0.1234), entry("NVIDIA H100", "cuda", None)]
    (tmp_path / "train.json").write_text(json.dumps({"schema": 1, "entries": entries}))
    text = section(tmp_path)
    assert "not run" not in text
    cpu, gpu = text.split("<h3>")[1:]
    assert "C &amp; D (2 cores, load 0.5 to 0.5)" in cpu
    assert "<td>2,346</td><td>1,000 (1 worker)</td><td>2.35</td><td>2.50</td>" in cpu
    assert "<td>0.0186</td><td>44</td><td>12.3</td><td>512</td><td>1,024</td>" in cpu
    assert "<td>1</td><td>40</td><td>45</td><td>5</td><td>6</td><td>3</td></tr>" in cpu
    assert "NVIDIA H100</h3>" in gpu
    assert "<td>unknown</td>" in gpu
