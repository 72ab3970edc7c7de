"""Keep freed memory in the process: on virtual machines the first touch of a page can cost more than the work on it."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc
TOP_PAD = 256 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc's malloc not to give memory back to the system; returns whether it could be told.

    The same as starting with MALLOC_MMAP_MAX_=0 and a large MALLOC_TRIM_THRESHOLD_.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, TOP_PAD))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)
