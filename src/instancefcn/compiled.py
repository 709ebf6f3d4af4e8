"""Loops that are compiled, for what touches every cell of thousands of masks, and threads to run them on."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numba
import torch
from numba.core.dispatcher import Dispatcher

T = TypeVar("T")


def compiled(function: Callable[..., T]) -> Callable[..., T]:
    """A function of arrays and numbers as machine code, made when it is first called and kept on disk.

    Other threads run meanwhile. An index beyond an array is not noticed: ``NUMBA_BOUNDSCHECK=1`` finds it, with
    ``NUMBA_CACHE_DIR`` at an empty folder, and ``NUMBA_DISABLE_JIT=1`` runs the function as it is written.
    """
    plain = inspect.unwrap(function)  # without the checks of annotations that tests add
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        plain.__qualname__ += _fingerprint(plain)
        return numba.njit(cache=True, **options)(plain)
    except (RuntimeError, OSError):  # no source, or neither its folder nor the user's cache can be written
        return numba.njit(**options)(plain)  # made anew each time


def _fingerprint(function: Callable[..., Any]) -> str:
    """Of the other files whose compiled functions a function's file imports.

    What is kept on disk holds the functions that are called, too, and numba makes it anew only where the function's own
    file changes. It is kept by the function's name, which so tells the other files.
    """
    others = {
        imported.py_func.__code__.co_filename: imported.__qualname__
        for imported in function.__globals__.values()
        if isinstance(imported, Dispatcher) and imported.py_func.__module__ != function.__module__
    }
    if not others:
        return ""
    texts = [Path(file).read_bytes() + name.encode() for file, name in sorted(others.items())]
    return f"-{hashlib.sha256(b''.join(texts)).hexdigest()[:8]}"


def in_threads(work: Callable[..., T], *of_each: Iterable[Any]) -> list[T]:
    """What ``map`` gives, on as many threads as torch uses."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(work, *of_each))


def parts(count: int) -> list[slice]:
    """``count`` things in turn, a few ranges for each thread: some take longer than others."""
    ranges = min(4 * torch.get_num_threads(), count)
    return [slice(count * part // ranges, count * (part + 1) // ranges) for part in range(ranges)]
