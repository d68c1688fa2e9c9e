"""`xxact data` from its arguments to its exit code."""

import argparse

import pytest

from xxact.data.cli import add_parser
from xxact.errors import UserError


@pytest.fixture
def run():
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))

    def call(*arguments: object) -> int:
        options = parser.parse_args([str(a) for a in arguments])
        return options.func(options)

    return call


def test_prepare_info_and_verify(run, crystals_csv, tmp_path, capsys):
    out = tmp_path / "store"
    arguments = ("--source", "csv", "--input", crystals_csv, "--out", out, "--workers", 1)
    assert run("data", "prepare", *arguments) == 0
    assert "60 stored" in capsys.readouterr().out
    assert run("data", "info", out) == 0
    text = capsys.readouterr().out
    for line in ("store: 60 samples (composition+xrd)", "cubic", "Cs 12", "band_gap (eV)"):
        assert line in text
    assert run("data", "verify", out) == 0
    path = out / "intensity.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match=r"is damaged(.|\n)*intensity\.npy"):
        run("data", "verify", out)


def test_unreadable_input_makes_the_exit_code_non_zero(run, crystals_csv, tmp_path, capsys):
    empty = tmp_path / "empty.csv"
    empty.touch()
    out = tmp_path / "store"
    files = ("--input", empty, crystals_csv)
    assert run("data", "prepare", "--source", "csv", *files, "--out", out, "--workers", 1) == 1
    captured = capsys.readouterr()
    assert "60 stored" in captured.out
    assert "empty.csv could not be read to its end: the file is empty" in captured.err


def test_mappings_and_split_on_the_command_line(run, crystal_rows, csv_text, tmp_path, capsys):
    rows = [row | {"K": 100} for row in crystal_rows(8)]
    for row in rows:
        row["e_form"] = row.pop("formation_energy_per_atom")
    for name in ("train", "test"):
        chosen = rows[:5] if name == "train" else rows[5:]
        (tmp_path / f"{name}.csv").write_text(csv_text(chosen))
    inputs = [f"{name}={tmp_path / name}.csv" for name in ("train", "test")]
    mapped = ("--column", "formation_energy_per_atom=e_form", "--target", "bulk_modulus:GPa=K")
    out = tmp_path / "store"
    assert run("data", "prepare", "--source", "csv", "--input", *inputs, *mapped, "--out", out) == 0
    assert "3 test, 5 train" in capsys.readouterr().out
    run("data", "info", out)
    text = capsys.readouterr().out
    assert "formation_energy_per_atom (eV/atom)" in text
    assert "bulk_modulus (GPa)" in text


def test_mini_takes_no_input(run, crystals_csv, tmp_path):
    with pytest.raises(UserError, match="'mini' takes no input"):
        run("data", "prepare", "--source", "mini", "--input", crystals_csv, "--out", tmp_path / "s")
    with pytest.raises(UserError, match="needs at least one input file"):
        run("data", "prepare", "--source", "csv", "--out", tmp_path / "s")
