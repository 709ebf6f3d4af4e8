"""A pool of workers on Ray Data: each takes block after block; one that dies starts again, and so does its block."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from instancefcn.corpus.blocks import Block
from instancefcn.corpus.ledger import Ledger
from instancefcn.corpus.worker import Job, Worker

STORE_BYTES = 256 << 20  # of Ray's object store: blocks are descriptions, and their results go to files
ASK_SECONDS = 1.0  # between two questions how far the workers are
# Before Ray is imported and starts: it listens on this machine alone, to those who know a word of this run's, tells
# nobody of its use, and says errors of its own in its log files.
LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_worker_niceness": "0",  # workers are what the command is for, and as urgent as it is
}
LOCAL_OPTIONS: dict[str, Any] = {
    "include_dashboard": False,
    "_node_ip_address": "127.0.0.1",
    "object_store_memory": STORE_BYTES,
}


@dataclass(frozen=True)
class Size:
    """Of a pool: how many workers, and what each has for itself; None for as many as there is room for."""

    workers: int | None = None
    cpus: float = 1
    gpus: float = 0


@contextmanager
def ray_running(address: str | None, size: Size) -> Iterator[int]:
    """Ray, started on this machine, or joined at an address; one that runs in this process already stays. How many
    workers there is room for.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: there is no room for the workers, or no Ray at the address.
    """
    if address is None and "ray" not in sys.modules:
        os.environ.update(LOCAL)
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray
    import ray.data

    ours = not ray.is_initialized()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    main = threading.current_thread() is threading.main_thread()
    if ours:
        options = {} if address else LOCAL_OPTIONS
        try:
            ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            first, where = str(error).strip().partition("\n")[0], f" at {address}" if address else ""
            raise ValueError(f"Ray does not start{where}: {first}") from error
    try:
        if main:
            for number, handler in handlers.items():  # Ray has put its own in place
                signal.signal(number, handler)
        yield _room(ray.cluster_resources(), size, grows=address is not None)
    finally:
        if ours:
            ray.shutdown()


def work(job: Job, blocks: Sequence[Block], workers: int, size: Size, tell: Callable[[int], object]) -> Iterator[Any]:
    """What workers say of each block (``Worker.do``), as blocks are done, in no order.

    Blocks lie in Ray's object store as descriptions; a worker has two at most waiting for it, so nothing piles up. An
    image is left out on which workers die again and again (``Ledger``).

    Args:
        tell: is called about once a second with how many images were done since the last call. Those of a block that is
            started again are told again.
    """
    import ray

    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = settings.enable_operator_progress_bars = False
    settings.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ledger: Any = ray.remote(num_cpus=0)(Ledger).remote()
    job_there = ray.put(job)  # for as long as a worker may start again
    rows = [{"block": block.to_json()} for block in blocks]
    said = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Actor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        fn_constructor_args=([job_there], ledger),
        num_cpus=size.cpus,
        num_gpus=size.gpus,
    )
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(ledger, tell, ended), daemon=True)
    teller.start()
    try:
        yield from said.iter_rows()
    finally:
        ended.set()
        teller.join()
        ray.kill(ledger)


class _Actor:
    """A worker as Ray Data calls it: one block a batch."""

    def __init__(self, job: Sequence[Any], ledger: Any) -> None:
        import ray

        self._worker = Worker(ray.get(job[0]), _FarLedger(ledger))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        (text,) = batch["block"]
        return {key: [value] for key, value in self._worker.do(Block.from_json(str(text))).items()}


@dataclass(frozen=True)
class _FarLedger:
    """The ledger of the run, which is an actor of its own."""

    actor: Any

    def begin(self, block: int) -> tuple[int, list[int]]:
        import ray

        return ray.get(self.actor.begin.remote(block))

    def at(self, block: int, image_id: int) -> None:
        import ray

        ray.get(self.actor.at.remote(block, image_id))  # it has to know before anything happens

    def add(self, images: int) -> None:
        self.actor.add.remote(images)


def _tell(ledger: Any, tell: Callable[[int], object], ended: threading.Event) -> None:
    import ray
    from ray.exceptions import RayError

    while True:
        over = ended.wait(ASK_SECONDS)
        with suppress(RayError):  # it is busy, or gone with the machine it was on
            tell(ray.get(ledger.take.remote(), timeout=ASK_SECONDS * 5))
        if over:
            return


def _room(there: Mapping[str, float], size: Size, *, grows: bool) -> int:
    """How many workers to start."""
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    fitting = [int(have / want) for have, want in ((cpus, size.cpus), (gpus, size.gpus)) if want]
    room = min(fitting, default=1)
    if size.workers is not None and (grows or size.workers <= room):
        return size.workers
    if room < 1 or size.workers is not None:
        asked = f"{size.workers or 1} workers of {size.cpus:g} cores and {size.gpus:g} GPUs"
        raise ValueError(f"no room for {asked}: there are {cpus:g} cores and {gpus:g} GPUs; ask for less")
    return room
