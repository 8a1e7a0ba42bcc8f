"""Memory that is given back to the system at every training step, and taken again, costs more time than the step."""

from __future__ import annotations

import ctypes
import sys

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2  # parameters of mallopt in malloc.h
KEPT = 1 << 30  # bytes free at the end of the heap that stay there


def keep_freed_memory() -> bool:
    """Let glibc keep the memory that the process frees, for its next arrays.

    By default glibc maps every large array separately and unmaps it when it is freed: the system fills each page with zeros
    again, at the first access, at every step.

    Returns:
        Whether this C library has the settings: glibc does, others are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    return all([mallopt(MMAP_MAX, 0), mallopt(TRIM_THRESHOLD, KEPT), mallopt(TOP_PAD, 16 << 20)])
