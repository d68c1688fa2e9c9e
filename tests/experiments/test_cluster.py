"""Cluster profiles: every one on disk is valid, and mistakes in one are explained."""

import sys

import pytest

from xxact.errors import UserError
from xxact.experiments import cluster as clusters
from xxact.experiments.cluster import Cluster
from xxact.experiments.spec import read_spec
from xxact.experiments.suite import REPOSITORY

PROFILES = sorted((REPOSITORY / "slurm").glob("*.yaml"))


def make(**changes):
    return Cluster(**{"gpus_per_node": 8, "time_minutes": 60, "signal_delay_s": 60} | changes)


def test_there_are_profiles():
    assert {path.name for path in PROFILES} >= {"h100.yaml", "throwaway.yaml"}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_profiles_on_disk_are_valid(path):
    assert read_spec(path, Cluster).shape(8, "a run") == (1, 8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("partitoin: h100", "partitoin: unknown key (did you mean 'partition'?)"),
        ("time_minutes: 08:00:00", "time_minutes: Input should be a valid integer"),
        ("gres: gpu:h100:8", "gres: String should match"),
        ("nodes: 0", "nodes: Input should be greater than 0"),
    ],
)
def test_mistakes_name_file_and_key(line, message, tmp_path):
    key = line.split(":")[0]
    needed = ("gpus_per_node: 8", "time_minutes: 60", "signal_delay_s: 60")
    path = tmp_path / "site.yaml"
    path.write_text("\n".join([*(text for text in needed if not text.startswith(key)), line]))
    with pytest.raises(UserError) as error:
        read_spec(path, Cluster)
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("gpus", "shape"), [(1, (1, 1)), (8, (1, 8)), (16, (2, 8)), (12, (2, 6)), (18, (3, 6))]
)
def test_gpus_are_spread_evenly_over_as_few_nodes_as_hold_them(gpus, shape):
    assert make(nodes=4).shape(gpus, "a run") == shape


@pytest.mark.parametrize(
    ("gpus", "message"), [(33, "allows 4 node(s) of 8"), (17, "do not spread evenly over 3")]
)
def test_a_run_that_does_not_fit_says_why(gpus, message):
    with pytest.raises(UserError, match="table2/none asks for") as error:
        make(nodes=4).shape(gpus, "table2/none")
    assert message in str(error.value)


def test_the_interpreter_is_this_one_unless_there_is_a_container():
    assert make().interpreter == sys.executable
    assert make(container="apptainer exec image.sif").interpreter == "python3"
    assert make(container="apptainer exec image.sif", python="/opt/py").interpreter == "/opt/py"
    assert make(python="/opt/py").interpreter == "/opt/py"


def test_the_configuration_is_set_and_put_back(monkeypatch):
    monkeypatch.setenv("SLURM_CONF", "mine")
    with clusters.configuration("theirs"):
        assert clusters.os.environ["SLURM_CONF"] == "theirs"
    with clusters.configuration(None):
        assert clusters.os.environ["SLURM_CONF"] == "mine"
    monkeypatch.delenv("SLURM_CONF")
    with clusters.configuration("theirs"):
        pass
    assert "SLURM_CONF" not in clusters.os.environ
