"""The sizes of images that an annotation file leaves out, from the masks of results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from instancefcn.values import whole_or_none

KEYS = ("height", "width")


def with_sizes(coco: Any, results: Iterable[Any]) -> Any:
    """Annotations whose images have the sizes that results state; as they are where none is missing.

    Proposing reads the photographs and needs no sizes, so files without them are taken there. Here there are no
    photographs, but each mask of the results says the size of its image.

    Args:
        coco: what a COCO annotation file holds.
        results: COCO results; read as far as needed, and not checked.

    Example:
        >>> mask = {"size": [20, 30], "counts": ""}
        >>> with_sizes({"images": [{"id": 1}]}, [{"image_id": 1, "segmentation": mask}])["images"]
        [{'id': 1, 'height': 20, 'width': 30}]
    """
    images = coco.get("images") if isinstance(coco, dict) else None
    if not isinstance(images, list):
        return coco
    missing = {_id(image) for image in images if isinstance(image, dict) and not _has_size(image)}
    stated: dict[int | None, dict[str, Any]] = {}
    for result in results if missing else ():
        mask = result.get("segmentation") if isinstance(result, dict) else None
        size = mask.get("size") if isinstance(mask, dict) else None
        if isinstance(size, list) and len(size) == 2 and (key := whole_or_none(result.get("image_id"))) in missing:
            stated[key] = dict(zip(KEYS, size, strict=True))
            if len(stated) == len(missing):
                break
    if not stated:
        return coco
    added = [image | stated.get(_id(image), {}) if isinstance(image, dict) else image for image in images]
    return coco | {"images": added}


def _id(image: dict[str, Any]) -> int | None:
    return whole_or_none(image.get("id"))


def _has_size(image: dict[str, Any]) -> bool:
    return all(image.get(key) is not None for key in KEYS)
