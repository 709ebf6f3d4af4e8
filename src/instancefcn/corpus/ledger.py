"""What workers tell of their blocks, so that an image on which they die again and again is found and left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Protocol, runtime_checkable

DEATHS = 2  # of workers that were at one image alone, until it is left out
MOST_STARTS = 20  # of a block, until it is given up


@runtime_checkable
class Told(Protocol):
    """Whom a worker tells."""

    def begin(self, block: int) -> tuple[int, list[int]]: ...
    def at(self, block: int, image_id: int) -> None: ...
    def add(self, images: int) -> None: ...


class Ledger:
    """How many images were done, and at which ones workers died.

    A worker may be killed for no fault of an image: the machine is taken away, or the memory is. So a block that starts
    again is gone through with care, one image at a time, each of which is told before; only one that ``DEATHS`` workers
    were at when they died is left out.

    Example:
        >>> ledger = Ledger()
        >>> for _ in range(3):  # workers die at image 7
        ...     start, left_out = ledger.begin(0)
        ...     ledger.at(0, 7)
        >>> ledger.begin(0)
        (3, [7])
    """

    def __init__(self) -> None:
        self._images = 0
        self._starts: Counter[int] = Counter()
        self._at: dict[int, int] = {}
        self._deaths: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def begin(self, block: int) -> tuple[int, list[int]]:
        """A block starts: how many times it did before, and ids of the images to leave out."""
        before, at = self._starts[block], self._at.pop(block, None)
        self._starts[block] += 1
        if at is not None and before > 1:  # the first time, several images were at work
            self._deaths[block][at] += 1
        return before, [image_id for image_id, deaths in self._deaths[block].items() if deaths >= DEATHS]

    def at(self, block: int, image_id: int) -> None:
        """A worker takes an image of a block."""
        self._at[block] = image_id

    def add(self, images: int) -> None:
        """Images were done since the last word."""
        self._images += images

    def take(self) -> int:
        """How many images were done since the last call."""
        images, self._images = self._images, 0
        return images
