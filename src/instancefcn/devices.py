"""Devices to compute on, named alike in Python and on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

NO_MEMORY = ("DefaultCPUAllocator", "could not create a primitive", "could not create a memory")  # of torch, of oneDNN


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device of a name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` is a CUDA GPU if there is one.

    Raises:
        ValueError: torch can't use the device here; says why.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # all that torch was ever built for
            raise ValueError(f"there is no device {str(name)!r}: give auto, cpu, cuda, cuda:1 or mps") from error
        raise ValueError(f"device {str(name)!r} can't be used: {reason}; write auto or cpu") from error


@contextmanager
def told_as_memory_error() -> Iterator[None]:
    """Raise MemoryError where torch has too little memory: it says that by a RuntimeError, on each device another.

    Raises:
        MemoryError: a sentence for a user.

    Example:
        >>> with told_as_memory_error():
        ...     torch.empty(1 << 60)
        Traceback (most recent call last):
        MemoryError: there is not enough memory for this image: make it smaller
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in NO_MEMORY):
            raise MemoryError("there is not enough memory for this image: make it smaller") from error
        raise
