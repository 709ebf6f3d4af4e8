"""Images of any kind to 8-bit RGB arrays, by one rule for files, arrays and PIL images (``to_rgb``).

What is wrong with a file becomes a ValueError that names it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Num, Shaped, UInt8
from PIL import ExifTags, Image

from instancefcn.data.image_formats import formats_for, why_not
from instancefcn.data.jpeg_header import JPEG_END, plain_jpeg_size
from instancefcn.data.sixteen_bits import more_than_8_bits

EMBEDDED = "embedded image"  # what errors call an image without a file
MAX_PIXELS = 100_000_000  # more is taken for a decompression bomb: 100 megapixels are 300 MB as RGB
FAINT = 0.1  # mean opacity below which a 4th channel may be something else
OPAQUE = (1, 255, 65_535)  # alpha of an opaque pixel, where the type does not say
STRETCH_PERCENTILES = (0.1, 99.9)  # of an image of more than 8 bits, to 0 and 255

ImageFile = str | Path | bytes  # a path, or the content of a file
AnyImage = str | Path | Shaped[np.ndarray, "*_"] | Image.Image

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
REDUCED = 1  # bit of TIFF's NewSubfileType: a smaller copy of another page
_told: set[str] = set()  # files of several pages that were told of


def to_rgb(image: AnyImage) -> UInt8[np.ndarray, "h w 3"]:
    """Pixels of an image, RGB, 0 to 255, upright.

    - Files and PIL images are turned upright by their EXIF orientation; of an animation the first frame is taken, of a
      TIFF the first page, with a warning where there are others.
    - Arrays are [h, w] or [h, w, 1] for grey, [h, w, 2] with alpha, [h, w, 3] for RGB, [h, w, 4] with alpha.
    - More than 8 bits (16 bits, floats, ...), grey or colour, are stretched: the 0.1 and 99.9 percentiles of all values
      but alpha's become 0 and 255, since the 12 bits of a microscope in a 16-bit file would be black otherwise. NaN
      becomes 0, and infinity 255. Of booleans True is 255. (A PIL image has 8 bits of a 16-bit colour file once it is
      loaded: give the path.)
    - Alpha is out of 255 in 8 bits and out of 65,535 in 16; of other types out of 1, 255 or 65,535, the first that no
      pixel exceeds.
    - Transparent pixels are composited on white, with a warning where that leaves almost nothing; CMYK, palette and
      grey become RGB.

    Raises:
        ValueError: a file or a PIL image can't be read, or an array has another shape, another type, or no pixels, or
            an alpha that goes further.
        TypeError: it is none of these.

    Example:
        >>> to_rgb(np.zeros((2, 3), dtype=np.uint16)).shape
        (2, 3, 3)
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] == 2:
            warnings.warn("image: of two channels the second is opacity: give [h, w] if it is a stain", stacklevel=2)
        return _array_to_rgb(image)
    if not isinstance(image, Image.Image):
        raise TypeError(f"an image must be a file's path, an array or a PIL image, not {type(image).__name__}")
    name = str(getattr(image, "filename", "")) or "image"
    if not (image.width and image.height):
        raise ValueError(f"{name}: no pixels")
    try:
        return _upright(image, None, name)
    except Exception as error:  # a file that is open, and decoded only now
        raise ValueError(f"{name}: {str(error) or type(error).__name__}") from error


