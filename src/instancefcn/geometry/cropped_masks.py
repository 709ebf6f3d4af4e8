"""Masks of one image, each cut to its own box: memory grows with the objects, not with objects times image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


@dataclass(frozen=True)
class CroppedMasks:
    """Masks of 0 and 1, none of them empty, in the frame of an image.

    Example:
        >>> masks = CroppedMasks.of(np.array([[[0, 1, 1], [0, 1, 0]]], dtype=np.uint8))
        >>> masks.boxes_xyxy.tolist(), masks.crops[0].tolist(), masks.whole().tolist()
        ([[1, 0, 3, 2]], [[1, 1], [1, 0]], [[[0, 1, 1], [0, 1, 0]]])
    """

    crops: list[UInt8[np.ndarray, "_ _"]]  # inside the boxes
    boxes_xyxy: Int[np.ndarray, "g 4"]  # tight, half-open pixels
    height: int  # of the image, in pixels, as ``width``
    width: int

    @classmethod
    def of(cls, masks: UInt8[np.ndarray, "g h w"]) -> CroppedMasks:
        """Cut masks of the image's size; those that are empty are left out."""
        return cls.tight(list(masks), np.zeros((len(masks), 2), dtype=np.int64), *masks.shape[1:])[0]

    @classmethod
    def tight(
        cls, crops: Sequence[UInt8[np.ndarray, "_ _"]], corners_xy: Int[np.ndarray, "n 2"], height: int, width: int
    ) -> tuple[CroppedMasks, Int[np.ndarray, "g"]]:
        """Cut crops to what they hold.

        Args:
            crops: any part of each mask that holds all its foreground.
            corners_xy: place of each crop's first pixel in the image.

        Returns:
            The masks, and the indices of the crops that were not empty.
        """
        kept: list[int] = []
        cut: list[np.ndarray] = []
        boxes: list[tuple[int, int, int, int]] = []
        for index, (crop, (x, y)) in enumerate(zip(crops, corners_xy.tolist(), strict=True)):
            rows, columns = np.flatnonzero(crop.any(1)), np.flatnonzero(crop.any(0))
            if len(rows):
                top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
                kept.append(index)
                cut.append(crop[top:bottom, left:right])
                boxes.append((x + left, y + top, x + right, y + bottom))
        return cls(cut, np.array(boxes, dtype=np.int64).reshape(-1, 4), height, width), np.array(kept, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, chosen: slice | Int[np.ndarray, "k"] | Bool[np.ndarray, "g"]) -> CroppedMasks:
        """Some of them, by a slice, by indices, or by a boolean for each."""
        indices = np.arange(len(self))[chosen]
        return replace(self, crops=[self.crops[index] for index in indices], boxes_xyxy=self.boxes_xyxy[indices])

    def joined(self, other: CroppedMasks) -> CroppedMasks:
        """These, then the masks of another image of the same size."""
        boxes = np.concatenate([self.boxes_xyxy, other.boxes_xyxy])
        return replace(self, crops=[*self.crops, *other.crops], boxes_xyxy=boxes)

    def areas(self) -> Float[np.ndarray, "g"]:
        """Pixels of each mask."""
        return np.array([np.count_nonzero(crop) for crop in self.crops], dtype=np.float32)

    def union(self) -> Bool[np.ndarray, "h w"]:
        """Pixels that any of the masks covers."""
        covered = np.zeros((self.height, self.width), dtype=bool)
        for crop, (left, top, right, bottom) in zip(self.crops, self.boxes_xyxy.tolist(), strict=True):
            covered[top:bottom, left:right] |= crop.view(bool)
        return covered

    def without(self, covered: Bool[np.ndarray, "h w"]) -> tuple[CroppedMasks, Int[np.ndarray, "k"]]:
        """What is left of the masks outside some pixels, and the indices of those of which something is."""
        left = [
            crop * ~covered[top:bottom, left:right]
            for crop, (left, top, right, bottom) in zip(self.crops, self.boxes_xyxy.tolist(), strict=True)
        ]
        return CroppedMasks.tight(left, self.boxes_xyxy[:, :2], self.height, self.width)

    def flipped(self) -> CroppedMasks:
        """Mirrored left to right."""
        left, top, right, bottom = self.boxes_xyxy.T
        boxes = np.stack([self.width - right, top, self.width - left, bottom], axis=1)
        return replace(self, crops=[crop[:, ::-1] for crop in self.crops], boxes_xyxy=boxes)

    def turned(self, turns: int) -> CroppedMasks:
        """Turned by right angles, counter-clockwise, as ``numpy.rot90`` turns."""
        masks = self
        for _ in range(turns % 4):
            left, top, right, bottom = masks.boxes_xyxy.T
            boxes = np.stack([top, masks.width - right, bottom, masks.width - left], axis=1)
            masks = CroppedMasks([np.rot90(crop) for crop in masks.crops], boxes, masks.width, masks.height)
        return masks

    def whole(self) -> UInt8[np.ndarray, "g h w"]:
        """The masks at the image's size: g * h * w bytes, so select first."""
        masks = np.zeros((len(self), self.height, self.width), dtype=np.uint8)
        for mask, crop, (left, top, right, bottom) in zip(masks, self.crops, self.boxes_xyxy.tolist(), strict=True):
            mask[top:bottom, left:right] = crop
        return masks
