"""Pictures for the page: previews of photographs, maps of numbers, and examples to try."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from instancefcn.drawing import encoded

PREVIEW_SIDE = 2000  # pixels: the longer side of what the page shows of a photograph
EXAMPLES = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "hubble_deep_field.jpg")
LIGHT, DARK = np.array([250, 250, 252]), np.array([8, 64, 129])  # of a map: 0 and 1


def preview(pixels: UInt8[np.ndarray, "h w 3"], side: int = PREVIEW_SIDE) -> bytes:
    """A photograph as JPEG, made smaller where it is longer than ``side``."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return encoded(picture, "jpeg", quality=88)


def map_png(values: Float[np.ndarray, "h w"]) -> str:
    """A map of values in [0, 1], from white to blue, as the address (data:) of a PNG; a pixel for each value."""
    colours = LIGHT + values.clip(0, 1)[..., None] * (DARK - LIGHT)
    content = encoded(Image.fromarray(colours.round().astype(np.uint8)), "png", compress_level=4)
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def example_photographs() -> list[Path]:
    """Photographs that scikit-image brings, where it is installed."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "data"
    return [folder / name for name in EXAMPLES if (folder / name).is_file()]
