"""The images with the most missed instances, drawn small, as a section of the report."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from instancefcn.data.images import read_image
from instancefcn.drawing import default_line_width, encoded, outline, tint
from instancefcn.evaluation.results import GroundTruth
from instancefcn.file_names import path_inside

MOST_IMAGES = 20
SIDE = 360  # pixels of a picture's longer side, at most
QUALITY = 80  # of its JPEG: a photograph takes some 20 KB
# Orange and blue of Okabe and Ito, "Color Universal Design" (2008): colour-blind people tell them apart.
MISSED_COLOUR, FOUND_COLOUR = np.array((213, 94, 0)), np.array((86, 180, 233))
MISSED_OPACITY = 0.45


def worst_images(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices of at most ``MOST_IMAGES`` images that miss an instance, the most missed first, in their order.

    Args:
        rows: as ``image_rows`` has them.

    Example:
        >>> worst_images([{"missed": 0}, {"missed": 2}, {"missed": 5}])
        [2, 1]
    """
    missing = [index for index, row in enumerate(rows) if row["missed"]]
    return sorted(missing, key=lambda index: -rows[index]["missed"])[:MOST_IMAGES]


def render_gallery(
    rows: Sequence[Mapping[str, Any]],
    ground_truth: Sequence[GroundTruth],
    missed: Sequence[Bool[np.ndarray, "_"]],
    photographs: Path | None,
) -> str:
    """Section of the page: the images with the most missed instances; nothing where none is missed.

    Args:
        rows: as ``image_rows`` has them.
        ground_truth: of the same images.
        missed: which of their instances, crowds left out, are missed.
        photographs: folder that the names of the images start from; without one, no picture is shown.
    """
    figures = ""
    for index in worst_images(rows):
        row, picture = rows[index], ""
        name = row["file_name"] or f"image {row['image_id']}"
        if photographs is not None:
            try:
                photograph = _read(row, ground_truth[index], photographs)
                picture = _embedded(draw_missed(photograph, ground_truth[index], missed[index]), name)
            except (ValueError, OSError) as error:
                picture = f'<p class="lead">{escape(str(error))}</p>'
        text = f"<b>{row['missed']:,} of {row['instances']:,} missed</b> {escape(name)}"
        figures += f"<figure>{picture}<figcaption>{text}</figcaption></figure>"
    if not figures:
        return ""
    how = (
        "Missed instances are filled with orange, found ones have a blue line."
        if photographs is not None
        else "Pictures are shown where evaluate is given the photographs: --images DIR."
    )
    return f"""
<section><h2>Images with the most missed instances</h2>
<p>An instance is missed where no proposal overlaps it by an IoU of 0.5. {how} images.csv has every image.</p>
<div class="gallery">{figures}</div></section>"""


def draw_missed(
    photograph: UInt8[np.ndarray, "h w 3"], labelled: GroundTruth, missed: Bool[np.ndarray, "g"]
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy of the photograph on which missed instances are filled, and found ones have a line; crowds are left out.

    Args:
        missed: of the instances that are no crowds, in their order.
    """
    canvas, width = photograph.copy(), 1.5 * default_line_width(*photograph.shape[:2])
    # Missed ones last.
    for region, gone in sorted(zip(labelled.divided()[0], missed.tolist(), strict=True), key=lambda pair: pair[1]):
        colour = MISSED_COLOUR if gone else FOUND_COLOUR
        if isinstance(region, np.ndarray):
            canvas = _with_box(canvas, region, colour, width)
            continue
        if gone:
            tint(canvas, photograph, region, colour, width, opacity=MISSED_OPACITY)
        outline(canvas, region, colour, width)
    return canvas


def _with_box(
    canvas: UInt8[np.ndarray, "h w 3"], box_xywh: np.ndarray, colour: np.ndarray, width: float
) -> UInt8[np.ndarray, "h w 3"]:
    image = Image.fromarray(canvas)
    left, top, across, down = box_xywh.tolist()
    corners = left, top, left + max(across, 1) - 1, top + max(down, 1) - 1
    ImageDraw.Draw(image).rectangle(corners, outline=tuple(colour.tolist()), width=round(width) + 1)
    return np.array(image)


def _read(row: Mapping[str, Any], labelled: GroundTruth, photographs: Path) -> UInt8[np.ndarray, "h w 3"]:
    if row["file_name"] is None:
        raise ValueError("the annotations give it no file_name")
    size = (labelled.height, labelled.width)
    return read_image(path_inside(photographs, row["file_name"]), size if all(size) else None)


def _embedded(picture: UInt8[np.ndarray, "h w 3"], name: str) -> str:
    """An ``img`` that holds its picture, small."""
    small = Image.fromarray(picture)
    small.thumbnail((SIDE, SIDE))
    data = base64.b64encode(encoded(small, "jpeg", quality=QUALITY)).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" width="{small.width}" height="{small.height}" alt="{escape(name)}">'
    )
