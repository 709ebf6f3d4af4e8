"""The checkpoints that the page proposes by: loaded in the background, while the page is there already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch

from instancefcn.inference.proposer import Proposer

WARM_UP_SIDE = 96  # pixels: an image that lets loops be compiled before the first photograph comes

SIDE_OF_PRODUCT = 400  # of matrices whose product is shared among threads


class Models:
    """All models of a server: the one in use and, to compare with, a second one.

    Args:
        opened: for each model its name and the function that loads it.

    Example: ``Models([("shipped", Proposer.from_checkpoint)]).load()``.
    """

    def __init__(self, opened: Sequence[tuple[str, Callable[[], Proposer]]]) -> None:
        self.names = [name for name, _ in opened]
        self.stage = "Waiting to load the network"  # what is going on, for the page
        self.error: str | None = None
        self._opened, self._done = list(opened), threading.Event()
        self._loaded: list[Proposer] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether all are loaded."""
        return self._done.is_set() and self.error is None

    def start(self, failed: Callable[[], None] = lambda: None) -> None:
        """Load them in a thread of their own; ``failed`` is called where they can't be. ``close`` ends it.

        Call it from the main thread.
        """
        # Where torch's own threads are first asked for by another thread than the main one, every image takes several
        # times as long, in whichever thread.
        torch.rand(SIDE_OF_PRODUCT, SIDE_OF_PRODUCT).mm(torch.rand(SIDE_OF_PRODUCT, SIDE_OF_PRODUCT))
        self._thread = threading.Thread(target=self._load_and_note, args=(failed,), name="models")
        self._thread.start()

    def close(self) -> None:
        """Wait for the thread; it loads no further model."""
        self._closed = True
        if self._thread is not None:
            self._thread.join()

    def load(self) -> None:
        """Load them here and now.

        Raises:
            ValueError: a file is no checkpoint.
        """
        for name, open_proposer in self._opened:
            if self._closed:
                raise RuntimeError("the server ends")
            self.stage = f"Loading {name}"
            self._loaded.append(open_proposer())
        self.stage = "Making the first masks (after an installation this compiles code, once)"
        grey = np.full((WARM_UP_SIDE, WARM_UP_SIDE, 3), 128, dtype=np.uint8)
        for proposer in self._loaded:
            proposer(grey, max_proposals=5)
        self.stage = "Ready"
        self._done.set()

    def get(self, index: int) -> Proposer:
        """One of them; waits until all are loaded.

        Raises:
            LookupError: there is no such model.
            RuntimeError: they could not be loaded; says why.
        """
        self._done.wait()
        if self.error is not None:
            raise RuntimeError(self.error)
        if not 0 <= index < len(self._loaded):
            raise LookupError(f"there is no model {index}")
        return self._loaded[index]

    def _load_and_note(self, failed: Callable[[], None]) -> None:
        try:
            self.load()
        except (ValueError, OSError, RuntimeError) as error:
            self.error = self.stage = f"the network can't be loaded: {error}"
            self._done.set()
            if not self._closed:
                failed()
