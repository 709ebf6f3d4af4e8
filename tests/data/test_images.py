from __future__ import annotations

import inspect
import io
import os
import struct
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from instancefcn.data import image_formats
from instancefcn.data.image_formats import image_extensions
from instancefcn.data.images import MAX_PIXELS, inspect_image, read_image, to_rgb
from instancefcn.data.label_pixels import read_label_map

TWO_CHANNELS = pytest.mark.filterwarnings("ignore:image. of two channels the second is opacity")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def photo(rng: np.random.Generator, height: int = 40, width: int = 56) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def save_oriented(path: Path, image: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


def save_png_header(path: Path, width: int, height: int) -> None:
    """A file of a few bytes that claims to hold any number of pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + end)


def test_rgb_is_returned_as_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    image = photo(rng)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(image))
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png")), np.asarray(image))
    np.testing.assert_array_equal(read_image((tmp_path / "a.png").read_bytes()), np.asarray(image))
    assert inspect_image(tmp_path / "a.png") == (40, 56)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_oriented_grey_tiff_without_compression(tmp_path: Path, orientation: int, dtype: type) -> None:
    """Pillow maps the file into memory, with the sides swapped, if it is given the path."""
    path = tmp_path / "a.tif"
    grey = np.tile(np.linspace(0, 255, 30).astype(dtype), (20, 1)) * (np.iinfo(dtype).max // 255)
    Image.fromarray(grey).save(path, tiffinfo={274: orientation})
    upright = {6: np.rot90(grey, -1), 8: np.rot90(grey)}.get(orientation)
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, read_image(path.read_bytes()))
    assert inspect_image(path) == pixels.shape[:2] == ((20, 30) if orientation < 5 else (30, 20))
    if upright is not None:
        np.testing.assert_array_equal(pixels, to_rgb(upright))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, rng: np.random.Generator, orientation: int, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    save_oriented(path, photo(rng), orientation)
    with Image.open(path) as image:
        image.load()  # turns a TIFF upright
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert upright.shape[:2] == ((40, 56) if orientation < 5 else (56, 40))
    np.testing.assert_array_equal(read_image(path), upright)
    np.testing.assert_array_equal(read_image(path, upright.shape[:2]), upright)
    assert inspect_image(path) == upright.shape[:2]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_stored_pixels_where_only_they_have_the_annotations_size(
    tmp_path: Path, rng: np.random.Generator, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    save_oriented(path, photo(rng), 6)
    with Image.open(path) as image:
        stored = np.asarray(image)
    np.testing.assert_array_equal(read_image(path, (40, 56)), stored)
    assert inspect_image(path, (40, 56)) == (40, 56)
    assert inspect_image(path) == inspect_image(path, (56, 40)) == (56, 40)


def test_annotations_of_another_size(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.jpg"
    photo(rng).save(path)
    for read in (read_image, inspect_image):
        with pytest.raises(ValueError, match=r"a\.jpg: is 56 x 40 pixels, but its annotations are for 64 x 40"):
            read(path, (40, 64))


def test_broken_exif_does_not_matter(tmp_path: Path, rng: np.random.Generator) -> None:
    photo(rng).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00garbage")
    assert read_image(tmp_path / "a.jpg").shape == (40, 56, 3)


def test_grey_of_16_bits_is_stretched(tmp_path: Path, rng: np.random.Generator) -> None:
    """Twelve bits in sixteen: what matters is seen, and a hot pixel does not darken the rest."""
    grey = np.linspace(100, 4095, 100 * 100).reshape(100, 100).astype(np.uint16)
    grey[3, 5] = 65535
    Image.fromarray(grey).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels.shape == (100, 100, 3)
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert abs(int(pixels[50, 0, 0]) - 127) <= 1
    order = np.delete(pixels[..., 0].ravel(), 305).astype(int)
    assert (np.diff(order) >= 0).all()


@pytest.mark.parametrize(("foreground", "expected"), [(9, 255), (2, 0)])
def test_deep_grey_with_next_to_nothing_in_it(tmp_path: Path, foreground: int, expected: int) -> None:
    """One pixel of a hundred by hundred is beyond the percentiles; in an image of one value there is nothing to see."""
    grey = np.full((100, 100), 2, dtype=np.uint16)
    grey[7, 8] = foreground
    Image.fromarray(grey).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels[7, 8].tolist() == [expected] * 3
    assert pixels[0, 0].tolist() == [0, 0, 0]


def test_floating_grey_with_nan(tmp_path: Path) -> None:
    grey = np.array([[0.0, 0.5], [np.nan, 1.0]], dtype=np.float32)
    Image.fromarray(grey).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[..., 0].tolist() == [[0, 127], [0, 255]]  # NaN has no part in the range


def test_modes_other_than_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint8))
    palette = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
    palette.putdata([0, 1, 2])
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    cases = {
        "grey.png": (grey, [[0, 0, 0], [100, 100, 100], [255, 255, 255]]),
        "bilevel.png": (Image.fromarray(np.array([[False, True, True]])), [[0] * 3, [255] * 3, [255] * 3]),
        "palette.png": (palette, [[255, 0, 0], [0, 255, 0], [0, 0, 255]]),
        "cmyk.tif": (Image.new("CMYK", (3, 1), (0, 255, 255, 0)), [[255, 0, 0]] * 3),
    }
    for name, (image, expected) in cases.items():
        image.save(tmp_path / name)
        assert read_image(tmp_path / name)[0].tolist() == expected, name


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (200, 40, 30)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    pixels = read_image(tmp_path / "a.jpg").astype(int)
    assert np.abs(pixels - [200, 40, 30]).max() <= 6


def test_transparency_is_composited_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    assert read_image(tmp_path / "rgba.png")[0].tolist() == [[10, 20, 30], [255, 255, 255], [127, 127, 127]]
    Image.fromarray(rgba[..., 2:]).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png")[0].tolist() == [[30] * 3, [255] * 3, [127] * 3]
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    palette.putdata([0, 1])
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png", transparency=1)
    assert read_image(tmp_path / "p.png")[0].tolist() == [[255, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(UserWarning, match=r"a\.tif: several pages") if suffix == "tif" else nullcontext():
        pixels = read_image(tmp_path / f"a.{suffix}")
    assert (pixels == [255, 0, 0]).all()
    assert pixels.shape == (6, 8, 3)


def test_further_pages_of_a_tiff_are_told_of_once(tmp_path: Path) -> None:
    pages = [Image.new("I;16", (8, 6), 300 * number) for number in range(3)]
    pages[0].putpixel((0, 0), 4000)
    for name, more in (("one", []), ("three", pages[1:])):
        pages[0].save(tmp_path / f"{name}.tif", save_all=True, append_images=more)
    expected = read_image(tmp_path / "one.tif")
    with pytest.warns(UserWarning, match=r"three\.tif: several pages, of which the first is read") as told:
        first = read_image(tmp_path / "three.tif")
    assert len(told) == 1
    again = read_image(tmp_path / "three.tif")  # warnings are errors
    with Image.open(tmp_path / "three.tif") as of_pillow:
        for pixels in (first, again, to_rgb(of_pillow)):
            np.testing.assert_array_equal(pixels, expected)


def test_smaller_copies_and_broken_pages_are_no_pages(tmp_path: Path) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(6, 8)
    with tifffile.TiffWriter(tmp_path / "copies.tif") as file:
        file.write(image)
        file.write(image[::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "copies.tif")[..., 0], image)
    with tifffile.TiffWriter(tmp_path / "broken.tif") as file:
        file.write(image)
        file.write(image)
    whole = (tmp_path / "broken.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "broken.tif") as file:
        second = file.pages[1].offset
    (tmp_path / "broken.tif").write_bytes(whole[:second])
    np.testing.assert_array_equal(read_image(tmp_path / "broken.tif")[..., 0], image)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_truncated(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    photo(rng).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for read in (read_image, inspect_image):
        with pytest.raises(ValueError, match=rf"a\.{suffix}: "):
            read(path)


def test_jpeg_with_something_behind_it_is_complete(tmp_path: Path, rng: np.random.Generator) -> None:
    """As phones write them: a video, or more pictures."""
    path = tmp_path / "a.jpg"
    photo(rng).save(path)
    path.write_bytes(path.read_bytes() + b"\x00video")
    assert inspect_image(path) == read_image(path).shape[:2] == (40, 56)


def test_jpeg_is_inspected_without_decoding(tmp_path: Path, rng: np.random.Generator, monkeypatch) -> None:
    photo(rng).save(tmp_path / "a.jpg")

    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    assert inspect_image(tmp_path / "a.jpg") == (40, 56)


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not an image at all")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    reasons = {
        "empty.png": "the file is empty",
        "text.jpg": "not an image, or none of BMP, GIF, JPEG",
        "folder.png": "not a file",
        "pipe.png": "not a file",
        "absent.png": "no such file",
    }
    for name, reason in reasons.items():
        for read in (read_image, inspect_image, read_label_map):
            with pytest.raises(ValueError, match=rf"{name}: {reason}"):
                read(tmp_path / name)
    with pytest.raises(ValueError, match="embedded image: not an image"):
        read_image(b"nothing")


@pytest.mark.parametrize("side", [10_001, 14_000, 60_000])
def test_decompression_bomb(tmp_path: Path, side: int) -> None:
    """Above our limit, above Pillow's warning, and above its error."""
    assert side**2 > MAX_PIXELS
    save_png_header(tmp_path / "bomb.png", side, side)
    for read in (read_image, inspect_image, read_label_map):
        with pytest.raises(ValueError, match=r"bomb\.png: more than 100 megapixels"):
            read(tmp_path / "bomb.png")


def test_vector_images_are_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(ValueError, match=r"a\.eps: not an image"):
        read_image(tmp_path / "a.eps")
    assert {".jpg", ".jpeg", ".png", ".tif", ".webp"} <= image_extensions()
    assert ".eps" not in image_extensions()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_label_map_keeps_its_indices(tmp_path: Path, rng: np.random.Generator, dtype: type, suffix: str) -> None:
    label_map = rng.integers(0, np.iinfo(dtype).max, (9, 7)).astype(dtype)
    Image.fromarray(label_map).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_label_map(tmp_path / f"a.{suffix}"), label_map)


