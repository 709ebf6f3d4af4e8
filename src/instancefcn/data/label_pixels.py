"""Pixels of label maps, as stored: no EXIF orientation is applied."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int32
from PIL import Image

from instancefcn.data.images import ImageFile, opened

# Formats and compressions of TIFF that change values.
LOSSY = {"JPEG", "MPO", "JPEG2000", "AVIF", "HEIF", "jpeg", "tiff_jpeg", "webp"}


def read_label_map(file: ImageFile) -> Int32[np.ndarray, "h w"]:
    """Indices of a label map: palette or grey, 1 to 16 bits; in TIFF 32 bits too, integers or whole floats.

    Raises:
        ValueError: not an image, or one of colours instead of indices, with numbers that are no index, or compressed
            with loss; the message names the file.
    """
    return next(read_label_pages(file))


def read_label_pages(file: ImageFile) -> Iterator[Int32[np.ndarray, "h w"]]:
    """The label map of each page of a TIFF, which all have one size; of any other file the only one.

    Raises:
        ValueError: as ``read_label_map``, when the page is asked for.
    """
    with opened(file) as image:
        if lossy := LOSSY & {image.format, image.info.get("compression")}:
            raise ValueError(f"{lossy.pop()} is lossy, and changes the numbers of a label map: save it as PNG")
        pages, size = getattr(image, "n_frames", 1), image.size
        if image.format != "TIFF" and pages > 1:
            raise ValueError("a label map of several frames: save one picture, or a TIFF with a page for each instance")
        for page in range(pages):
            if page:
                image.seek(page)
            if image.size != size:
                raise ValueError(f"page {page + 1} has another size than the first one")
            yield _indices(image)


def _indices(image: Image.Image) -> Int32[np.ndarray, "h w"]:
    if image.mode not in ("1", "L", "P", "F") and not image.mode.startswith("I"):
        raise ValueError(f"a label map holds one index per pixel (grey or palette), not {image.mode}")
    if image.mode in ("I", "F") and _is_misread(image):
        raise ValueError("a packed TIFF of the byte order MM: save it as little-endian, or without compression")
    values = np.asarray(image)
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values % 1 == 0).all()):
        raise ValueError("a label map holds whole numbers, not fractions")
    if values.dtype.kind in "if" and values.size and not (values.min() >= 0 and values.max() < 2**31):
        raise ValueError("a label map holds numbers from 0 to 2147483647")
    return values.astype(np.int32)


def _is_misread(image: Image.Image) -> bool:
    """Whether Pillow swaps the bytes of each number: it does in packed TIFFs of the byte order MM (Pillow 13)."""
    directory = getattr(image, "tag_v2", None)
    return directory is not None and directory.prefix == b"MM" and image.info.get("compression", "raw") != "raw"
