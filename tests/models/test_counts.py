"""Parameter counts of the published sizes, to the unit."""

import pytest
import torch

from xxact.data.targets import CRYSTAL_SYSTEM, Target
from xxact.models import CompositionSpec, ConvolutionSpec, ModelSpec, build_model

ENERGY = Target("formation_energy_per_atom", "eV/atom")
ELEMENT_TABLE = 119 * 200  # CrabNet's authors keep fixed mat2vec vectors instead


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def build(kind: str, *targets: Target, **parts):
    with torch.device("meta"):
        return build_model(ModelSpec(kind=kind, **parts), targets)


def test_parts_of_xxact_nn():
    model = build("xxact_nn", ENERGY, CRYSTAL_SYSTEM)
    assert count(model.composition) == 9_560_067 + ELEMENT_TABLE + 512  # [CLS]
    assert count(model.xrd) == 6_446_592
    assert count(model.xrd) + count(model.xrd_bridge) == 6_840_576
    assert count(model.composition_bridge) + count(model.xrd_bridge) == 787_968
    assert count(model.fusion) == 12 * 7_877_888 == 94_534_656
    assert count(model.heads[ENERGY.name]) == 769
    assert count(model.heads["crystal_system"]) == 5_383
    assert count(model.mxm_head) == 192_250
    assert model.mask_token.numel() == 250
    assert model.log_temperature.numel() == 1
    assert count(model) == 111_528_448 + ELEMENT_TABLE == 111_552_248


def test_crabnet():
    model = build("crabnet", ENERGY)
    assert count(model.composition) == 9_560_067 + ELEMENT_TABLE
    assert count(model) == 11_987_206 + ELEMENT_TABLE
    fixed = build("crabnet", ENERGY, composition=CompositionSpec(element_vectors="mat2vec"))
    assert count(fixed) == 11_987_206


def test_xrd_transformer():
    assert count(build("xrd_transformer", CRYSTAL_SYSTEM)) == 6_446_592 + 7 * 513


@pytest.mark.parametrize(
    ("kind", "length", "target", "expected"),
    [
        ("fcn", 4250, ENERGY, 1_672_593),
        ("fcn", 4250, CRYSTAL_SYSTEM, 1_672_983),
        ("fcn_mlp", 4250, ENERGY, 1_814_401),
        ("fcn_mlp", 4250, CRYSTAL_SYSTEM, 1_814_503),
        ("fcn_mlp", 8192, ENERGY, 1_879_937),
    ],
)
def test_pxrdpiayn(kind, length, target, expected):
    assert count(build(kind, target, convolution=ConvolutionSpec(input_length=length))) == expected
