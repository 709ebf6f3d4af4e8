"""Panels of a figure: maps as colours, pictures of one size, text above them, rows and columns on white."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

GAP = 12  # pixels between panels
TEXT_COLOUR = (40, 48, 60)
FRAME_COLOUR = (190, 196, 204)
# Probabilities 0, 1/3, 2/3, 1: white to the recall curves' darkest blue, each step darker than the last.
_MAP_COLOURS: Int[np.ndarray, "4 3"] = np.array([(255, 255, 255), (168, 204, 234), (42, 111, 176), (12, 47, 87)])

Picture = UInt8[np.ndarray, "_ _ 3"]


def colour_map(probabilities: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Each value, in [0, 1], as a colour: 0 is white, 1 dark blue."""
    stops = np.linspace(0, 1, len(_MAP_COLOURS))
    channels = [np.interp(probabilities, stops, _MAP_COLOURS[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def resize_map(
    values: Float[np.ndarray, "h w"], extent: tuple[float, float], size: tuple[int, int]
) -> Float[np.ndarray, "_ _"]:
    """The upper left part of a map at the size of a panel; cells that grow stay sharp squares, others are averaged.

    Args:
        extent: (height, width) of the part, in cells; fractions of cells count.
        size: (height, width) in pixels.
    """
    height, width = values.shape
    box = (0, 0, min(extent[1], width), min(extent[0], height))
    picture = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BOX, box=box), dtype=np.float32)


def fit(picture: Picture, longer_side: int) -> Picture:
    """The picture, scaled so that its longer side has this many pixels."""
    height, width = picture.shape[:2]
    scale = longer_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def frame(picture: Picture, colour: Sequence[int] = FRAME_COLOUR, line_width: int = 1) -> Picture:
    """The picture with a line around it, outside."""
    height, width = picture.shape[:2]
    framed = np.empty((height + 2 * line_width, width + 2 * line_width, 3), dtype=np.uint8)
    framed[:] = np.array(colour, dtype=np.uint8)
    framed[line_width:-line_width, line_width:-line_width] = picture
    return framed


def title(picture: Picture, text: str, size: int = 18, colour: Sequence[int] = TEXT_COLOUR) -> Picture:
    """The picture with a line of text above it, and white beside it where the text is longer."""
    font = ImageFont.load_default(size)
    height, width = picture.shape[:2]
    line_height = round(1.6 * size)
    canvas = Image.fromarray(_white(line_height + height, max(width, ceil(font.getlength(text)))))
    canvas.paste(Image.fromarray(picture), (0, line_height))
    red, green, blue = (int(value) for value in colour)
    ImageDraw.Draw(canvas).text((0, line_height / 2), text, fill=(red, green, blue), font=font, anchor="lm")
    return np.asarray(canvas)


def row(pictures: Sequence[Picture], gap: int = GAP) -> Picture:
    """Pictures beside one another, at their upper edges, on white."""
    height = max(picture.shape[0] for picture in pictures)
    canvas = _white(height, sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1))
    left = 0
    for picture in pictures:
        canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + gap
    return canvas


def column(pictures: Sequence[Picture], gap: int = GAP) -> Picture:
    """Pictures below one another, at their left edges, on white."""
    return row([picture.swapaxes(0, 1) for picture in pictures], gap).swapaxes(0, 1)


def margin(picture: Picture, width: int = GAP) -> Picture:
    """The picture with white around it."""
    return np.pad(picture, ((width, width), (width, width), (0, 0)), constant_values=255)


def _white(height: int, width: int) -> Picture:
    return np.full((height, width, 3), 255, dtype=np.uint8)
