"""Write golden_losses.json anew: only after a change that is meant to alter the losses.

python -m pytest tests/training/golden.py -k write
"""

import json

from tests.training.test_loop import GOLDEN, OBJECTIVES
from xxact.training.loop import Training


def test_write(make_spec, tiny_store, tmp_path):
    golden = {}
    for objective in OBJECTIVES:
        training = Training(make_spec(objective=objective), tiny_store, tmp_path, seed=0)
        golden[objective] = [float(f"{float(training._step(step)):.6g}") for step in range(6)]
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
