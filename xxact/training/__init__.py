"""One training loop: specs, order of data, schedule, engine, checkpoints, evaluation."""
