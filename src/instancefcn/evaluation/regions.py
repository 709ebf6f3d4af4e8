"""Regions, masks or boxes, and what is measured of them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from instancefcn.evaluation.packed_masks import PackedMasks
from instancefcn.geometry import rle as rle_codec
from instancefcn.geometry.rle import Rle

IouType = Literal["segm", "bbox"]
Regions = list[Rle] | PackedMasks | Float[np.ndarray, "_ 4"]  # masks, or boxes as COCO has them: xywh


def select(regions: Regions, indices: Int[np.ndarray, "n"]) -> Regions:
    """Some of the regions of one image, in the order of the indices."""
    if isinstance(regions, PackedMasks):
        return regions.take(indices)
    return regions[indices] if isinstance(regions, np.ndarray) else [regions[index] for index in indices]


def areas(regions: Regions) -> Float[np.ndarray, "n"]:
    """Pixels of each region."""
    return regions[:, 2] * regions[:, 3] if isinstance(regions, np.ndarray) else rle_codec.areas(regions)


def to_json(regions: Regions) -> list[dict[str, Any]]:
    """Regions as COCO's JSON has them: a ``bbox`` or a ``segmentation`` each."""
    if isinstance(regions, np.ndarray):
        return [{"bbox": box} for box in regions.tolist()]
    return [{"segmentation": rle_codec.to_json(rle)} for rle in regions]
