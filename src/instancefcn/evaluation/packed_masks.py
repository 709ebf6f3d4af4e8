"""The masks of an image's proposals in little memory: their codes, one after the other."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import overload

import numpy as np
from jaxtyping import Int

from instancefcn.geometry.rle import Rle


class PackedMasks(Sequence[Rle]):
    """A list of masks of one image, which makes an ``Rle`` where one is asked for.

    A mask takes the bytes of its code and eight more, where an ``Rle`` with its dict takes some 500.

    Args:
        height, width: of the image, in pixels.

    Example:
        >>> masks = PackedMasks(2, 3)
        >>> masks.append(b"06"), masks.append(b"6")
        (None, None)
        >>> len(masks), masks[0], len(masks[1:])
        (2, {'size': [2, 3], 'counts': b'06'}, 1)
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self._text, self._ends = bytearray(), array("q", [0])

    def append(self, counts: bytes) -> None:
        """Add a mask by its code, as ``Rle`` has it."""
        self._text += counts
        self._ends.append(len(self._text))

    def take(self, indices: Sequence[int] | Int[np.ndarray, "n"]) -> PackedMasks:
        """Some of the masks, in the order of the indices."""
        chosen = PackedMasks(self.height, self.width)
        for index in indices:
            chosen.append(self._counts(int(index)))
        return chosen

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Rle: ...
    @overload
    def __getitem__(self, index: slice) -> PackedMasks: ...
    def __getitem__(self, index: int | slice) -> Rle | PackedMasks:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        return {"size": [self.height, self.width], "counts": self._counts(range(len(self))[index])}

    def _counts(self, index: int) -> bytes:
        return bytes(self._text[self._ends[index] : self._ends[index + 1]])
