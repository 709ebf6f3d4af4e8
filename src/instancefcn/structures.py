"""Frozen values that cross rooms: labelled images, and the output of a network.

Boxes are half-open pixels, xyxy, unless a name ends in ``_xywh``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from instancefcn.geometry.rle import Rle

Track = Callable[[Sequence[Any]], Iterable[Any]]  # shows progress over what it is given


@dataclass(frozen=True)
class Instances:
    """The labelled objects of one image, in its own frame, in the order of their file."""

    ids: Int[np.ndarray, "n"]
    rles: list[Rle]
    boxes_xyxy: Float[np.ndarray, "n 4"]  # tight around the masks
    category_ids: Int[np.ndarray, "n"]
    crowd: Bool[np.ndarray, "n"]  # one mask over many objects: neither positive nor negative
    ignore: Bool[np.ndarray, "n"]  # marked as not to be judged: treated like crowds

    def __len__(self) -> int:
        return len(self.rles)

    @property
    def judged(self) -> Bool[np.ndarray, "n"]:
        """Whether each is to be found: no crowd, and not marked as not to be judged."""
        return ~(self.crowd | self.ignore)

    def divided(self) -> tuple[list[Rle], list[Rle]]:
        """Masks of those that are to be found, and of the others."""
        wanted, aside = (
            [rle for rle, judged in zip(self.rles, self.judged, strict=True) if judged == which]
            for which in (True, False)
        )
        return wanted, aside


@dataclass(frozen=True)
class Sample:
    """One image with its instances.

    ``partial``: objects may be unlabelled, so pixels that no instance covers are not known to be background.
    ``void``: pixels whose label is unknown (VOC's 255), which the mask loss leaves out.
    """

    image_id: int
    file_name: str
    image: UInt8[np.ndarray, "h w 3"]  # RGB, EXIF orientation applied
    instances: Instances
    partial: bool = False
    void: Rle | None = None


class WindowSize(NamedTuple):
    """One of the window sizes of a network."""

    stride: int  # image pixels per position
    m: int  # window side, in positions
    density: int = 1  # cells of the instance maps per position

    @property
    def side(self) -> int:
        """Of the window, in image pixels."""
        return self.stride * self.m


@dataclass(frozen=True)
class ScoreMaps:
    """The network's output for a batch at one stride and one window size.

    A position (y, x) stands for the window that spans ``[y - m // 2, y - m // 2 + m)`` positions (same for x). The
    instance-sensitive maps may be ``density`` times finer than the positions, and then a window spans ``density * m``
    of their cells.
    """

    instance: Float[Tensor, "b k2 dh dw"]  # logits, one map for each relative position, row-major
    objectness: Float[Tensor, "b h w"]  # logits, one for each window
    quality: Float[Tensor, "b h w"] | None  # logits of the IoU that the assembled mask is expected to have
    stride: int  # image pixels per position
    m: int  # window side, in positions
    density: int = 1  # cells of the instance maps per position
    # For a network that does not assemble: gives the mask logits of windows, [n, dm, dm], from (instance, image_index
    # [n], positions_yx [n, 2]), where ``instance`` holds features.
    mask_layer: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    @property
    def k(self) -> int:
        """Relative positions along one side of a window."""
        return math.isqrt(self.instance.shape[1])
