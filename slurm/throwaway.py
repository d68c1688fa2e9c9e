"""A one-node SLURM to try submissions on: python slurm/throwaway.py up|down [FOLDER]

It pretends to have a partition `h100` with eight GPUs; jobs compute on the CPU. Everything that it
writes is in FOLDER (/tmp/xxact-slurm), and `down` leaves neither files nor processes behind. Needs
root, and the Debian packages slurm-wlm and munge. Beside a SLURM of the machine's own it changes
nothing: commands reach it through the variable SLURM_CONF alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FOLDER = Path("/tmp/xxact-slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd", "scontrol", "squeue", "scancel", "sinfo")
GPUS = 8
#: CPUs that the node claims to have: one job may start a process for each GPU.
CPUS = 64
#: Memory that it claims to have, MB, so that job scripts that ask for some are taken.
MEMORY_MB = 64 * 1024

#: Jobs beyond one a core wait for a licence `job` (see throwaway.yaml), not for CPUs.
CONFIG = """\
ClusterName=throwaway
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=5
MinJobAge=86400
SlurmdParameters=config_overrides
GresTypes=gpu
Licenses=job:{cores}
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} \
RealMemory={memory_mb} Gres=gpu:h100:{gpus}
PartitionName=h100 Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


class Problem(Exception):
    """Something that the user can put right."""


def up(folder: Path) -> None:
    """Start the cluster in `folder`, which must not be there yet, and wait until it takes jobs."""
    _check_machine()
    if folder.exists():
        if _answers(folder):
            print(f"it is up already\n{_hint(folder)}")
            return
        raise Problem(f"{folder} is there, but no cluster answers: run 'down' first")
    folder.mkdir(mode=0o755, parents=True)
    try:
        _configure(folder)
        _start(folder, ["munged", *_munge_options(folder)], "munged")
        _start(folder, ["slurmctld", "-f", str(folder / "slurm.conf")], "slurmctld")
        _start(folder, ["slurmd", "-f", str(folder / "slurm.conf"), "-N", "localhost"], "slurmd")
        if not _wait(lambda: _answers(folder), 60):
            raise Problem(f"the node does not come up; the end of its log:\n{_log_end(folder)}")
    except BaseException:
        down(folder)
        raise
    print(f"up: partition h100, one node, {GPUS} pretended GPUs\n{_hint(folder)}")


def down(folder: Path) -> None:
    """Cancel every job of the cluster in `folder`, stop its daemons, and delete `folder`."""
    if not (folder / "slurm.conf").exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"there is no cluster in {folder}")
        return
    if _running(folder, "slurmctld"):
        jobs = _client(folder, "squeue", "--noheader", "--format=%A").stdout.split()
        if jobs:
            _client(folder, "scancel", *jobs)
            _wait(lambda: not _client(folder, "squeue", "--noheader").stdout.strip(), 60)
    for daemon in ("slurmd", "slurmctld", "munged"):
        pid = _running(folder, daemon)
        if pid:
            os.kill(pid, signal.SIGTERM)
            if not _wait(lambda daemon=daemon: not _running(folder, daemon), 20):
                os.kill(pid, signal.SIGKILL)
    if not _wait(lambda: not _holders(folder), 20):
        pids = ", ".join(map(str, _holders(folder)))
        raise Problem(f"the processes {pids} still write in {folder}; end them, then run 'down'")
    shutil.rmtree(folder)
    print(f"down: {folder} is gone")


def _check_machine() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name, path=_environment()["PATH"]) is None]
    if missing:
        raise Problem(
            f"{', '.join(missing)} not found; on Debian or Ubuntu: apt-get install slurm-wlm munge"
        )
    if os.geteuid() != 0:
        raise Problem("the cluster's daemons and device files need root: start this with sudo")


