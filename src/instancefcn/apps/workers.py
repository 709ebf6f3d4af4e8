"""Several processes that answer a run's images, each with a network of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from jaxtyping import UInt8

from instancefcn.allocator import keep_freed_memory
from instancefcn.interrupts import WATCHED
from instancefcn.proposals import Proposals

Pixels = UInt8[np.ndarray, "h w 3"]
Answer = Callable[[Pixels], Proposals]
Begin = Callable[[Pixels], Callable[[], Proposals]]  # takes an image; what it returns waits for the answer
_answer: Answer  # of this worker


@contextmanager
def answering(answer: Answer, workers: int) -> Iterator[Begin]:
    """A function that begins with an image: in this process, or, with two workers or more, in one of theirs.

    Workers share torch's threads.

    Args:
        answer: is pickled for workers.

    Raises:
        ValueError: a worker was killed.

    Example:
        >>> with answering(proposer, workers=2) as begin:  # doctest: +SKIP
        ...     first, second = begin(pixels), begin(others)
        ...     found = [first(), second()]
    """
    if workers == 1:
        yield lambda pixels: partial(answer, pixels)
        return
    threads = max(1, torch.get_num_threads() // workers)
    spawned = multiprocessing.get_context("spawn")  # a fork would have half of torch's threads
    with ProcessPoolExecutor(workers, spawned, _start, (answer, threads)) as pool:
        try:
            yield partial(_begin, pool)
        except BrokenProcessPool as error:
            raise ValueError(
                "a worker was killed, perhaps for want of memory: --resume goes on; fewer --workers take less"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(pool: ProcessPoolExecutor, pixels: Pixels) -> Callable[[], Proposals]:
    """Hand an image to a worker. One that is started for it is born deaf to signals, until ``_start`` ignores them."""
    if not hasattr(signal, "pthread_sigmask"):
        return pool.submit(_work, pixels).result
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # of this thread
    try:
        return pool.submit(_work, pixels).result
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(answer: Answer, threads: int) -> None:
    """Make this process a worker. Signals are for the process that it works for, and it ends with that one."""
    global _answer
    for number in WATCHED:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(threads)
    _answer = answer


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # whatever is at work: nobody waits for it


def _work(pixels: Pixels) -> Proposals:
    return _answer(pixels)
