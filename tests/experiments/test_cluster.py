"""Cluster profiles: every one on disk is valid, and mistakes in one are explained."""

import sys

import pytest

from xxact.errors import UserError
from xxact.experiments import cluster as clusters
from xxact.experiments import launch
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


REFUSED = {
    "{requeue: false}": "'requeue' is not for a profile: the suite sets --requeue itself",
    "{requeue: true}": "the suite sets --requeue",
    "{no-requeue: true}": "the suite sets --no-requeue",
    "{array: 0-3, output: mine.txt}": "the suite sets --array itself; 'output' is not for a",
    "{output: mine.txt}": "'output' is not for a profile",
    "{error: mine.txt}": "'error' is not for a profile",
    "{erro: mine.txt}": "'erro' is not for a profile: the suite sets --error itself",
    "{job_name: mine}": "'job-name' is not for a profile",
    "{dependency: singleton}": "'dependency' is not for a profile",
    "{open-mode: truncate}": "'open-mode' is not for a profile",
    "{kill-on-invalid-dep: 'no'}": "'kill-on-invalid-dep' is not for a profile",
    "{wrap: hostname}": "'wrap' is not for a profile",
    "{parsable: true}": "'parsable' is not for a profile",
    "{signal: USR1@60}": "'signal' has a key of its own in a profile: signal_delay_s",
    "{time: 60}": "'time' has a key of its own in a profile: time_minutes",
    "{nodes: 2}": "key of its own in a profile: nodes",
    "{ntasks: 2}": "key of its own in a profile: gpus_per_node",
    "{gpus: 2}": "key of its own in a profile: gpus_per_node",
    "{cpus_per_task: 2}": "key of its own in a profile: cpus_per_task",
    "{mem: 10G}": "key of its own in a profile: memory_gb_per_gpu",
    "{partition: gpu}": "key of its own in a profile: partition",
    "{J: mine}": "'J' is no long name",
    "{--array: 0-3}": "'--array' is no long name",
    "{reservation: }": "'reservation' needs a text, a number, true or false, got None",
    "{reservation: ''}": "'reservation' needs a text on one line, got ''",
    "{comment: ' '}": "'comment' needs a text on one line",
    '{comment: "a\\nb"}': "'comment' needs a text on one line",
    "{exclude: [node1, node2]}": "'exclude' needs a text, a number, true or false, got ['node1'",
    "{nice: {a: 1}}": "'nice' needs a text, a number, true or false",
    "[exclusive]": "options and their values are needed",
    "exclusive": "options and their values are needed",
}


def dry_run(tmp_path, lines):
    """Exit code of `run.py --submit --dry-run` with a profile of the needed keys and `lines`."""
    keys = {line.split(":")[0] for line in lines}
    needed = ("gpus_per_node: 8", "time_minutes: 480", "signal_delay_s: 300")
    path = tmp_path / "site.yaml"
    path.write_text("\n".join([*(n for n in needed if n.split(":")[0] not in keys), *lines]))
    own = ["--only", "crabnet_energy", "--scale", "tiny", "--runs", str(tmp_path / "R")]
    where = ["--data", str(tmp_path / "no_store"), "--submit", "--dry-run", "--cluster", str(path)]
    return launch.main("experiments/table1/run.py", [*own, *where])


@pytest.mark.parametrize("given", REFUSED)
def test_options_that_contradict_the_suite_are_named(given, experiments, tmp_path, capsys):
    assert dry_run(tmp_path, [f"sbatch: {given}"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {tmp_path}/site.yaml: sbatch: ")
    assert REFUSED[given] in shown.err
    assert not shown.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("srun: [--output=mine.txt]", "'--output=mine.txt' is not for a profile"),
        ("srun: [-o, mine.txt]", "'-o' is not for a profile"),
        ("srun: [-K0]", "'-K0' is not for a profile"),
        ("srun: [--kill-on-bad=0]", "'--kill-on-bad=0' is not for a profile"),
        ("srun: [--cpu-bind=cores, --ntasks=2]", "'--ntasks=2' is not for a profile"),
        ("srun: [hostname]", "'hostname' is no option"),
        ("srun: ['']", "srun.0: String should match"),
        ("partition: ''", "partition: String should match"),
        ("container: ' '", "container: String should match"),
        ("signal_delay_s: 30000", "signal_delay_s 30000 leaves 0 s of time_minutes 480 to train"),
        ("signal_delay_s: 28800", "leaves 0 s of time_minutes 480"),
        ("signal_delay_s: 28790", "leaves 10 s of time_minutes 480"),
        ("time_minutes: 5", "signal_delay_s 300 leaves 0 s of time_minutes 5"),
        ("signal_delay_s: 70000", "signal_delay_s: Input should be less than or equal to 65535"),
    ],
)
def test_other_keys_that_leave_no_way_to_train_are_named(
    line, message, experiments, tmp_path, capsys
):
    assert dry_run(tmp_path, [line]) == 2
    assert message in capsys.readouterr().err


def test_options_that_are_false_are_left_out_and_others_pass(experiments, tmp_path):
    given = {"exclusive": False, "mail_type": "END", "nice": 0, "export": "ALL", "nodelist": "n1"}
    profile = make(sbatch=given, srun=("--cpu-bind", "cores", "--mpi=none"))
    assert profile.sbatch == {"mail-type": "END", "nice": 0, "export": "ALL", "nodelist": "n1"}
    assert profile.srun == ("--cpu-bind", "cores", "--mpi=none")
    assert make(time_minutes=4, signal_delay_s=120).signal_delay_s == 120


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
