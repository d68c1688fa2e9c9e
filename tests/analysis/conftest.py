"""A complete fabricated result tree, made once and copied where a test changes it."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fabricate


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """Every run at scale mini with three seeds; do not write into it."""
    return fabricate.write_tree(tmp_path_factory.mktemp("whole") / "results")


@pytest.fixture
def results(whole, tmp_path) -> Path:
    """A copy of `whole` that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "results"))