def _configure(folder: Path) -> None:
    """Write slurm.conf, gres.conf, a munge key and eight character devices into `folder`."""
    devices = folder / "devices"
    for sub in (devices, folder / "state", folder / "spool"):
        sub.mkdir()
    for k in range(GPUS):
        os.mknod(devices / f"gpu{k}", stat.S_IFCHR | 0o666, os.stat("/dev/null").st_rdev)
    (folder / "gres.conf").write_text(
        f"AutoDetect=off\nNodeName=localhost Name=gpu Type=h100 File={devices}/gpu[0-{GPUS - 1}]\n"
    )
    key = folder / "munge.key"
    key.touch(mode=0o400)
    key.write_bytes(os.urandom(128))
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        config = CONFIG.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            controller_port=one.getsockname()[1],
            node_port=two.getsockname()[1],
            cpus=CPUS,
            memory_mb=MEMORY_MB,
            gpus=GPUS,
            cores=len(os.sched_getaffinity(0)),
        )
    (folder / "slurm.conf").write_text(config)


def _munge_options(folder: Path) -> list[str]:
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
    files = [f"--{option}={folder}/munge.{suffix}" for option, suffix in names.items()]
    return [*files, f"--log-file={folder}/munged.log"]


def _start(folder: Path, command: list[str], daemon: str) -> None:
    """Start a daemon, which puts itself in the background, and wait for its process id."""
    done = subprocess.run(
        command, env=_environment(folder), capture_output=True, text=True, check=False
    )
    if done.returncode or not _wait(lambda: _running(folder, daemon), 20):
        raise Problem(f"{daemon} does not start: {done.stderr.strip()}\n{_log_end(folder)}")


def _environment(folder: Path | None = None) -> dict[str, str]:
    """This process's environment, with the folders of daemons in PATH and the cluster's config."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    config = {"SLURM_CONF": str(folder / "slurm.conf")} if folder else {}
    return os.environ | {"PATH": path} | config


def _client(folder: Path, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, env=_environment(folder), capture_output=True, text=True, timeout=60, check=False
    )


def _answers(folder: Path) -> bool:
    """Whether the cluster takes jobs."""
    if not _running(folder, "slurmctld"):
        return False
    return _client(folder, "sinfo", "--noheader", "--format=%t").stdout.strip() in (
        "idle",
        "mix",
        "alloc",
    )


def _running(folder: Path, daemon: str) -> int | None:
    """Process id of a daemon of this folder's cluster, None where it does not run."""
    name = "munge" if daemon == "munged" else daemon
    try:
        pid = int((folder / f"{name}.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_text()
    except (OSError, ValueError):
        return None
    return pid if str(folder) in command else None  # an old id may be another process's by now


def _holders(folder: Path) -> list[int]:
    """Ids of the processes that have a file in `folder` open: job steps outlive slurmd."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = [os.readlink(handle) for handle in (process / "fd").iterdir()]
        except OSError:  # it has just ended
            continue
        if any(file.startswith(f"{folder}/") for file in files):
            found.append(int(process.name))
    return found


def _wait(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _log_end(folder: Path) -> str:
    logs = [folder / f"{name}.log" for name in ("munged", "slurmctld", "slurmd")]
    return "\n".join(line for log in logs if log.exists() for line in _last_lines(log))


def _last_lines(log: Path) -> list[str]:
    return [f"{log.name}: {line}" for line in log.read_text(errors="replace").splitlines()[-5:]]


def _hint(folder: Path) -> str:
    return f"to use squeue and others on it: export SLURM_CONF={folder}/slurm.conf"


def main(arguments: list[str]) -> int:
    """Entry point; the exit code."""
    commands = {"up": up, "down": down}
    if len(arguments) not in (1, 2) or arguments[0] not in commands:
        print(__doc__.splitlines()[0], file=sys.stderr)
        return 2
    folder = Path(arguments[1]) if len(arguments) == 2 else FOLDER
    try:
        commands[arguments[0]](folder.resolve())
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
