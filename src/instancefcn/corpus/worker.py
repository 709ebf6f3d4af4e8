"""A worker: proposes on the images of a block, and writes its files."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from instancefcn.corpus.blocks import Block
from instancefcn.corpus.ledger import MOST_STARTS, Told
from instancefcn.corpus.reading import DamagedError, Entry, Reader, printable_name
from instancefcn.corpus.tables import BlockTables
from instancefcn.data.images import EMBEDDED, read_image
from instancefcn.inference.checkpoint import Checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.inference.request import Request
from instancefcn.values import reason_of

TELL_SECONDS = 1.0  # between two words on how far a worker is

Pixels = np.ndarray | str  # of an image, or why it can't be read


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know. It can be sent to another machine.

    Attributes:
        device: see ``choose_device``.
        threads: that read images while the network works on one.
        about: what the files of results say about themselves.
    """

    reader: Reader
    tables: BlockTables
    checkpoint: Checkpoint
    request: Request
    device: str
    precision: Literal["auto", "fp32", "bf16"]
    threads: int
    about: dict[str, str]


class Worker:
    """Proposes on block after block.

    Args:
        ledger: is told how far it is.
    """

    def __init__(self, job: Job, ledger: Told) -> None:
        self.job, self.ledger = job, ledger
        checkpoint = job.checkpoint
        self.proposer = Proposer(
            checkpoint.build(),
            checkpoint.inference,
            device=job.device,
            precision=job.precision,
            rule=checkpoint.objects,
        )
        self._told, self._untold = time.monotonic(), 0

    def do(self, block: Block) -> dict[str, Any]:
        """Propose on a block and write its files. What can't be read becomes a row of its errors.

        Returns:
            ``block`` (its number), how many images are ``done`` and have ``failed``, how many results were ``found``,
            the ``process``, and the ``reason`` why the block is not done, if it is not: what holds its images can't be
            read now, or its files can't be written.
        """
        images: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        about = self.job.about | {"precision": self.proposer.precision}
        said = {"block": block.number, "done": 0, "failed": 0, "found": 0, "process": os.getpid(), "reason": ""}
        name = f"block {block.number}{block.name and f', {block.name}'}"
        starts, left_out = self.ledger.begin(block.number)
        if starts >= MOST_STARTS:
            return said | {"reason": f"{name}: {starts} workers died on it"}
        try:
            entries = self._one_by_one(block, left_out) if starts else self.job.reader.entries(block)
            pixels = ahead(entries, read_pixels, 0 if starts else self.job.threads)
            results = self._results(block, pixels, images, errors)
            said["found"] = self.job.tables.write(block.number, results, images, errors, about)
        except OSError as error:
            return said | {"reason": f"{name}: {reason_of(error, EMBEDDED)}"}
        finally:
            self._say(0, at_once=True)
        return said | {"done": len(images), "failed": len(errors)}

    def _one_by_one(self, block: Block, left_out: Sequence[int]) -> Iterator[Entry]:
        """The images of a block whose worker died, each told before it is taken; those to leave out can't be read."""
        for entry in self.job.reader.entries(block):
            if entry.image_id in left_out:
                yield replace(entry, content=_deadly)
                continue
            self.ledger.at(block.number, entry.image_id)
            yield entry

    def _results(
        self, block: Block, every: Iterable[tuple[Entry, Pixels]], images: list[Any], errors: list[Any]
    ) -> Iterator[dict[str, Any]]:
        """The results of a block; its images and errors are added to the lists meanwhile."""

        def fail(image_id: int | None, file_name: str, reason: str) -> None:
            errors.append({"image_id": image_id, "file_name": file_name, "reason": printable_name(reason)})

        try:
            for entry, pixels in every:
                self._say(1)
                if isinstance(pixels, str):
                    fail(entry.image_id, entry.file_name, pixels)
                    continue
                try:
                    found = self.job.request.answer(self.proposer, pixels)
                except (ValueError, OSError, MemoryError) as error:
                    fail(entry.image_id, entry.file_name, reason_of(error, EMBEDDED))
                    continue
                size = {"width": found.width, "height": found.height}
                images.append({"image_id": entry.image_id, "file_name": entry.file_name} | size)
                yield from found.to_coco(entry.image_id)
        except DamagedError as error:
            fail(None, block.name, str(error))

    def _say(self, count: int, *, at_once: bool = False) -> None:
        self._untold += count
        if self._untold and (at_once or time.monotonic() - self._told > TELL_SECONDS):
            self.ledger.add(self._untold)
            self._told, self._untold = time.monotonic(), 0


def read_pixels(entry: Entry) -> Pixels:
    """The pixels of an image, or why there are none."""
    try:
        content = entry.content()
        if not content:
            return "the file is empty"
        return read_image(content, entry.size)
    except (ValueError, OSError, MemoryError) as error:
        return reason_of(error, EMBEDDED)


def _deadly() -> bytes:
    raise ValueError("workers died on it, again and again: it takes more memory than there is, or breaks a decoder")


def ahead(entries: Iterable[Entry], read: Callable[[Entry], Pixels], threads: int) -> Iterator[tuple[Entry, Pixels]]:
    """Entries in their order, with what threads read of each; as many are read ahead as there are threads.
    Without threads, each is read when the one before has been dealt with.

    Raises:
        DamagedError: as the entries do, behind those that are sound.
        OSError: as the entries do.
    """
    waiting: deque[tuple[Entry, Future[Pixels]]] = deque()
    if not threads:
        yield from ((entry, read(entry)) for entry in entries)
        return
    damage = None
    with ThreadPoolExecutor(threads) as pool:
        try:
            for entry in entries:
                waiting.append((entry, pool.submit(read, entry)))
                if len(waiting) > threads:
                    first, future = waiting.popleft()
                    yield first, future.result()
        except DamagedError as error:  # what is read already is sound
            damage = error
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    if damage is not None:
        raise damage
