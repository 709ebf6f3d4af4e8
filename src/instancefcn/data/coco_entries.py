"""Entries of COCO's JSON, and the values in them: ids, sizes, marks and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from instancefcn.data.images import MAX_PIXELS
from instancefcn.data.polygons import as_numbers, box_of_points
from instancefcn.data.segmentations import region_of_box
from instancefcn.geometry.rle import Rle, union
from instancefcn.values import shown, whole_or_none

_NUMBERS = {int, float}


@dataclass(frozen=True)
class CocoImage:
    """A sound entry of ``images``."""

    place: str  # in the file: "images[3] (id 7)"
    image_id: int
    file_name: str  # with slashes, relative to the folder of images; "" where there is no folder
    path: Path | None
    size: tuple[int, int] | None  # (height, width); None where it is not stated


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """A sound entry of ``annotations``: its mask, or its box where boxes are asked for."""

    place: str
    annotation_id: int  # a free number where the file has none
    image_id: int
    category_id: int  # 0 where categories are not looked at
    region: Rle | Float[np.ndarray, "4"]  # a box is xywh
    stated_area: Any  # not checked; None where the file has none
    crowd: bool
    ignore: bool


def whole_number(value: Any, what: str) -> int:
    """Convert an id or a size; some tools write 160.0 or "160"."""
    number = whole_or_none(value)
    if number is None:
        raise ValueError(f"{what} {shown(value)} is no whole number")
    return number


def parse_box(bbox: Any) -> Float[np.ndarray, "4"]:
    """Box, xywh, of a COCO ``bbox``: four finite numbers, the last two not negative."""
    try:
        box_xywh = as_numbers(bbox, "bbox")
    except ValueError:
        box_xywh = np.zeros(0)
    if box_xywh.shape != (4,) or box_xywh[2:].min() < 0:
        raise ValueError(f"bbox {shown(bbox)} is not [x, y, width, height], finite and with width and height >= 0")
    return box_xywh


def corners(bbox: Any) -> list[float] | None:
    """Box, xyxy, of a COCO ``bbox``; None where it is none."""
    try:
        x, y, width, height = parse_box(bbox).tolist()
    except ValueError:
        return None
    return [x, y, x + width, y + height]


def is_box_inside(bbox: Any, height: int, width: int) -> bool:
    """A quick look: True for a box of one pixel or more inside the image, False where ``pixels_of_box`` has to say."""
    if type(bbox) is not list or len(bbox) != 4 or not _NUMBERS.issuperset(map(type, bbox)):
        return False
    x, y, w, h = bbox
    return x >= 0 and y >= 0 and w >= 1 and h >= 1 and x + w <= width and y + h <= height


def place_of(entry: Any, height: int, width: int) -> Rle | None:
    """Where an annotation lies whose mask can't be read, by its box, or by the points of its polygons."""
    region = region_of_box(corners(entry.get("bbox")), height, width)
    polygons = entry.get("segmentation")
    if region is not None or not isinstance(polygons, list):
        return region
    regions = [region_of_box(box_of_points(polygon), height, width) for polygon in polygons]
    return union([region for region in regions if region]) if regions and all(regions) else None


def same(first: CocoAnnotation, second: CocoAnnotation | None) -> bool:
    """Whether two annotations say the same."""
    if second is None or (first.image_id, first.category_id) != (second.image_id, second.category_id):
        return False
    one, other = first.region, second.region
    return type(one) is type(other) and bool(np.all(one == other))


def stated_name(entry: Any, folder: Path) -> str:
    """Name of an image in a folder. LVIS states none, but COCO's address, which ends in the split and the name."""
    name, address = entry.get("file_name"), entry.get("coco_url")
    if name is None and isinstance(address, str):
        *_, split, name = ("", *address.split("/"))
        if split and (folder / split).is_dir():
            name = f"{split}/{name}"
    if not isinstance(name, str) or not name:
        raise ValueError("has no file_name")
    return name


def stated_size(entry: Any) -> tuple[int, int] | None:
    """(height, width) of an image's entry; None if it has neither."""
    if entry.get("height") is None and entry.get("width") is None:
        return None
    height, width = (whole_or_none(entry.get(key)) for key in ("height", "width"))
    if height is None or width is None or min(height, width) < 1 or height * width > MAX_PIXELS:
        sides = " x ".join(shown(entry.get(key)) for key in ("width", "height"))
        raise ValueError(f"{sides} is no size of an image (up to {MAX_PIXELS / 1e6:.0f} megapixels)")
    return height, width


def flag(value: Any, what: str) -> bool:
    """A mark such as ``iscrowd``: 0 or 1, as a number, a boolean or text."""
    if type(value) is int and 0 <= value <= 1:  # as nearly all are
        return value == 1
    if isinstance(value, str):
        value = {"true": 1, "false": 0}.get(value.strip().lower(), value)
    number = 0 if value is None else int(value) if isinstance(value, bool) else whole_or_none(value)
    if number not in (0, 1):
        raise ValueError(f"{what} {shown(value)} is neither 0 nor 1")
    return bool(number)
