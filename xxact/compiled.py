"""Numba's compiler with the options that all kernels of this package share."""

from __future__ import annotations

from collections.abc import Callable

import numba

# Sums may be reordered (SIMD); NaN and infinity keep their meaning.
_OPTIONS = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy", "nogil": True}


def compiled(function: Callable) -> Callable:
    """Compile, with a cache on disk where there is a place for it to be written.

    Numba looks for one in NUMBA_CACHE_DIR, then beside the source, then in the user's own cache
    folder, and refuses to go on without; a read-only installation then compiles in each process.
    """
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return numba.njit(**_OPTIONS)(function)


def inlined(function: Callable) -> Callable:
    """Compile as a part of each compiled function that calls it.

    A helper with machine code of its own exists twice, optimised apart: a process that has just
    compiled runs one copy, a process that loads the cache the other, and their sums differ in the
    last bit. Inlined by Numba there is one, and every process gets the same numbers.
    """
    return numba.njit(inline="always", **_OPTIONS)(function)
