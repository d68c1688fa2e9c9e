"""Files of made-up measurements."""

import pytest

from tests.inference.made_up import measurement


@pytest.fixture
def write_xy(tmp_path):
    """Function (**changes) -> path of a two-column file of the crystal."""

    def write(name="sample.xy", separator=" ", heading="", **changes):
        lines = [f"{a:.4f}{separator}{c:.0f}" for a, c in zip(*measurement(**changes), strict=True)]
        path = tmp_path / name
        path.write_text(heading + "\n".join(lines) + "\n")
        return path

    return write
