"""Several processes that answer a run's images, each with a network of its own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from jaxtyping import UInt8

from instancefcn.allocator import keep_freed_memory
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
            yield lambda pixels: pool.submit(_work, pixels).result
        except BrokenProcessPool as error:
            raise ValueError(
                "a worker was killed, perhaps for want of memory: --resume goes on; fewer --workers take less"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start(answer: Answer, threads: int) -> None:
    """Make this process a worker; Ctrl-C is for the process that it works for."""
    global _answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    torch.set_num_threads(threads)
    _answer = answer


def _work(pixels: Pixels) -> Proposals:
    return _answer(pixels)
