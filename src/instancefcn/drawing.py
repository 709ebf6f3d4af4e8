"""Masks drawn over their image: a tint for every mask, a smooth line around it, a name beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from instancefcn.compiled import compiled
from instancefcn.geometry.rle import Rle, area, ious
from instancefcn.geometry.runs import near_box

FILL_OPACITY = 0.5
FRACTIONS: Float[np.ndarray, "256"] = np.arange(256) / 255  # of a pixel that a blurred mask covers, by its brightness
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
    texts = [" ".join(text.split()) for text in texts]  # in one line
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
    place, coverage = _blurred(rle, line_width)
    _blend(canvas[place], image[place], colour, opacity, FRACTIONS, coverage)


def outline(canvas: UInt8[np.ndarray, "h w 3"], rle: Rle, colour: Int[np.ndarray, "3"], line_width: float) -> None:
    """Draw a line along a mask's border, in place."""
    place, coverage = _blurred(rle, line_width)
    # Across a straight border the blurred mask is the normal distribution function of the distance to the border, in
    # units of the blur; near the border it is linear, with the slope of the density at 0.
    distances = (FRACTIONS - 0.5) * np.sqrt(2 * np.pi) * line_width
    opacities = np.clip(line_width / 2 + 0.5 - np.abs(distances), 0, 1)
    _blend(canvas[place], canvas[place], colour, 1.0, opacities, coverage)


def _blurred(rle: Rle, blur: float) -> tuple[tuple[slice, slice], UInt8[np.ndarray, "h w"]]:
    """A blurred mask, and the rows and columns of the image that it lies on."""
    rows, columns, mask = near_box(rle, int(np.ceil(3 * blur)))
    return (rows, columns), np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.GaussianBlur(blur)))


@compiled
def _blend(
    canvas: UInt8[np.ndarray, "h w 3"],
    image: UInt8[np.ndarray, "h w 3"],
    colour: Int[np.ndarray, "3"],
    tint: float,
    opacities: Float[np.ndarray, "256"],
    coverage: UInt8[np.ndarray, "h w"],
) -> None:
    """Lay the tinted image over the canvas, each pixel with the opacity for its brightness in the blurred mask."""
    for row in range(coverage.shape[0]):
        for column in range(coverage.shape[1]):
            opacity = opacities[coverage[row, column]]
            if opacity > 0:
                for channel in range(3):
                    tinted = (1 - tint) * image[row, column, channel] + tint * colour[channel]
                    below = canvas[row, column, channel]
                    canvas[row, column, channel] = np.rint(below + opacity * (tinted - below))


def encoded(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    """The file of a picture; the options are those of Pillow's ``save``."""
    content = io.BytesIO()
    picture.save(content, format=file_format, **options)
    return content.getvalue()
