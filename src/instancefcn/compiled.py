"""Loops compiled to machine code, for work on every cell of thousands of masks."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.dispatcher import Dispatcher

T = TypeVar("T")


def compiled(function: Callable[..., T]) -> Callable[..., T]:
    """Compile a function of arrays and numbers when it is first called, and keep the machine code on disk.

    It runs without Python's lock. An index beyond an array is not noticed: ``NUMBA_BOUNDSCHECK=1`` finds it, with
    ``NUMBA_CACHE_DIR`` at an empty folder, and ``NUMBA_DISABLE_JIT=1`` runs the function as it is written.
    """
    plain = inspect.unwrap(function)  # without the checks of annotations that tests add
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        plain.__qualname__ += _fingerprint(plain)
        return numba.njit(cache=True, **options)(plain)
    except (RuntimeError, OSError):  # no source, or no folder to keep the code in
        return numba.njit(**options)(plain)  # compiled anew in each process


def _fingerprint(function: Callable[..., Any]) -> str:
    """Hash of the files whose compiled functions this one imports; numba watches only its own file.

    The kept code includes the functions that are called. It is kept under the function's name, so the hash goes there.
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