def read_image(file: ImageFile, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Pixels of an image file, by the rules of ``to_rgb``.

    Args:
        size: (height, width) by the annotations of the image. If the stored pixels have this size and the upright image
            does not, the annotator saw the stored pixels (pycocotools ignores EXIF, too), and they are returned. If
            both have it (mirrored, turned by 180 degrees, square), the upright image is returned. Pillow turns TIFFs
            upright by itself, so their stored pixels can't be read.

    Raises:
        ValueError: not an image, truncated, above MAX_PIXELS, or of another size; the message names the file.
    """
    name = _name(file)
    with opened(file) as image:
        pixels, more = _upright(image, size, name), _has_more_pages(image)
    if more and not isinstance(file, bytes) and name not in _told:
        _told.add(name)  # training reads its images many times
        warnings.warn(f"{name}: several pages, of which the first is read: save each as an image", stacklevel=2)
    return pixels


def inspect_image(file: ImageFile, size: tuple[int, int] | None = None) -> tuple[int, int]:
    """(height, width) of the image that ``read_image`` returns, with the same errors.

    Of a JPEG only header and end are read, unless the end shows that the file may be cut (damage in its middle stays
    unseen: decoders fill it in). Other files are decoded.
    """
    plain = None if isinstance(file, bytes) else plain_jpeg_size(file)
    if plain is not None and size in (None, plain) and 0 < plain[0] * plain[1] <= MAX_PIXELS:
        return plain
    with opened(file) as image:
        _, frame = _orientation(image, size)
        if image.format != "JPEG" or _bytes_at(file, -2, 2) != JPEG_END:
            _to_rgb(image, _name(file))
    return frame


def turn_upright(file: ImageFile, size: tuple[int, int]) -> Image.Transpose | None:
    """How EXIF turns the stored pixels upright, where they have this (height, width) and the upright image has not."""
    if not isinstance(file, bytes) and plain_jpeg_size(file) is not None:
        return None
    with opened(file) as image:
        orientation, frame = _orientation(image, None)
    return _TRANSPOSITIONS[orientation] if orientation in SIDEWAYS and size == frame[::-1] != frame else None


@contextmanager
def opened(file: ImageFile) -> Iterator[Image.Image]:
    """Open an image file; any error, also in the body of the block, becomes a ValueError that names the file."""
    name = _name(file)
    try:
        if not isinstance(file, bytes):
            path = Path(file)
            if not path.is_file():  # a pipe would wait for ever
                raise ValueError("not a file" if path.exists() else "no such file")
            if path.stat().st_size == 0:
                raise ValueError("the file is empty")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # flaws in metadata, and sizes, which are checked below
            # Never the path: Pillow would map plain TIFFs into memory, and those turned sideways by swapped sides.
            with _stream(file) as stream, Image.open(stream, formats=formats_for(_bytes_at(file, 0, 12))) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                yield image
    except Image.UnidentifiedImageError:
        with _stream(file) as stream:
            raise ValueError(f"{name}: {why_not(stream)}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name}: more than {MAX_PIXELS / 1e6:.0f} megapixels: make it smaller") from None
    except Exception as error:  # decoders raise errors of every type on hostile bytes
        raise ValueError(f"{name}: {str(error) or type(error).__name__}") from error


def _name(file: ImageFile) -> str:
    return EMBEDDED if isinstance(file, bytes) else str(file)


def _stream(file: ImageFile) -> io.BytesIO | io.BufferedReader:
    return io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb")


def _bytes_at(file: ImageFile, start: int, count: int) -> bytes:
    """As of a slice, a negative ``start`` counts from the end."""
    with _stream(file) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(start if start >= 0 else max(0, size + start))
        return stream.read(count)


def _orientation(image: Image.Image, size: tuple[int, int] | None) -> tuple[int, tuple[int, int]]:
    """The EXIF orientation to turn the stored pixels by, and the (height, width) that results.

    It is 1, as stored, where ``size`` is that of the stored pixels alone.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken metadata is no reason to refuse sound pixels
        orientation = 1
    if image.format == "TIFF" or orientation not in _TRANSPOSITIONS:  # Pillow has turned TIFFs
        orientation = 1
    stored = image.height, image.width
    upright = (image.width, image.height) if orientation in SIDEWAYS else stored
    if size is None or size == upright:
        return orientation, upright
    if size == stored:
        return 1, stored
    raise ValueError(f"is {upright[1]} x {upright[0]} pixels, but its annotations are for {size[1]} x {size[0]}")


def _upright(image: Image.Image, size: tuple[int, int] | None, name: str) -> UInt8[np.ndarray, "h w 3"]:
    rgb = _to_rgb(image, name)  # first: Pillow decodes a PNG to look for its orientation
    orientation, _ = _orientation(image, size)
    return np.array(rgb.transpose(_TRANSPOSITIONS[orientation]) if orientation > 1 else rgb)


def _has_more_pages(image: Image.Image) -> bool:
    """Whether a TIFF has a page that is no smaller copy of another. Its pixels are to be read before."""
    if image.format != "TIFF" or not getattr(image, "is_animated", False):
        return False
    try:
        image.seek(1)
        return not image.getexif().get(ExifTags.Base.NewSubfileType, 0) & REDUCED
    except Exception:  # a second page that can't be read is none
        return False


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    values = more_than_8_bits(image)
    if values is not None:
        return Image.fromarray(_array_to_rgb(values, name))
    image.load()
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"), name)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would be a copy


def _on_white(rgba: Image.Image, name: str) -> Image.Image:
    opacity = np.asarray(rgba.getchannel("A")).mean() / 255
    if opacity < FAINT:
        warnings.warn(
            f"{name}: {1 - opacity:.0%} transparent, so nearly white: if the last channel is something else "
            "(near infrared), leave it out",
            stacklevel=2,
        )
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _array_to_rgb(array: Shaped[np.ndarray, "*_"], name: str = "image") -> UInt8[np.ndarray, "h w 3"]:
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4) or values.size == 0 or values.dtype.kind not in "buif":
        raise ValueError(
            "an image must be an array of numbers [height, width], or [height, width, channels] with 1 to 4 channels, "
            f"not {array.dtype} {list(array.shape)}"
        )
    channels = values.shape[2]
    if channels in (1, 3) and values.dtype == np.uint8:
        return np.repeat(values, 3, axis=2) if channels == 1 else values
    colours, alpha = (values, None) if channels in (1, 3) else (values[..., :-1], values[..., -1:])
    if values.dtype == bool:
        colours = colours.astype(np.uint8) * 255
    elif values.dtype != np.uint8:
        colours = _stretch(colours)
    rgb = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours
    if alpha is None:
        return rgb
    opacity = np.rint(np.clip(np.nan_to_num(alpha) / _opaque(alpha), 0, 1) * 255).astype(np.uint8)
    return np.array(_on_white(Image.fromarray(np.concatenate([rgb, opacity], axis=2)), name))


