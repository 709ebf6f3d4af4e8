"""COCO's JSON in little memory: of each entry the values that are read, and segmentations as the text they are.

As Python's lists and numbers a large file would take ten times its own size.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Int64

NOTHING = msgspec.Raw(b"null")


class ImageEntry(msgspec.Struct, gc=False):
    """An item of ``images``, read as a dict is."""

    id: Any = None
    file_name: Any = None
    coco_url: Any = None
    width: Any = None
    height: Any = None

    def get(self, key: str) -> Any:
        return getattr(self, key)


class AnnotationEntry(msgspec.Struct, gc=False):
    """An item of ``annotations``, read as a dict is."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    segmentation: msgspec.Raw = NOTHING
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None
    ignore: Any = None

    def get(self, key: str) -> Any:
        return json.loads(bytes(self.segmentation)) if key == "segmentation" else getattr(self, key)

    def let_go(self, *, read: bool) -> None:
        """Hold no part of the file any more: nothing of the segmentation where it has been ``read``, else a copy."""
        self.segmentation = NOTHING if read else self.segmentation.copy()


class _Table(msgspec.Struct):
    images: list[ImageEntry]
    annotations: list[AnnotationEntry]
    categories: Any = None


Entry = dict | ImageEntry | AnnotationEntry


def parse_table(content: bytes) -> dict[str, Any] | None:
    """The lists of a COCO file; None where it is not of COCO's form, so that somebody says what is wrong with it."""
    try:
        table = msgspec.json.decode(content, type=_Table)
    except (msgspec.DecodeError, RecursionError):
        return None
    return {"images": table.images, "annotations": table.annotations, "categories": table.categories}


def texts_and_sizes(
    entries: list[AnnotationEntry], sizes: dict[int, tuple[int, int]]
) -> tuple[list[Any], Int64[np.ndarray, "n 2"]]:
    """The text of each annotation's segmentation, and the size of its image; no text where there is neither.

    Args:
        sizes: height and width of the images that are asked for, by id.
    """
    texts: list[Any] = []
    found = np.zeros((len(entries), 2), dtype=np.int64)
    for index, entry in enumerate(entries):
        size = sizes.get(entry.image_id) if type(entry.image_id) is int else None
        texts.append(entry.segmentation if size else b"")
        if size:
            found[index] = size
    return texts, found
