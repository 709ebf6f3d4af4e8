"""Pictures for the page: previews of photographs, and maps of numbers."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

PREVIEW_SIDE = 2000  # pixels: the longer side of what the page shows of a photograph
LIGHT, DARK = np.array([250, 250, 252]), np.array([8, 64, 129])  # of a map: 0 and 1


def preview(pixels: UInt8[np.ndarray, "h w 3"], side: int = PREVIEW_SIDE) -> bytes:
    """A photograph as JPEG, made smaller where it is longer than ``side``."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, format="jpeg", quality=88)
    return buffer.getvalue()


def map_png(values: Float[np.ndarray, "h w"]) -> str:
    """A map of values in [0, 1], from white to blue, as the address (data:) of a PNG; a pixel for each value."""
    colours = LIGHT + values.clip(0, 1)[..., None] * (DARK - LIGHT)
    buffer = io.BytesIO()
    Image.fromarray(colours.round().astype(np.uint8)).save(buffer, format="png", compress_level=4)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
