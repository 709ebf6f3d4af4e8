"""Pixels of more than 8 bits, as they are stored: of 16-bit colours Pillow keeps the high bytes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import PIL.ImageFile
from jaxtyping import Num
from PIL import Image, TiffImagePlugin

from instancefcn.data.image_formats import FORMATS

# Pillow's raw modes of 16-bit colours, and those that read the low bytes where these read the high ones (N: native).
_LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
} | {"LA;16B": "RGBA"}  # all four bytes


def more_than_8_bits(image: Image.Image) -> Num[np.ndarray, "h w *channels"] | None:
    """Values as stored; None of an image of 8 bits or fewer, or of colours that are decoded already.

    Of colours of 16 bits Pillow keeps the high bytes. A second decoder, told that the bytes are stored in the other
    order, keeps the low ones.

    Raises:
        ValueError: a TIFF whose wide colours Pillow can't read.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return np.asarray(image)
    if not isinstance(image, PIL.ImageFile.ImageFile) or not image.tile:
        return None
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _holds_wide_planes(image):
        raise ValueError("a TIFF of 16-bit colours, each in a plane of its own: save it with interleaved colours")
    tiles = [(tile, tile.args if isinstance(tile.args, tuple) else (tile.args,)) for tile in image.tile]
    stored, *rest = tiles[0][1] or (None,)  # such as "RGB;16B"
    if tiles[0][0].codec_name.startswith("ppm") and stored == "RGB" and rest[-1] > 255:
        with _twin(image) as twin:  # as grey, three times as wide: of grey Pillow keeps 16 bits
            twin._mode, twin._size = "I", (3 * image.width, image.height)
            twin.tile = [tiles[0][0]._replace(extents=(0, 0, *twin._size), args=("L", rest[-1]))]
            return np.asarray(twin).reshape(image.height, image.width, 3)
    if stored not in _LOW_BYTES:
        return None
    with _twin(image) as twin:
        twin.tile = [tile._replace(args=(_LOW_BYTES[stored], *args[1:])) for tile, args in tiles]
        low = np.asarray(twin)
    if stored == "LA;16B":
        return low.view(">u2").astype(np.uint16)
    return np.asarray(image).astype(np.uint16) << 8 | low


def _holds_wide_planes(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether it has colours of more than 8 bits in planes, of which Pillow makes noise, or keeps the high bytes."""
    planar = image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2
    return planar and len(image.getbands()) > 1 and max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (8,))) > 8


@contextmanager
def _twin(image: PIL.ImageFile.ImageFile) -> Iterator[PIL.ImageFile.ImageFile]:
    """The same file opened once more."""
    assert image.fp is not None
    position = image.fp.tell()
    image.fp.seek(0)
    content = io.BytesIO(image.fp.read())
    image.fp.seek(position)
    with Image.open(content, formats=FORMATS) as twin:
        yield twin