def test_label_map_of_a_palette_and_of_colours(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putdata([0, 2, 255])
    image.putpalette([9, 9, 9] * 256)
    image.save(tmp_path / "p.png")
    assert read_label_map(tmp_path / "p.png").tolist() == [[0, 2, 255]]
    Image.new("1", (2, 1), 1).save(tmp_path / "1.png")
    assert read_label_map(tmp_path / "1.png").tolist() == [[1, 1]]
    Image.new("RGB", (3, 1)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"rgb\.png: a label map holds one index per pixel .* not RGB"):
        read_label_map(tmp_path / "rgb.png")


def test_one_pixel(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), (1, 2, 3)).save(buffer, "PNG")
    assert read_image(buffer.getvalue()).tolist() == [[[1, 2, 3]]]


@TWO_CHANNELS
def test_arrays_and_pil_images_are_read_by_the_rule_for_files(tmp_path: Path, rng: np.random.Generator) -> None:
    deep = rng.integers(0, 4096, (20, 30)).astype(np.uint16)
    for name, image in (
        ("deep.png", Image.fromarray(deep)),
        ("float.tif", Image.fromarray(deep.astype(np.float32) / 7)),
        ("grey.png", Image.fromarray(deep.astype(np.uint8))),
        ("rgba.png", Image.fromarray(rng.integers(0, 256, (20, 30, 4), dtype=np.uint8))),
        ("la.png", Image.fromarray(rng.integers(0, 256, (20, 30, 4), dtype=np.uint8)).convert("LA")),
        ("cmyk.tif", Image.fromarray(rng.integers(0, 256, (20, 30, 4), dtype=np.uint8), mode="CMYK")),
    ):
        image.save(tmp_path / name)
        expected = read_image(tmp_path / name)
        np.testing.assert_array_equal(to_rgb(image), expected, err_msg=name)
        np.testing.assert_array_equal(to_rgb(tmp_path / name), expected, err_msg=name)
        if image.mode != "CMYK":  # an array does not say that its four channels are inks
            np.testing.assert_array_equal(to_rgb(np.asarray(image)), expected, err_msg=name)


