"""Masks drawn over their image: a tint for every mask, a smooth line around it, a name beside it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from instancefcn.geometry.rle import Rle, area, ious
from instancefcn.geometry.runs import near_box

FILL_OPACITY = 0.5
STRIP = 2**20  # pixels that are blended at a time
MAX_IOU = 0.4  # of masks that are drawn together

# Twenty colours, of a brightness that shows on dark and on light photographs. First the seven of Okabe and Ito, "Color
# Universal Design" (2008); then always the one that lies farthest from all before, as seen with either kind of
# red-green blindness, with blue blindness (Machado et al., 2009), and with all colours.
PALETTE: Int[np.ndarray, "20 3"] = np.array(
    [
        *[(230, 159, 0), (0, 114, 178), (240, 228, 66), (213, 94, 0), (86, 180, 233)],
        *[(204, 121, 167), (0, 158, 115), (153, 51, 255), (187, 238, 153), (0, 255, 221)],
        *[(221, 0, 68), (153, 119, 255), (204, 170, 85), (153, 255, 119), (136, 204, 153)],
        *[(153, 85, 136), (221, 0, 187), (68, 119, 68), (119, 170, 102), (153, 153, 255)],
    ]
)


def draw_distinct(
    image: UInt8[np.ndarray, "h w 3"], rles: Sequence[Rle], top: int, max_iou: float = MAX_IOU
) -> tuple[UInt8[np.ndarray, "h w 3"], list[int]]:
    """Draw the best masks over a copy of an image; of masks that show the same object only the best.

    Where masks lie over one another the smallest gives the tint, and every contour is drawn after every tint, so that
    none hides another.

    Args:
        image: RGB.
        rles: of this image, best first.
        top: how many to draw at most.
        max_iou: of two masks with a larger IoU only the better is drawn; 1 draws every one.

    Returns:
        The picture, and the indices of the masks that were drawn, best first.
    """
    canvas = image.copy()
    drawn = choose_distinct(rles, top, max_iou) if max_iou < 1 else list(range(min(top, len(rles))))
    colours = dict(zip(drawn, cycle(PALETTE), strict=False))
    line_width = default_line_width(*image.shape[:2])
    for index in sorted(drawn, key=lambda index: -area(rles[index])):  # smaller ones over larger ones
        tint(canvas, image, rles[index], colours[index], line_width)
    for index in reversed(drawn):
        outline(canvas, rles[index], colours[index], line_width)
    return canvas, drawn


def write_names(
    image: UInt8[np.ndarray, "h w 3"], boxes_xyxy: Float[np.ndarray, "n 4"], texts: Sequence[str]
) -> UInt8[np.ndarray, "h w 3"]:
    """Write a text at the upper left corner of each box, on a ground of the mask's colour.

    Args:
        boxes_xyxy: of the masks that ``draw_distinct`` drew, best first.
    """
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    size = max(11, min(canvas.size) / 28)
    font = ImageFont.load_default(size)
    for rank in reversed(range(len(texts))):  # the best one's text comes last, over all others
        left, top_edge = boxes_xyxy[rank, :2].tolist()
        width, height = draw.textlength(texts[rank], font) + 0.6 * size, 1.4 * size
        x = min(left, max(0, canvas.width - width))
        y = min(max(0, top_edge - height), max(0, canvas.height - height))
        draw.rectangle((x, y, x + width, y + height), fill=tuple(PALETTE[rank % len(PALETTE)].tolist()))
        draw.text((x + 0.3 * size, y + 0.1 * size), texts[rank], fill=(0, 0, 0), font=font)
    return np.array(canvas)


def default_line_width(height: int, width: int) -> float:
    """Width, in pixels, of a line that shows on a picture of this size and hides little."""
    return max(1.0, min(height, width) / 240)


def choose_distinct(rles: Sequence[Rle], top: int, max_iou: float = MAX_IOU) -> list[int]:
    """Indices, best first, of at most ``top`` masks of which no two have a larger IoU."""
    chosen: list[int] = []
    for index, rle in enumerate(rles):
        if len(chosen) == top:
            break
        if ious([rle], [rles[other] for other in chosen]).max(initial=0) <= max_iou:
            chosen.append(index)
    return chosen


def tint(
    canvas: UInt8[np.ndarray, "h w 3"],
    image: UInt8[np.ndarray, "h w 3"],
    rle: Rle,
    colour: Int[np.ndarray, "3"],
    line_width: float,
    opacity: float = FILL_OPACITY,
) -> None:
    """Draw the tinted image inside a mask, in place."""
    for place, coverage in _strips(rle, line_width):
        _blend(canvas[place], (1 - opacity) * image[place] + opacity * colour, coverage)


def outline(canvas: UInt8[np.ndarray, "h w 3"], rle: Rle, colour: Int[np.ndarray, "3"], line_width: float) -> None:
    """Draw a line along a mask's border, in place."""
    for place, coverage in _strips(rle, line_width):
        # Across a straight border the blurred mask is the normal distribution function of the distance to the border,
        # in units of the blur; near the border it is linear, with the slope of the density at 0.
        distance = (coverage - 0.5) * np.sqrt(2 * np.pi) * line_width
        _blend(canvas[place], colour.astype(float), np.clip(line_width / 2 + 0.5 - np.abs(distance), 0, 1))


def _strips(rle: Rle, blur: float) -> Iterator[tuple[tuple[slice, slice], Float[np.ndarray, "_ cw"]]]:
    """Places of a blurred mask, some rows at a time, with the fraction of each pixel that it covers.

    Colours are blended as fractions, which take 24 times the memory of a mask.
    """
    rows, columns, mask = near_box(rle, int(np.ceil(3 * blur)))
    coverage = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.GaussianBlur(blur)))
    step = max(1, STRIP // max(1, coverage.shape[1]))
    for first in range(0, len(coverage), step):
        strip = coverage[first : first + step]
        yield (slice(rows.start + first, rows.start + first + len(strip)), columns), strip / 255.0


def _blend(
    canvas: UInt8[np.ndarray, "h w 3"],
    colours: Float[np.ndarray, "#h #w 3"] | Float[np.ndarray, "3"],
    opacity: Float[np.ndarray, "h w"],
) -> None:
    canvas[:] = np.rint(canvas + opacity[..., None] * (colours - canvas)).astype(np.uint8)


def encoded(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    """The file of a picture; the options are those of Pillow's ``save``."""
    content = io.BytesIO()
    picture.save(content, format=file_format, **options)
    return content.getvalue()