def _opaque(alpha: Num[np.ndarray, "*_"]) -> int:
    """What an opaque pixel has: the largest number of 8 or 16 bits; of other types the least that none exceeds."""
    highest = [int(np.iinfo(alpha.dtype).max)] if alpha.dtype.kind in "iu" else []
    if alpha.dtype in (np.uint8, np.uint16):
        return highest[0]
    largest = float(np.nan_to_num(alpha.astype(np.float64), posinf=0).max())
    most = next((most for most in (*OPAQUE, *highest) if largest <= most), None)
    if most is None:
        raise ValueError(f"the last channel is no alpha: it goes up to {largest:g}; leave it out")
    return most


def _stretch(values: Num[np.ndarray, "*_"]) -> UInt8[np.ndarray, "*_"]:
    """Values of any range to 0..255; an image of one value becomes black, as NaN does."""
    values = values.astype(np.float32)
    known = np.isfinite(values)
    finite = values if known.all() else values[known]
    low, high = np.percentile(finite, STRETCH_PERCENTILES) if finite.size else (0.0, 0.0)
    if low == high and finite.size:  # all that differs lies beyond the percentiles
        low, high = finite.min(), finite.max()
    values = np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    return (255 * np.clip((values - low) / max(high - low, 1e-12), 0, 1)).round().astype(np.uint8)
