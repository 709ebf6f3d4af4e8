"""Formats of images: which are read, by their content, and why files of others are left out."""

from __future__ import annotations

import importlib.util
import io
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import Image, TiffImagePlugin, features

# Vector formats would run programs, so nothing is read but these, and AVIF and HEIF where they can be decoded.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
HEIF_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
_AVIF_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_NEEDS_HEIF = "HEIC: reading it takes `pip install 'instancefcn[heif]'`"
_NEEDS_AVIF = "AVIF: reading it takes Pillow 11.3 or later"

# Suffixes of other images and films, and what to do with them.
_OTHERS = {
    "cr2 cr3 nef arw dng orf rw2 raf pef srw": "a camera's raw data: export TIFF or JPEG",
    "svg pdf eps ai psd xcf kra": "drawings or layers: export PNG",
    "jxl exr hdr tga pcx ico dds sgi": "none of the formats that are read: save PNG or TIFF",
    "czi lif nd2 svs ndpi mrxs scn oib oif vsi dcm nii": "a scanner's or microscope's data: export TIFF or PNG",
    "npy npz": "an array: save PNG or TIFF, or give it to Proposer",
    "mp4 mov avi mkv webm m4v": "a film: save pictures of it",
}
_REASONS = {f".{suffix}": reason for suffixes, reason in _OTHERS.items() for suffix in suffixes.split()}


@cache
def reads_avif() -> bool:
    """Whether this Pillow decodes AVIF."""
    return "avif" in features.modules and features.check_module("avif")  # before 11.3 it does not know the name


@cache
def reads_heif() -> bool:
    """Whether pillow-heif is installed (``pip install 'instancefcn[heif]'``)."""
    return importlib.util.find_spec("pillow_heif") is not None


@cache
def image_extensions() -> frozenset[str]:
    """Suffixes of the files that can be read, such as ".jpg", in lower case."""
    read = (*FORMATS, *(["AVIF"] if reads_avif() else []))
    suffixes = {end for end, image_format in Image.registered_extensions().items() if image_format in read}
    return frozenset(suffixes | set(HEIF_SUFFIXES if reads_heif() else ()))


def formats_for(start: bytes) -> tuple[str, ...]:
    """Pillow's names of the formats that a file may have which starts with some bytes."""
    brand = _brand(start)
    if brand in _AVIF_BRANDS and reads_avif():
        return ("AVIF",)
    if brand in _HEIF_BRANDS and reads_heif():
        _register_heif()
        return ("HEIF",)
    return FORMATS


def why_not(file: io.BytesIO | io.BufferedReader) -> str:
    """Why Pillow does not know a file as an image of the formats that are read; the file stands at its start."""
    start = file.read(16)
    brand = _brand(start)
    if brand in _HEIF_BRANDS:
        return "a damaged HEIC file" if reads_heif() else _NEEDS_HEIF
    if brand in _AVIF_BRANDS:
        return "a damaged AVIF file" if reads_avif() else _NEEDS_AVIF
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        kind = _kind_of_tiff(start, file)
        return f"a TIFF of a kind that can't be read{kind}: save it as grey or RGB of 8 or 16 bits, or grey float of 32"
    if start.startswith(b"\x93NUMPY"):
        return _REASONS[".npy"]
    more = ["AVIF"] * reads_avif() + ["HEIC"] * reads_heif()
    return f"not an image, or none of {', '.join([*FORMATS, *more])}"


def _kind_of_tiff(start: bytes, file: io.BytesIO | io.BufferedReader) -> str:
    """What the pixels of a TIFF are, such as " (float of 32 bits, 3 channels)"; nothing where it does not say so."""
    try:
        header = start if start[2] + start[3] == 43 else start[:8]  # 43: BigTIFF
        directory = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(directory.next)
        directory.load(file)
        bits, kind = directory[TiffImagePlugin.BITSPERSAMPLE], directory.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
        named = {1: "whole numbers", 2: "signed numbers", 3: "float"}.get(kind[0], "another kind")
        return f" ({named} of {bits[0]} bits, {len(bits)} channel{'s' * (len(bits) > 1)})"
    except Exception:  # broken tags
        return ""


def left_out(path: Path) -> str | None:
    """Why a folder's file is no image to read, by its suffix; None of what is read, and of what is no image at all."""
    suffix = path.suffix.lower()
    if suffix in image_extensions():
        return None
    if suffix in HEIF_SUFFIXES:
        return _NEEDS_HEIF
    return _NEEDS_AVIF if suffix in (".avif", ".avifs") else _REASONS.get(suffix)


def describe_left_out(paths: Iterable[Path]) -> str | None:
    """One line about the images of a folder that are not read; None if there are none.

    Example:
        >>> describe_left_out([Path("a.svg"), Path("b.SVG"), Path("c.jpg"), Path("notes.txt")])
        '2 files left out: 2 .svg (drawings or layers: export PNG)'
    """
    counts = Counter((path.suffix.lower(), reason) for path in paths if (reason := left_out(path)) is not None)
    if not counts:
        return None
    listed = "; ".join(f"{count} {suffix} ({reason})" for (suffix, reason), count in sorted(counts.items()))
    return f"{counts.total()} file{'s' * (counts.total() > 1)} left out: {listed}"


def _brand(start: bytes) -> bytes:
    """The main brand of an ISO media file, which AVIF and HEIF are; nothing of another file."""
    return start[8:12] if start[4:8] == b"ftyp" else b""


@cache
def _register_heif() -> None:
    import pillow_heif  # pyright: ignore[reportMissingImports]

    pillow_heif.register_heif_opener()
