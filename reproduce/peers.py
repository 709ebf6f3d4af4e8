"""Selective search (Uijlings et al., IJCV 2013) through OpenCV's contributed modules: boxes, no masks."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

import numpy as np
from jaxtyping import UInt8

from reproduce.recall import MAX_PROPOSALS

MIN_SIDE = 3  # pixels; a smaller image makes no segments


def selective_search(
    image: UInt8[np.ndarray, "h w 3"], image_id: int, limit: int = MAX_PROPOSALS
) -> list[dict[str, Any]]:
    """COCO results with boxes alone, in the order in which the fast mode of OpenCV ranks them.

    Raises:
        ModuleNotFoundError: OpenCV is not installed, or not with its contributed modules.
    """
    cv2 = opencv()
    if min(image.shape[:2]) < MIN_SIDE:
        return []
    _seed_c_library(0)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image[..., ::-1]))
    search.switchToSelectiveSearchFast()
    boxes_xywh = np.asarray(search.process())[:limit].astype(float).tolist()
    return [
        {"image_id": image_id, "category_id": 1, "bbox": box, "score": 1 - rank / limit}
        for rank, box in enumerate(boxes_xywh)
    ]


def opencv() -> Any:
    """OpenCV, with its contributed modules.

    Raises:
        ModuleNotFoundError: it is not installed, or not with them.
    """
    import cv2  # pyright: ignore[reportMissingImports]

    if not hasattr(cv2, "ximgproc"):
        raise ModuleNotFoundError("OpenCV is installed without ximgproc", name="cv2")
    return cv2


def _seed_c_library(seed: int) -> None:
    """Ranks are drawn with C's ``rand``, which OpenCV's own seed does not reach; elsewhere they vary."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).srand(seed)
