"""Write golden_losses.json anew: only after a change that is meant to alter the losses.

python -m pytest tests/training/golden.py -k write
"""

import itertools
import json

from tests.training.test_loop import DROPOUTS, GOLDEN, OBJECTIVES
from xxact.training.loop import Training


def test_write(make_spec, tiny_store, tmp_path):
    golden = {objective: {} for objective in OBJECTIVES}
    for objective, dropout in itertools.product(OBJECTIVES, DROPOUTS):
        spec = make_spec(objective=objective, dropout=dropout)
        training = Training(spec, tiny_store, tmp_path, seed=0)
        losses = [float(f"{float(training._step(step)):.6g}") for step in range(6)]
        golden[objective][f"dropout {dropout}"] = losses
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
