"""Proposals drawn over their image: a tint for every mask, a smooth line around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageFilter
from pycocotools import mask as coco_mask

from instancefcn.geometry.rle import decode
from instancefcn.structures import Proposals

FILL_OPACITY = 0.5
MAX_IOU = 0.4  # of masks that are drawn together

# Twenty colours, neighbours in rank far apart in hue; all of a brightness that shows on dark and on light photographs.
PALETTE: Int[np.ndarray, "20 3"] = np.array(
    [
        *[(255, 77, 77), (46, 160, 255), (255, 200, 0), (30, 200, 120), (190, 90, 255)],
        *[(255, 130, 30), (0, 210, 225), (255, 90, 175), (150, 215, 40), (105, 120, 255)],
        *[(230, 60, 130), (0, 180, 170), (240, 170, 90), (80, 205, 70), (225, 110, 240)],
        *[(205, 100, 60), (90, 190, 255), (220, 225, 70), (20, 150, 90), (155, 135, 225)],
    ]
)


def draw_proposals(
    image: UInt8[np.ndarray, "h w 3"], proposals: Proposals, top: int = 10
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy of the image with its best proposals drawn over it.

    Of proposals that show the same object only the best is drawn. Where masks lie over one another the smallest gives
    the tint, and every contour is drawn after every tint, so that none hides another.

    Args:
        image: RGB.
        proposals: of this image, best first.
        top: how many to draw at most.

    Raises:
        ValueError: the proposals are of an image of another size.
    """
    if image.shape[:2] != (proposals.height, proposals.width):
        raise ValueError(
            f"the image has {image.shape[0]} x {image.shape[1]} pixels (height x width), "
            f"but the proposals are of one with {proposals.height} x {proposals.width}"
        )
    canvas = image.copy()
    line_width = max(1.0, min(image.shape[:2]) / 240)
    chosen = choose_distinct(proposals, top)
    colours = {index: PALETTE[rank % len(PALETTE)] for rank, index in enumerate(chosen)}
    areas: dict[int, int] = {index: int(coco_mask.area(_for_coco(proposals, index))) for index in chosen}
    for index in sorted(chosen, key=lambda index: -areas[index]):  # smaller ones over larger ones
        _tint(canvas, image, proposals, index, colours[index], line_width)
    for index in reversed(chosen):
        _outline(canvas, proposals, index, colours[index], line_width)
    return canvas


def choose_distinct(proposals: Proposals, top: int, max_iou: float = MAX_IOU) -> list[int]:
    """Indices, best first, of at most ``top`` proposals of which no two masks have a larger IoU."""
    chosen: list[int] = []
    for index in range(len(proposals)):
        if len(chosen) == top:
            break
        better = [_for_coco(proposals, i) for i in chosen]
        ious = coco_mask.iou([_for_coco(proposals, index)], better, [0] * len(better))  # [] without any better
        if np.max(ious, initial=0) <= max_iou:
            chosen.append(index)
    return chosen


def _for_coco(proposals: Proposals, index: int) -> Any:
    return proposals.rles[index]  # pycocotools' own type of an RLE is private


def _tint(
    canvas: UInt8[np.ndarray, "h w 3"],
    image: UInt8[np.ndarray, "h w 3"],
    proposals: Proposals,
    index: int,
    colour: Int[np.ndarray, "3"],
    line_width: float,
) -> None:
    """Replace what the canvas shows inside a mask by the tinted image, in place."""
    rows, columns, coverage = _soft_mask(proposals, index, line_width)
    tinted = (1 - FILL_OPACITY) * image[rows, columns] + FILL_OPACITY * colour
    _blend(canvas[rows, columns], tinted, coverage)


def _outline(
    canvas: UInt8[np.ndarray, "h w 3"],
    proposals: Proposals,
    index: int,
    colour: Int[np.ndarray, "3"],
    line_width: float,
) -> None:
    """Draw a line along a mask's border, in place."""
    rows, columns, coverage = _soft_mask(proposals, index, line_width)
    # Across a straight border the blurred mask is the normal distribution function of the distance to the border, in
    # units of the blur; near the border it is linear, with the slope of the density at 0.
    distance = (coverage - 0.5) * np.sqrt(2 * np.pi) * line_width
    _blend(canvas[rows, columns], colour.astype(float), np.clip(line_width / 2 + 0.5 - np.abs(distance), 0, 1))


def _soft_mask(proposals: Proposals, index: int, blur: float) -> tuple[slice, slice, Float[np.ndarray, "ch cw"]]:
    """Where a mask lies (with a margin for its blur), and how much of each pixel there it covers, in [0, 1]."""
    margin = int(np.ceil(3 * blur))
    left, top, right, bottom = proposals.boxes_xyxy[index].astype(int).tolist()
    rows = slice(max(0, top - margin), min(proposals.height, bottom + margin))
    columns = slice(max(0, left - margin), min(proposals.width, right + margin))
    mask = Image.fromarray(decode(proposals.rles[index])[rows, columns])
    return rows, columns, np.asarray(mask.convert("L").filter(ImageFilter.GaussianBlur(blur))) / 255.0


def _blend(
    canvas: UInt8[np.ndarray, "h w 3"],
    colours: Float[np.ndarray, "#h #w 3"] | Float[np.ndarray, "3"],
    opacity: Float[np.ndarray, "h w"],
) -> None:
    canvas[:] = np.rint(canvas + opacity[..., None] * (colours - canvas)).astype(np.uint8)
