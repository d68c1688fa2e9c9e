"""Kernels compile where no cache can be written, and give the same bits compiled or loaded."""

import os
import subprocess
import sys

import numba

from xxact.compiled import compiled


def test_kernels_compile_without_a_place_for_the_cache(monkeypatch):
    njit = numba.njit

    def no_cache(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    with monkeypatch.context() as patch:
        patch.setattr(numba, "njit", no_cache)
        twice = compiled(lambda x: 2 * x)
    assert twice(21) == 42
    assert twice.signatures


_REFLECTIONS = """
import hashlib
import numpy as np
from xxact.xrd import Crystal
from xxact.xrd.reflections import reflections

rng = np.random.default_rng(0)
lattice = np.array([[9.1, 0.2, 0.1], [0.3, 8.2, 0.4], [0.0, 0.2, 7.1]])
crystal = Crystal(lattice, rng.random((40, 3)), [8] * 17 + [22] * 23)
found = reflections(crystal, min_distance=None)
print(hashlib.sha256(found.two_theta.tobytes() + found.intensity.tobytes()).hexdigest())
"""


def test_a_process_that_compiles_and_one_that_loads_the_cache_agree_to_the_bit(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", _REFLECTIONS]
    compiled_now, loaded = (
        subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert compiled_now == loaded
