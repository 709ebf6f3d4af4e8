"""Loops that are compiled, for what touches every cell of thousands of masks, and threads to run them on."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba
import torch
from numba.core.dispatcher import Dispatcher

T = TypeVar("T")


def compiled(function: Callable[..., T]) -> Callable[..., T]:
    """A function of arrays and numbers as machine code, made when it is first called and kept on disk.

    Other threads run meanwhile. An index beyond an array is not noticed; ``NUMBA_BOUNDSCHECK=1`` finds it, and
    ``NUMBA_DISABLE_JIT=1`` runs the function as it is written.
    """
    plain = inspect.unwrap(function)  # without the checks of annotations that tests add
    # What is kept holds the functions that are called, too, but numba makes it anew only where this one's file changes:
    # the name it is kept by tells those of other files.
    called = [plain.__globals__.get(name) for name in plain.__code__.co_names]
    sources = [inspect.getsource(of.py_func) + of.__qualname__ for of in called if isinstance(of, Dispatcher)]
    if sources:
        plain.__qualname__ += f"-{hashlib.sha256(''.join(sources).encode()).hexdigest()[:8]}"
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(plain)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written: made anew each time
        return numba.njit(**options)(plain)


def in_threads(work: Callable[..., T], *of_each: Iterable[Any]) -> list[T]:
    """What ``map`` gives, on as many threads as torch uses."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(work, *of_each))


def parts(count: int) -> list[slice]:
    """``count`` things in turn, a few ranges for each thread: some take longer than others."""
    ranges = min(4 * torch.get_num_threads(), count)
    return [slice(count * part // ranges, count * (part + 1) // ranges) for part in range(ranges)]
