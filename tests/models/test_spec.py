"""Specifications of models: defaults, refusals, lightness."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict

import pytest
from pydantic import TypeAdapter, ValidationError

from xxact.models import CompositionSpec, ConvolutionSpec, ModelSpec, XRDSpec

READ = TypeAdapter(ModelSpec).validate_python


def test_parts_that_are_left_out_take_the_published_size():
    spec = ModelSpec(kind="xxact_nn")
    assert (spec.composition.width, spec.composition.feedforward) == (512, 2048)
    assert (spec.xrd.tokens, spec.xrd.feedforward) == (17, 1024)
    assert (spec.fusion.layers, spec.fusion.width, spec.fusion.heads) == (12, 768, 12)
    assert spec.convolution is None
    assert ModelSpec(kind="fcn").convolution.output_length == 1


def test_round_trip_through_plain_data():
    spec = READ({"kind": "crabnet", "composition": {"width": 64, "layers": 2}})
    assert spec.composition.width == 64
    assert READ(asdict(spec)) == spec


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "crabnet", "xrd": {}}, "no part 'xrd'"),
        ({"kind": "crabnett"}, "kind"),
        ({"kind": "crabnet", "composition": {"widht": 64}}, "widht"),
        ({"kind": "xrd_transformer", "xrd": {"tokens": 16}}, "do not divide"),
        ({"kind": "xrd_transformer", "xrd": {"heads": 3}}, "multiple of heads"),
        ({"kind": "xrd_transformer", "xrd": {"layers": 0}}, "greater than 0"),
        ({"kind": "xrd_transformer", "xrd": {"dropout": 1.0}}, "less than 1"),
        ({"kind": "xxact_nn", "xrd": {"width": 64}}, "must be equal"),
        ({"kind": "fcn", "convolution": {"channels": [8, 8]}}, "change the number of channels"),
    ],
)
def test_refusals(data, message):
    with pytest.raises(ValidationError, match=message):
        READ(data)


def test_specs_are_frozen_and_hashable():
    with pytest.raises(FrozenInstanceError):
        XRDSpec().width = 3
    assert hash(ModelSpec(kind="fcn", convolution=ConvolutionSpec())) == hash(ModelSpec(kind="fcn"))
    assert CompositionSpec() == CompositionSpec(width=512)


def test_reading_a_specification_does_not_load_torch():
    code = "import sys, xxact.models as m; m.ModelSpec(kind='fcn'); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
