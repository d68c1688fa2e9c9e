"""How the C library keeps memory that tensors of a CPU have freed."""

from __future__ import annotations

import contextlib
import ctypes

_LARGE = 1 << 30
#: glibc's `mallopt` parameters (malloc.h) and their values.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MXFAST = -1, -2, -3, 1


def keep_freed_memory() -> None:
    """Keep freed memory for the next tensor in place of handing it back to the system.

    A training step frees and asks for the same megabytes some thousand times; by default glibc
    gives them back in between, and every page is faulted in and cleared anew. Does nothing where
    the C library has no `mallopt`.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, _LARGE)
        mallopt(_TOP_PAD, 64 << 20)
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        mallopt(_MXFAST, 0)  # small pieces would be gathered up each time a large one is freed
