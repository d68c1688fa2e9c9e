"""Measured patterns in, predictions out.

`readers` opens a file of any format (`columns` plain text, `headers` what is said of the
measurement), `measured` checks what was read, `cleanup` makes the models' input of it, `predictor`
asks the models and returns `answer`s, which `page` shows. `calibrate` makes a bundle of finished
runs: their weights with a `card` of what their `probabilities` are worth.
"""

__all__ = ["Predictor", "measured_pattern", "read_pattern"]

_HOMES = {"Predictor": "predictor", "measured_pattern": "measured", "read_pattern": "readers"}


def __getattr__(name: str):
    """What users call, loaded when it is first asked for: the predictor imports torch."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"xxact.inference.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'xxact.inference' has no attribute '{name}'")
