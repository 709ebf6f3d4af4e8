"""Labelled images that are arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped, UInt8

from instancefcn.data.images import AnyImage, to_rgb
from instancefcn.data.label_maps import split_label_map
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import UNNAMED, Labels, Source
from instancefcn.geometry.rle import encode


class ArraySource(Source):
    """Images, and the masks of the objects in each, for training and measuring without files.

    Args:
        images: each as ``data.images.to_rgb`` takes it.
        masks: of each image, booleans [n, h, w], one mask for each object, which may overlap; or a label map, whole
            numbers [h, w], where 0 is no object.
        name: what messages call these images.
        partial: objects may be unlabelled, so that what no mask covers is not known to be background.

    Raises:
        ValueError: images and masks do not belong together, a mask is empty, or a label negative; names the image.

    Example:
        >>> image = np.zeros((40, 60, 3), dtype=np.uint8)
        >>> labels = np.zeros((40, 60), dtype=int)
        >>> labels[5:20, 5:20], labels[10:30, 30:50] = 1, 2
        >>> source = ArraySource([image], [labels])
        >>> len(source), len(source[0].instances)
        (1, 2)
    """

    def __init__(
        self,
        images: Sequence[AnyImage],
        masks: Sequence[Shaped[np.ndarray, "*_"]],
        *,
        name: str = "arrays",
        partial: bool = False,
    ) -> None:
        if len(images) != len(masks):
            raise ValueError(f"{name}: {len(images)} images and masks of {len(masks)}")
        self.name, self.partial, self.categories, self.problems = name, partial, {1: UNNAMED}, ()
        self._pixels = [to_rgb(image) for image in images]
        self._labels = [self._labelled(index, of) for index, of in enumerate(masks)]

    def __len__(self) -> int:
        return len(self._pixels)

    def labels(self, index: int) -> Labels:
        return self._labels[index]

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return self._pixels[index]

    def _labelled(self, index: int, masks: Shaped[np.ndarray, "*_"]) -> Labels:
        height, width = self._pixels[index].shape[:2]
        where = f"{self.name}: image {index}"
        if masks.dtype.kind not in "biu" or masks.ndim != (3 if masks.dtype == bool else 2):
            raise ValueError(f"{where}: masks are bool [n, h, w] or whole numbers [h, w], not {_form(masks)}")
        if masks.shape[-2:] != (height, width):
            raise ValueError(f"{where} has {height} x {width} pixels (height x width), and masks {_form(masks)}")
        if masks.min(initial=0) < 0:
            raise ValueError(f"{where}: a label map numbers objects from 1, and has {masks.min()}")
        rles = [encode(mask) for mask in masks] if masks.dtype == bool else split_label_map(masks)[1]
        if masks.dtype == bool and not masks.any(axis=(1, 2)).all():
            raise ValueError(f"{where}: mask {int(masks.any(axis=(1, 2)).argmin())} is empty")
        count = len(rles)
        instances = to_instances(range(1, count + 1), rles, [1] * count)
        return Labels(index + 1, f"{index}.png", None, height, width, instances)


def _form(masks: Shaped[np.ndarray, "*_"]) -> str:
    return f"{masks.dtype} {list(masks.shape)}"
