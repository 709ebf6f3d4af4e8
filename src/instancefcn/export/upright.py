"""Labels of an image's stored pixels turned upright, for tools that show photographs so."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from instancefcn.data.images import turn_upright
from instancefcn.data.source import Labels
from instancefcn.files import size_and_time
from instancefcn.geometry.rle import Rle, decode, encode, tight_boxes


def upright(labels: Labels) -> Labels:
    """The labels in the frame of the upright image, as EXIF turns it.

    Raises:
        ValueError: the image can't be read.
    """
    if labels.path is None or not labels.path.exists():  # a member of a shard is no file
        return labels
    if labels.path.suffix.lower() == ".json":  # labelme embeds images as it shows them
        return labels
    turn = _turn(labels.path, (labels.height, labels.width), size_and_time(labels.path))
    if turn is None:
        return labels

    def turned(rle: Rle) -> Rle:
        return encode(np.array(Image.fromarray(decode(rle).astype(np.uint8)).transpose(turn)) > 0)

    rles = [turned(rle) for rle in labels.instances.rles]
    return replace(
        labels,
        height=labels.width,
        width=labels.height,
        instances=replace(labels.instances, rles=rles, boxes_xyxy=tight_boxes(rles)),
        void=None if labels.void is None else turned(labels.void),
        rejected=[turned(rle) for rle in labels.rejected],
    )


@lru_cache(maxsize=1)  # the writer of each format asks, and a PNG is decoded for it
def _turn(path: Path, size: tuple[int, int], stamp: tuple[int, int]) -> Image.Transpose | None:
    return turn_upright(path, size)
