"""Loops compiled to machine code, for work on every cell of thousands of masks."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import filelock
import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

LONGEST_WAIT = 60.0  # seconds for another process that compiles the same function

T = TypeVar("T")


def compiled(function: Callable[..., T]) -> Callable[..., T]:
    """Compile a function of arrays and numbers when it is first called, and keep the machine code on disk.

    Code that is no longer what was kept, such as a cut file, is made anew, and so is code that can't be kept. Of
    several processes that call it first, one compiles it, and the others wait for what it keeps.

    It runs without Python's lock. An index beyond an array is not noticed: ``NUMBA_BOUNDSCHECK=1`` finds it, with
    ``NUMBA_CACHE_DIR`` at an empty folder, and ``NUMBA_DISABLE_JIT=1`` runs the function as it is written.
    """
    plain = inspect.unwrap(function)  # without the checks of annotations that tests add
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        plain.__qualname__ += _fingerprint(plain)
        dispatcher = numba.njit(cache=True, **options)(plain)
        if isinstance(dispatcher, Dispatcher):  # not under NUMBA_DISABLE_JIT
            _compile_in_one_process(dispatcher, _CheckedCache(plain))
        return dispatcher
    except (RuntimeError, OSError):  # no source, or no folder to keep the code in
        return numba.njit(**options)(plain)  # compiled anew in each process


class _CheckedFiles(IndexDataCacheFile):
    """numba's files of machine code, each with its SHA-256 at the end."""

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(content + hashlib.sha256(content).digest())

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        size = len(content) - hashlib.sha256().digest_size
        if hashlib.sha256(content[:size]).digest() != content[size:]:
            raise ValueError(f"{name}: damaged")
        return super()._load_data(name)


class _CheckedCache(FunctionCache):
    """numba's cache of a function, which never stops a program: what can't be loaded is compiled anew."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        base, stamp = self._impl.filename_base, self._impl.locator.get_source_stamp()
        self._cache_file = _CheckedFiles(cache_path=self._cache_path, filename_base=base, source_stamp=stamp)
        self._lock_file = Path(self._cache_path) / f"{base}.lock"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever unpickling makes of a cut file, EOFError among it
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # a full disk: the code runs all the same
            super().save_overload(sig, data)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process loads or compiles the function meanwhile, where locks can be had. Nobody waits for ever."""
        with ExitStack() as stack:
            with suppress(OSError, NotImplementedError):  # it took too long, no such folder, or no locks there
                stack.enter_context(filelock.FileLock(self._lock_file, timeout=LONGEST_WAIT))  # forks can't share one
            yield


def _compile_in_one_process(dispatcher: Any, cache: _CheckedCache) -> None:
    """Let a dispatcher load or compile under the lock of its cache.

    numba's own lock comes first: a thread that has it may compile a function of which another has the file's.
    """
    load_or_compile = dispatcher.compile

    def compile_alone(signature: Any) -> Any:
        with global_compiler_lock, cache.locked():
            return load_or_compile(signature)

    dispatcher._cache, dispatcher.compile = cache, compile_alone


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
