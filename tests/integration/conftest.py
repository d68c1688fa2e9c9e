"""A SLURM for the session, where one can be started."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.integration.harness import Project, Slurm


@pytest.fixture(scope="session")
def slurm():
    """A running throwaway cluster; afterwards nothing of it is left.

    Skips where it cannot be started, unless XXACT_REQUIRE_SLURM=1 says that it has to be.
    """
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [
        name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name, path=path)
    ]
    why = f"no {', '.join(missing)} (apt-get install slurm-wlm munge)" if missing else ""
    why = why or ("starting a SLURM needs root" if os.geteuid() else "")
    if why and os.environ.get("XXACT_REQUIRE_SLURM") == "1":
        pytest.fail(f"XXACT_REQUIRE_SLURM=1, but {why}")
    if why:
        pytest.skip(why)
    # not in pytest's own folder, which is closed to other users: munge insists on an open one
    cluster = Slurm(Path(tempfile.gettempdir(), f"xxact-slurm-{os.getpid()}"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def project(slurm, tiny_data, tmp_path_factory):
    """A checkout of the project that submits to the cluster."""
    return Project(tmp_path_factory.mktemp("project"), slurm, tiny_data)
