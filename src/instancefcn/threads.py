"""Threads for compiled loops, which run without Python's lock; as many as torch uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def in_threads(work: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """``list(map(work, *arguments))``, on threads where torch has several."""
    if torch.get_num_threads() == 1:
        return [work(*each) for each in zip(*arguments, strict=False)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(work, *arguments))


def parts(count: int) -> list[slice]:
    """Split ``count`` items into consecutive ranges, a few for each thread, since some take longer than others."""
    ranges = max(1, min(4 * torch.get_num_threads(), count))
    return [slice(count * part // ranges, count * (part + 1) // ranges) for part in range(ranges)]
