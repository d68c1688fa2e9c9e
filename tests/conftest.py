"""Fixtures that every part of the test suite shares."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real data to test on; skips where it is absent."""
    path = Path(os.environ.get("XXACT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no test data in {path} (set XXACT_TEST_DATA)")
    return path
