"""Small models and batches for the tests of the networks."""

from types import SimpleNamespace

import pytest
import torch

from xxact.data.targets import CRYSTAL_SYSTEM, Target
from xxact.models import (
    CompositionSpec,
    ConvolutionSpec,
    FusionSpec,
    ModelSpec,
    PatternSpec,
    XRDSpec,
    build_model,
)

ENERGY = Target("formation_energy_per_atom", "eV/atom")
TARGETS = (ENERGY, CRYSTAL_SYSTEM)


def make_batch(size: int = 6, padded: int = 4, with_pattern: bool = True) -> SimpleNamespace:
    """Compositions of 1 to `padded` elements and sparse patterns in [0, 100]."""
    generator = torch.Generator().manual_seed(7)
    counts = torch.arange(size) % padded + 1
    held = torch.arange(padded) < counts[:, None]
    elements = torch.randint(1, 101, (size, padded), generator=generator) * held
    fractions = (torch.rand(size, padded, generator=generator) + 0.05) * held
    pattern = torch.rand(size, 4250, generator=generator) ** 6 * 100
    return SimpleNamespace(
        elements=elements,
        fractions=fractions / fractions.sum(1, keepdim=True),
        pattern=pattern if with_pattern else None,
    )


def make_spec(kind: str, norm_first: bool = False, dropout: float = 0.1) -> ModelSpec:
    """A model of a few thousand parameters."""
    small = {
        "width": 16,
        "layers": 2,
        "heads": 2,
        "feedforward": 24,
        "norm_first": norm_first,
        "dropout": dropout,
    }
    parts = {
        "composition": CompositionSpec(**small),
        "xrd": XRDSpec(**small),
        "pattern": PatternSpec(**small, stride=32, channels=(4, 8, 8, 8)),
        "fusion": FusionSpec(**{**small, "width": 24, "heads": 3}),
        "convolution": ConvolutionSpec(channels=(2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8)),
    }
    used = {
        "xxact_nn": ("composition", "xrd", "fusion"),
        "crabnet": ("composition",),
        "xrd_transformer": ("xrd",),
        "fcn": ("convolution",),
        "fcn_mlp": ("convolution",),
        "xxact_conv": ("composition", "pattern", "fusion"),
        "xrd_conv": ("pattern",),
    }[kind]
    return ModelSpec(kind=kind, output_widths=(32, 16, 16), **{part: parts[part] for part in used})


@pytest.fixture
def batch() -> SimpleNamespace:
    return make_batch()


@pytest.fixture
def composition_batch() -> SimpleNamespace:
    return make_batch(with_pattern=False)


@pytest.fixture
def small_spec():
    return make_spec


@pytest.fixture
def small_model():
    """Factory of seeded small models with both targets."""

    def factory(kind: str, **options):
        torch.manual_seed(0)
        return build_model(make_spec(kind, **options), TARGETS)

    return factory
