"""Numba's compiler with the options that all kernels of this package share."""

from __future__ import annotations

from collections.abc import Callable

import numba

# Sums may be reordered (SIMD); NaN and infinity keep their meaning.
_OPTIONS = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy", "nogil": True}


def compiled(function: Callable) -> Callable:
    """Compile, with a cache on disk where there is a place for it to be written.

    Numba looks for one beside the source, then in NUMBA_CACHE_DIR, then in the user's own cache
    folder, and refuses to go on without; a read-only installation then compiles in each process.
    """
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return numba.njit(**_OPTIONS)(function)
