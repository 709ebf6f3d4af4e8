"""Segments drawn over their image, each with its name and score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from instancefcn.structures import Segments
from instancefcn.viz.overlays import PALETTE, choose_distinct, draw_proposals

TOP = 20  # segments that are drawn at most


def draw_segments(
    image: UInt8[np.ndarray, "h w 3"], segments: Segments, names: Mapping[int, str], top: int = TOP
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy of the image with its best segments drawn over it as ``draw_proposals`` does, and what each is.

    Args:
        names: of the categories, by id.
        top: how many to draw at most.

    Raises:
        ValueError: the segments are of an image of another size.
    """
    canvas = Image.fromarray(draw_proposals(image, segments, top))
    draw = ImageDraw.Draw(canvas)
    size = max(11, min(canvas.size) / 28)
    font = ImageFont.load_default(size)
    chosen = choose_distinct(segments, top)
    for rank in reversed(range(len(chosen))):  # the best one's name is drawn last, over all others
        index = chosen[rank]
        text = f"{names[int(segments.category_ids[index])]} {segments.scores[index]:.2f}"
        left, top_edge = segments.boxes_xyxy[index, :2].tolist()
        width, height = draw.textlength(text, font) + 0.6 * size, 1.4 * size
        x = min(left, max(0, canvas.width - width))
        y = min(max(0, top_edge - height), max(0, canvas.height - height))
        draw.rectangle((x, y, x + width, y + height), fill=tuple(PALETTE[rank % len(PALETTE)].tolist()))
        draw.text((x + 0.3 * size, y + 0.1 * size), text, fill=(0, 0, 0), font=font)
    return np.array(canvas)
