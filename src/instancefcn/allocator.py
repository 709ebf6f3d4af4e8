"""How the process keeps its memory: up to a third of a network's time on a CPU, over the first images."""

from __future__ import annotations

import ctypes
import sys

# Of mallopt(3), glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_NEVER = -1  # as a trim threshold


def keep_freed_memory() -> bool:
    """Let the process keep the memory it frees; return whether that could be set.

    glibc takes every large block from the kernel and gives it back when it is freed, and the kernel clears the pages
    each time: for a network's maps that takes longer than some of its convolutions. And it gives threads heaps of their
    own, so that what one thread frees is of no use to another: here all share one. The setting is of the whole process,
    so the command line makes it and the library does not. Systems without glibc have other allocators and are left
    alone. The price: until it ends, the process holds the most memory that it ever needed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has none
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER) and mallopt(_M_ARENA_MAX, 1))
