"""Frozen values that cross rooms.

Boxes are half-open pixels, xyxy, unless a name ends in ``_xywh``. An RLE is COCO's
``{"size": [h, w], "counts": bytes}``, column-major and compressed, as pycocotools reads and writes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from instancefcn.geometry.rle import Rle, decode


@dataclass(frozen=True)
class Instances:
    """The labelled objects of one image, in its own frame, in the order of the file they came from."""

    ids: Int[np.ndarray, "n"]
    rles: list[Rle]
    boxes_xyxy: Float[np.ndarray, "n 4"]  # tight around the masks
    category_ids: Int[np.ndarray, "n"]
    crowd: Bool[np.ndarray, "n"]  # one mask over many objects: neither positive nor negative
    ignore: Bool[np.ndarray, "n"]  # marked as not to be judged: the same

    def __len__(self) -> int:
        return len(self.rles)


@dataclass(frozen=True)
class Sample:
    """One image with its instances.

    ``partial`` says that objects may be unlabelled, so that what no instance covers is not known to be background.
    ``void`` marks pixels whose label is unknown (VOC's 255), to be left out of the mask loss.
    """

    image_id: int
    file_name: str
    image: UInt8[np.ndarray, "h w 3"]  # RGB, EXIF orientation applied
    instances: Instances
    partial: bool = False
    void: Rle | None = None


class WindowSize(NamedTuple):
    """One of the sizes of windows that a network has, whatever the image."""

    stride: int  # image pixels per position
    m: int  # window side, in positions
    density: int = 1  # cells of the instance maps per position


@dataclass(frozen=True)
class ScoreMaps:
    """What the network says of a batch at one stride and one window size.

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


AnyProposals = TypeVar("AnyProposals", bound="Proposals")


@dataclass(frozen=True)
class Proposals:
    """Class-agnostic masks of one image, best first, in the frame of that image."""

    rles: list[Rle]
    boxes_xyxy: Float[np.ndarray, "n 4"]  # tight around the masks
    scores: Float[np.ndarray, "n"]  # in [0, 1]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.rles)

    def masks(self) -> Bool[np.ndarray, "n h w"]:
        """Decode every mask at image size: n * height * width bytes, so select first where the image is large."""
        if not self.rles:
            return np.zeros((0, self.height, self.width), dtype=bool)
        return np.stack([decode(rle) for rle in self.rles])

    def first(self: AnyProposals, count: int) -> AnyProposals:
        """The best so many, or all where there are fewer."""
        kept = {name: of_each[:count] for name, of_each in vars(self).items() if name not in ("height", "width")}
        return replace(self, **kept)


@dataclass(frozen=True)
class Segments(Proposals):
    """Masks of one image with a category each, best first; a score is that of the category."""

    category_ids: Int[np.ndarray, "n"]  # as the data set numbers them

    def at_least(self, score: float) -> Segments:
        """The ones that score this or more."""
        return self.first(int(np.count_nonzero(self.scores >= score)))
