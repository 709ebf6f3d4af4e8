"""Proposals drawn over their image: a tint for every mask, a smooth line around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageFilter

from instancefcn.geometry.rle import Rle, area, decode, ious, tight_boxes
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
    chosen = [proposals.rles[index] for index in choose_distinct(proposals, top)]
    draw_masks(canvas, image, chosen, PALETTE[np.arange(len(chosen)) % len(PALETTE)])
    return canvas


def draw_masks(
    canvas: UInt8[np.ndarray, "h w 3"],
    image: UInt8[np.ndarray, "h w 3"],
    rles: Sequence[Rle],
    colours: Int[np.ndarray, "n 3"],
) -> None:
    """Draw masks, best first, in place: the image inside them, tinted, and a line around each.

    Args:
        canvas: stays as it is where no mask lies.
    """
    line_width = default_line_width(*image.shape[:2])
    for index in sorted(range(len(rles)), key=lambda index: -area(rles[index])):  # smaller ones over larger ones
        tint(canvas, image, rles[index], colours[index], line_width)
    for index in reversed(range(len(rles))):
        outline(canvas, rles[index], colours[index], line_width)


def default_line_width(height: int, width: int) -> float:
    """Pixels of a line that shows on a picture of this size, and hides little."""
    return max(1.0, min(height, width) / 240)


def choose_distinct(proposals: Proposals, top: int, max_iou: float = MAX_IOU) -> list[int]:
    """Indices, best first, of at most ``top`` proposals of which no two masks have a larger IoU."""
    chosen: list[int] = []
    for index in range(len(proposals)):
        if len(chosen) == top:
            break
        if largest_iou(proposals.rles[index], [proposals.rles[i] for i in chosen]) <= max_iou:
            chosen.append(index)
    return chosen


def largest_iou(rle: Rle, others: Sequence[Rle]) -> float:
    """IoU of a mask with that of others which it overlaps most; 0 without others."""
    return float(ious([rle], others).max(initial=0))


def tint(
    canvas: UInt8[np.ndarray, "h w 3"],
    image: UInt8[np.ndarray, "h w 3"],
    rle: Rle,
    colour: Int[np.ndarray, "3"],
    line_width: float,
    opacity: float = FILL_OPACITY,
) -> None:
    """Replace what the canvas shows inside a mask by the tinted image, in place."""
    rows, columns, coverage = _soft_mask(rle, line_width)
    tinted = (1 - opacity) * image[rows, columns] + opacity * colour
    _blend(canvas[rows, columns], tinted, coverage)


def outline(
    canvas: UInt8[np.ndarray, "h w 3"],
    rle: Rle,
    colour: Int[np.ndarray, "3"],
    line_width: float,
) -> None:
    """Draw a line along a mask's border, in place."""
    rows, columns, coverage = _soft_mask(rle, line_width)
    # Across a straight border the blurred mask is the normal distribution function of the distance to the border, in
    # units of the blur; near the border it is linear, with the slope of the density at 0.
    distance = (coverage - 0.5) * np.sqrt(2 * np.pi) * line_width
    _blend(canvas[rows, columns], colour.astype(float), np.clip(line_width / 2 + 0.5 - np.abs(distance), 0, 1))


def _soft_mask(rle: Rle, blur: float) -> tuple[slice, slice, Float[np.ndarray, "ch cw"]]:
    """Where a mask lies (with a margin for its blur), and how much of each pixel there it covers, in [0, 1]."""
    margin = int(np.ceil(3 * blur))
    height, width = rle["size"]
    left, top, right, bottom = tight_boxes([rle])[0].astype(int).tolist()
    rows = slice(max(0, top - margin), min(height, bottom + margin))
    columns = slice(max(0, left - margin), min(width, right + margin))
    mask = Image.fromarray(decode(rle)[rows, columns])
    return rows, columns, np.asarray(mask.convert("L").filter(ImageFilter.GaussianBlur(blur))) / 255.0


def _blend(
    canvas: UInt8[np.ndarray, "h w 3"],
    colours: Float[np.ndarray, "#h #w 3"] | Float[np.ndarray, "3"],
    opacity: Float[np.ndarray, "h w"],
) -> None:
    canvas[:] = np.rint(canvas + opacity[..., None] * (colours - canvas)).astype(np.uint8)
