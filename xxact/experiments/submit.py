"""Runs as SLURM jobs: one job a run, each after the job of the run that it starts from."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import submitit

from xxact.errors import UserError
from xxact.experiments.cluster import Cluster, configuration
from xxact.experiments.job import HOLD_SIGNAL, requeue_mark, train_in_job
from xxact.experiments.result import write_json
from xxact.experiments.snapshot import snapshot_folder, take_snapshot
from xxact.experiments.suite import REPOSITORY, Run
from xxact.training.identity import git_state

#: Exit status of a task that USR2 ended before Python could hold it back: nothing had begun.
_ENDED_BY_USR2 = 128 + 12


class _Executor(submitit.SlurmExecutor):
    """submitit's, which can be made without SLURM too: a dry run needs none."""

    @classmethod
    def affinity(cls) -> int:
        return 1


@dataclass(frozen=True)
class Job:
    """A run's job. Ids begin anew on a new cluster: only id and name together are this job's."""

    id: str
    name: str
    slurm_conf: str | None = None

    @property
    def configuration(self) -> Path | None:
        """The cluster's configuration file, where it is not the machine's own."""
        return Path(self.slurm_conf) if self.slurm_conf else None


def log_folder(run: Run) -> Path:
    """Batch scripts and logs of the run's jobs: `<id>_<task>_log.err` and `.out`."""
    return run.folder / "slurm"


def recorded_job(run: Run) -> Job | None:
    """The last job that was submitted for the run."""
    try:
        return Job(**json.loads((log_folder(run) / "job.json").read_text()))
    except FileNotFoundError:
        return None


def submit(
    runs: Sequence[Run], queued: Mapping[Path, Job], cluster: Cluster
) -> list[tuple[Run, Job]]:
    """Submit `runs`, each after what it starts from, and record their jobs in their folders.

    `queued` are the jobs that are in the queue already, by the weights (`Run.model_path`) that
    they will make. Raises `UserError` when SLURM refuses; what it took until then stays.
    """
    check_shapes(runs, cluster)
    code = take_snapshot(REPOSITORY, runs[0].root.resolve(), git_state()) if runs else None
    makes = {weights: job.id for weights, job in queued.items()}
    conf = cluster.slurm_conf or os.environ.get("SLURM_CONF")  # which clean_env takes away
    submitted = []
    for run in runs:
        executor = _make_executor(run, cluster, code, makes.get(run.init_path))
        try:
            with submitit.helpers.clean_env(), configuration(conf):
                id = executor.submit(train_in_job, _absolute(run)).job_id
        except FileNotFoundError:
            raise UserError(
                "there is no sbatch on this machine: submit from a login node of the cluster"
            ) from None
        except submitit.core.utils.FailedJobError as error:
            raise UserError(
                f"SLURM does not take {run.label}: {str(error).strip().splitlines()[-1]}"
                f" ({len(submitted)} of {len(runs)} runs were submitted; --cancel takes them back)"
            ) from None
        job = Job(id, executor.parameters["job_name"], str(conf) if conf else None)
        write_json(log_folder(run) / "job.json", asdict(job))
        makes[run.model_path] = id
        submitted.append((run, job))
    return submitted


def batch_script(run: Run, queued: Mapping[Path, Job], cluster: Cluster) -> str:
    """The script that `submit` would hand to sbatch; ids not yet known are written as names."""
    check_shapes([run], cluster)
    code = snapshot_folder(REPOSITORY, run.root.resolve(), git_state())
    after = None
    if run.init_path in queued:
        after = queued[run.init_path].id
    elif run.init_path is not None and not run.init_path.exists():
        after = f"<job of {run.spec.init}>"
    executor = _make_executor(run, cluster, code, after)
    return executor._make_submission_file_text(executor._submitit_command_str, "")


def gpus(run: Run) -> int:
    """GPUs, and as many processes, that a run asks for; a baseline is fitted in one."""
    return 1 if run.is_baseline else run.spec.engine.gpus


def check_shapes(runs: Sequence[Run], cluster: Cluster) -> None:
    """`UserError` if a run asks for more GPUs than the cluster's profile allows."""
    for run in runs:
        cluster.shape(gpus(run), run.label)


def _make_executor(run: Run, cluster: Cluster, code: Path, after: str | None) -> _Executor:
    """submitit's executor for one run, which starts when the job `after` has succeeded."""
    logs = log_folder(run).resolve()
    mark = requeue_mark(str(logs), "${SLURM_JOB_ID}")
    nodes, tasks = cluster.shape(gpus(run), run.label)
    scheduling = {
        key: getattr(cluster, key)
        for key in ("partition", "account", "qos", "constraint")
        if getattr(cluster, key) is not None
    }
    if cluster.gres:
        scheduling["gres"] = f"{cluster.gres}:{tasks}"
    else:
        scheduling["gpus_per_node"] = tasks
    if cluster.memory_gb_per_gpu:
        scheduling["mem"] = f"{round(1024 * tasks * cluster.memory_gb_per_gpu)}M"
    if after is not None:
        scheduling["dependency"] = f"afterok:{after}"
    executor = _Executor(logs, python=_python(cluster))
    executor.update_parameters(
        job_name=f"{run.scale}-{run.name.replace('/', '-')}-seed{run.seed}-{secrets.token_hex(4)}",
        nodes=nodes,
        ntasks_per_node=tasks,
        cpus_per_task=cluster.cpus_per_task,
        time=cluster.time_minutes,
        signal_delay_s=cluster.signal_delay_s,
        wckey=None,
        additional_parameters={"chdir": str(code), "kill-on-invalid-dep": "yes", "requeue": True}
        | cluster.sbatch,
        srun_args=[
            f"--cpus-per-task={cluster.cpus_per_task}",  # not inherited from sbatch since 22.05
            "--kill-on-bad-exit=1",  # a task that dies ends the job; the others wait for it
            *cluster.srun,
        ],
        setup=[f'rm -f "{mark}"', *cluster.set_up_lines(code)],
        teardown=[
            "code=$?",
            f'if [ -e "{mark}" ] || [ $code = {_ENDED_BY_USR2} ]; then',
            '    scontrol requeue "$SLURM_JOB_ID" || exit 75',
            "fi",
            "exit $code",
        ],
        **scheduling,
    )
    return executor


def _python(cluster: Cluster) -> str:
    """Command that starts Python in a job, in the container and with the stop signal held back."""
    hold = f"{cluster.interpreter} -S -c {shlex.quote(HOLD_SIGNAL)} {cluster.interpreter}"
    return f"{cluster.container} {hold}" if cluster.container else hold


def _absolute(run: Run) -> Run:
    """The run with absolute paths: a job starts in a folder of its own."""
    return replace(run, root=run.root.resolve(), data=run.data.resolve())
