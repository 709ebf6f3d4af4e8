"""The checkpoints that the page proposes by: loaded in the background, while the page is there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from instancefcn.inference.proposer import Proposer

WARM_UP_SIDE = 96  # pixels: an image that lets loops be compiled before the first photograph comes


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
        self.ready = False  # whether all are loaded
        self._opened, self._closed = list(opened), False
        self._loaded: list[Proposer] = []

    def close(self) -> None:
        """Load no further model."""
        self._closed = True

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
        self.stage, self.ready = "Ready", True

    def load_and_note(self, failed: Callable[[], None]) -> None:
        """Load them; where they can't be, note why, and call ``failed``."""
        try:
            self.load()
        except (ValueError, OSError, RuntimeError) as error:
            self.error = self.stage = f"the network can't be loaded: {error}"
            if not self._closed:
                failed()

    def get(self, index: int) -> Proposer:
        """One of them, after ``load``.

        Raises:
            LookupError: there is no such model.
            RuntimeError: they could not be loaded; says why.
        """
        if self.error is not None:
            raise RuntimeError(self.error)
        if not 0 <= index < len(self._loaded):
            raise LookupError(f"there is no model {index}")
        return self._loaded[index]
