"""Building a model from arguments of other types than it takes."""

import pytest

from xxact.data.targets import CRYSTAL_SYSTEM
from xxact.errors import UserError
from xxact.models import ModelSpec, build_model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("crabnet",), "spec must be a ModelSpec, got the str 'crabnet'"),
        (({"kind": "crabnet"},), "spec must be a ModelSpec, got the dict"),
        ((None,), "spec must be a ModelSpec, got None"),
        (([CRYSTAL_SYSTEM], ModelSpec(kind="fcn")), "spec must be a ModelSpec, got the list"),
        ((ModelSpec(kind="fcn"), CRYSTAL_SYSTEM), "targets must be a list of Target"),
        ((ModelSpec(kind="fcn"), ["band_gap"]), "each of targets must be a Target, got the str"),
    ],
)
def test_the_argument_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        build_model(*arguments)
