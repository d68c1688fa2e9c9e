"""The numbers of README.md are those of the committed results."""

import readme_results

from xxact.experiments.suite import REPOSITORY


def test_the_readme_shows_the_committed_results():
    text = readme_results.README.read_text(encoding="utf-8")
    (shown,) = readme_results.BLOCK.findall(text)
    assert shown == readme_results.block(REPOSITORY / "results"), (
        "README.md is behind results/: python tools/readme_results.py"
    )