def test_arrays_of_every_kind() -> None:
    grey = np.array([[0, 128, 255]], dtype=np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    assert to_rgb(rgb) is rgb
    for array in (grey, grey[..., None]):
        np.testing.assert_array_equal(to_rgb(array), rgb)
    np.testing.assert_array_equal(to_rgb(grey > 100), [[[0] * 3, [255] * 3, [255] * 3]])
    for scale in (1.0, 1 / 255, 1000.0):  # floats of any range, and integers of 16 bits
        assert np.abs(to_rgb(rgb * scale).astype(int) - rgb).max() <= 1
    assert np.abs(to_rgb(rgb.astype(np.uint16) * 16).astype(int) - rgb).max() <= 1
    half = np.array([[[10, 20, 30, 128]]], dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(half), [[[132, 137, 142]]])  # 255 + 128 / 255 * (value - 255)


def write_png_of_16_bits(path: Path, values: np.ndarray, colour_type: int) -> None:
    """By the PNG specification: Pillow writes no colours of 16 bits."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)  # 0: no filter
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    coded = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(coded))


@TWO_CHANNELS
def test_colours_of_16_bits_keep_their_low_bits(tmp_path: Path) -> None:
    """Twelve bits in sixteen: 0, 1,023 and 4,095 are 0, 64 and 255; by their high bytes alone 0, 51 and 255."""
    values = np.array([[[0, 1023, 4095], [4095, 0, 1023]]] * 2, dtype=np.uint16)
    expected = [[[0, 64, 255], [255, 0, 64]]] * 2
    opaque = np.concatenate([values, np.full((2, 2, 1), 65535, dtype=np.uint16)], axis=2)
    write_png_of_16_bits(tmp_path / "rgb.png", values, 2)
    write_png_of_16_bits(tmp_path / "rgba.png", opaque, 6)
    tifffile.imwrite(tmp_path / "little.tif", values, photometric="rgb")
    tifffile.imwrite(tmp_path / "big.tif", values, photometric="rgb", byteorder=">")
    tifffile.imwrite(tmp_path / "packed.tif", values, photometric="rgb", compression="zlib", predictor=True)
    tifffile.imwrite(tmp_path / "alpha.tif", opaque, photometric="rgb")
    orientation = [(274, "H", 1, 6, True)]  # stored turned by 90 degrees
    tifffile.imwrite(tmp_path / "turned.tif", np.rot90(values), photometric="rgb", extratags=orientation)
    assert to_rgb(values).tolist() == to_rgb(opaque).tolist() == expected
    for name in ("rgb.png", "rgba.png", "little.tif", "big.tif", "packed.tif", "alpha.tif", "turned.tif"):
        assert to_rgb(tmp_path / name).tolist() == expected, name
        assert read_image((tmp_path / name).read_bytes()).tolist() == expected, name
        with Image.open(tmp_path / name) as image:
            assert to_rgb(image).tolist() == expected, name
    write_png_of_16_bits(tmp_path / "la.png", opaque[..., [0, 3]], 4)
    assert to_rgb(tmp_path / "la.png").tolist() == to_rgb(opaque[..., [0, 3]]).tolist() == [[[0] * 3, [255] * 3]] * 2


@TWO_CHANNELS
def test_colours_of_16_bits_agree_in_files_and_arrays(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 4096, (40, 56, 4), dtype=np.uint16)
    values[..., 3] *= 16
    for channels, colour_type in ((2, 4), (3, 2), (4, 6)):
        array = values[..., -channels:]
        write_png_of_16_bits(tmp_path / "a.png", array, colour_type)
        np.testing.assert_array_equal(to_rgb(tmp_path / "a.png"), to_rgb(array))


def test_more_than_8_bits_in_pil_images_are_stretched() -> None:
    """Of 16 and 32 bits, and floats: the lowest value is black, the highest white."""
    grey = np.array([[1000, 1100, 1200]])
    for mode, dtype in (("I;16", np.uint16), ("I", np.int32), ("F", np.float32)):
        image = Image.fromarray(grey.astype(dtype))
        assert image.mode == mode
        assert to_rgb(image).tolist() == [[[0] * 3, [128] * 3, [255] * 3]], mode


def test_alpha_that_hides_nearly_everything_is_warned_of(tmp_path: Path) -> None:
    """Near infrared as fourth channel, which the file calls transparency."""
    near_infrared = np.full((4, 5, 4), (200, 100, 50, 10), dtype=np.uint8)
    Image.fromarray(near_infrared).save(tmp_path / "a.tif")
    with pytest.warns(UserWarning, match=r"a\.tif: 96% transparent, so nearly white"):
        assert read_image(tmp_path / "a.tif")[0, 0].tolist() == [253, 249, 247]
    with pytest.warns(UserWarning, match="image: 96% transparent"):
        to_rgb(near_infrared)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_rgb(np.full((4, 5, 4), (200, 100, 50, 30), dtype=np.uint8))


def test_a_tiff_that_pillow_does_not_know_is_called_one(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 3), dtype=np.float32), photometric="rgb")
    with pytest.raises(
        ValueError,
        match=r"a\.tif: a TIFF of a kind that can't be read \(float of 32 bits, 3",
    ):
        read_image(tmp_path / "a.tif")


def test_a_pil_image_is_turned_upright_as_its_file_is(tmp_path: Path, rng: np.random.Generator) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert to_rgb(image).shape == (30, 20, 3)
        np.testing.assert_array_equal(to_rgb(image), read_image(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("array", "options", "kind"),
    [
        (np.zeros((4, 5, 3), dtype=np.float32), {"bigtiff": True}, "float of 32 bits, 3 channels"),
        (np.zeros((4, 5), dtype=np.float16), {}, "float of 16 bits, 1 channel"),
        (np.zeros((4, 5, 5), dtype=np.uint8), {"planarconfig": "contig"}, "whole numbers of 8 bits, 5 channels"),
    ],
)
def test_a_tiff_that_pillow_does_not_know_is_described(
    tmp_path: Path, array: np.ndarray, options: dict[str, Any], kind: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb" if array.shape[2:] == (3,) else None, **options)
    with pytest.raises(ValueError, match=rf"can't be read \({kind}\): save it as grey or RGB of 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_of_16_bits_are_refused(tmp_path: Path, compression: str | None) -> None:
    """Pillow 13 makes noise of them, or keeps the high bytes alone; planes of 8 bits are read."""
    values = np.arange(60, dtype=np.uint16).reshape(3, 4, 5) * 60
    options = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    with pytest.raises(ValueError, match=r"a\.tif: a TIFF of 16-bit colours, each in a plane of its own: save it with"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", (values // 16).astype(np.uint8), **options)
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), np.moveaxis(values // 16, 0, 2))


@pytest.mark.parametrize("plain", [False, True])
def test_a_ppm_of_16_bits_keeps_its_low_bits(tmp_path: Path, plain: bool) -> None:
    values = np.array([[[0, 1023, 4095], [4095, 0, 1023]]] * 2, dtype=np.uint16)
    pixels = " ".join(map(str, values.ravel())).encode() if plain else values.astype(">u2").tobytes()
    (tmp_path / "a.ppm").write_bytes(b"P3" * plain + b"P6" * (not plain) + b"\n2 2\n65535\n" + pixels)
    assert read_image(tmp_path / "a.ppm").tolist() == [[[0, 64, 255], [255, 0, 64]]] * 2


@pytest.mark.parametrize("name", ["a.avif", "a.heic"])
def test_avif_and_heic_are_read(tmp_path: Path, name: str) -> None:
    """Within their loss: a gradient."""
    if name == "a.heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    pixels = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    Image.fromarray(pixels).save(tmp_path / name, quality=90)
    assert Path(name).suffix in image_extensions()
    assert np.abs(read_image(tmp_path / name).astype(int) - pixels).max() <= 8
    assert np.abs(read_image((tmp_path / name).read_bytes()).astype(int) - pixels).max() <= 8
    assert inspect_image(tmp_path / name) == (48, 64)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:40])
    with pytest.raises(ValueError, match=r"a\.(avif|heic): "):
        read_image(tmp_path / name)


def test_avif_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :8] = 255  # on the left, so above once it is turned by 90 degrees clockwise
    save_oriented(tmp_path / "a.avif", Image.fromarray(pixels), 6)
    upright = read_image(tmp_path / "a.avif")
    assert upright.shape == (32, 16, 3)
    assert upright[:6].min() > 200
    assert upright[10:].max() < 50


HEIC_START = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_formats_without_their_decoder_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_formats, "reads_heif", lambda: False)
    monkeypatch.setattr(image_formats, "reads_avif", lambda: False)
    image_formats.image_extensions.cache_clear()
    try:
        (tmp_path / "a.jpg").write_bytes(HEIC_START)
        (tmp_path / "b.png").write_bytes(HEIC_START.replace(b"heic", b"avif"))
        with pytest.raises(ValueError, match=r"a\.jpg: HEIC: reading it takes `pip install 'instancefcn\[heif\]'`"):
            read_image(tmp_path / "a.jpg")
        with pytest.raises(ValueError, match=r"b\.png: AVIF: reading it takes Pillow 11\.3 or later"):
            read_image(tmp_path / "b.png")
        assert not image_extensions() & {".heic", ".avif"}
        line = image_formats.describe_left_out(
            [Path("a.HEIC"), Path("b.heic"), Path("c.avif"), Path("d.jpg"), Path("e.txt")]
        )
        assert line == (
            "3 files left out: 1 .avif (AVIF: reading it takes Pillow 11.3 or later); "
            "2 .heic (HEIC: reading it takes `pip install 'instancefcn[heif]'`)"
        )
    finally:
        image_formats.image_extensions.cache_clear()


@pytest.mark.parametrize("image", [b"\xff\xd8", None, 3, [[1, 2]]])
def test_what_is_no_image_is_a_type_error(image: Any) -> None:
    with pytest.raises(TypeError, match="an image must be a file's path, an array or a PIL image, not"):
        inspect.unwrap(to_rgb)(image)  # without the checks of annotations that tests add


def test_a_pil_image_that_cannot_be_read_is_a_value_error(tmp_path: Path) -> None:
    """One of a file is decoded only when it is asked for."""
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with Image.open(path) as image, pytest.raises(ValueError, match=r"cut.jpg: .*truncated"):
        to_rgb(image)
    with pytest.raises(ValueError, match="image: no pixels"):
        to_rgb(Image.new("RGB", (0, 5)))


def test_nan_and_infinity_take_no_contrast(rng: np.random.Generator) -> None:
    """Temperatures in kelvin, of which some are missing: a few values far away from the others."""
    kelvin = rng.uniform(280, 310, (60, 80)).astype(np.float32)
    expected = to_rgb(kelvin)
    spoilt = kelvin.copy()
    spoilt[:1], spoilt[1:2], spoilt[2:3] = np.nan, np.inf, -np.inf
    found = to_rgb(spoilt)
    assert np.abs(found[3:].astype(int) - expected[3:]).max() <= 3
    assert (found[0].max(), found[1].min(), found[2].max()) == (0, 255, 0)
    assert not to_rgb(np.full((4, 5), np.nan)).any()


@pytest.mark.parametrize("kind", ["int32", "int64", "uint32", "float32", "float64"])
def test_alpha_is_out_of_what_it_goes_up_to(kind: str) -> None:
    """An image of 8 bits in another type is no other image."""
    rgba = np.zeros((8, 10, 4), dtype=np.uint8)
    rgba[..., 0], rgba[2:4, :5, 1], rgba[..., 3] = 255, 255, np.linspace(0, 255, 10).round()
    found = to_rgb(rgba.astype(kind))
    np.testing.assert_array_equal(found, to_rgb(rgba))
    ones = rgba.astype(kind)
    ones[..., 3] = 1
    np.testing.assert_array_equal(to_rgb(ones), rgba[..., :3])


def test_what_is_no_alpha_is_refused() -> None:
    four = np.ones((8, 10, 4), dtype=np.float32) * 80_000
    with pytest.raises(ValueError, match="the last channel is no alpha: it goes up to 80000; leave it out"):
        to_rgb(four)


def test_an_array_that_was_saved_is_none_of_the_formats(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"a\.npy: an array: save PNG or TIFF, or give it to Proposer"):
        read_image(tmp_path / "a.npy")


def test_two_channels_are_grey_and_opacity_with_a_warning() -> None:
    """Two stains of a microscope are none."""
    image = np.dstack([np.full((2, 3), 100, dtype=np.uint8), np.full((2, 3), 255, dtype=np.uint8)])
    with pytest.warns(UserWarning, match="of two channels the second is opacity"):
        assert to_rgb(image).tolist() == np.full((2, 3, 3), 100).tolist()
