"""Kernels compile where no cache can be written, such as a read-only installation."""

import numba

from xxact.xrd.compiled import compiled


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
