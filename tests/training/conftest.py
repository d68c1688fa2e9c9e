"""A model small enough to train in a test."""

import pytest
import torch

from xxact.models.spec import (
    CompositionSpec,
    ConvolutionSpec,
    FusionSpec,
    ModelSpec,
    PatternSpec,
    XRDSpec,
)
from xxact.training.spec import RunSpec


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_spec():
    """Function (**changes) -> spec of a run of a few steps, float32."""

    def make(kind: str = "xxact_nn", dropout: float = 0.1, **changes) -> RunSpec:
        size = {"width": 16, "layers": 1, "heads": 2, "feedforward": 32, "dropout": dropout}
        convolution = ConvolutionSpec(channels=(2,) * 12, dropout=dropout, top_dropout=dropout)
        parts = {
            "xxact_nn": {
                "composition": CompositionSpec(**size, element_width=8),
                "xrd": XRDSpec(**size),
                "fusion": FusionSpec(**size),
            },
            "crabnet": {"composition": CompositionSpec(**size, element_width=8)},
            "xrd_transformer": {"xrd": XRDSpec(**size)},
            "xxact_conv": {
                "composition": CompositionSpec(**size, element_width=8),
                "pattern": PatternSpec(**size, stride=32, channels=(4, 8, 8, 8)),
                "fusion": FusionSpec(**size),
            },
            "fcn": {"convolution": convolution},
            "fcn_mlp": {"convolution": convolution},
        }
        widths = {"output_widths": (16,)} if kind == "crabnet" else {}
        defaults = {
            "model": ModelSpec(kind=kind, **parts[kind], **widths),
            "targets": ("formation_energy_per_atom", "crystal_system"),
            "epochs": 2,
            "batch_size": 32,
            "precision": "float32",
            "evaluations": 4,
        }
        if changes.get("objective", "supervised") != "supervised":
            defaults["targets"] = ()
        return RunSpec(**defaults | changes)

    return make


@pytest.fixture
def quiet():
    """Function (folder) -> progress that prints nothing."""
    from xxact.training.progress import Progress

    def make(folder) -> Progress:
        folder.mkdir(parents=True, exist_ok=True)
        return Progress(folder, show=False)

    return make
