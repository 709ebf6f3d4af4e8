"""Label maps in images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import oracles
from instancefcn.cleaning import connected_parts
from instancefcn.data.label_maps import split_label_map
from instancefcn.data.label_pixels import read_label_map
from instancefcn.data.open import open_source
from instancefcn.data.source import Source
from instancefcn.geometry.rle import decode, encode
from labelled import HEIGHT, WIDTH, box_mask, write_image


def write_mask(path: Path, label_map: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_map).save(path)


def reasons(source: Source) -> list[tuple[str, int | None, str]]:
    return [(Path(p.file).name, p.annotation_id, p.reason) for p in source.problems]


@settings(deadline=None)  # the first one may be compiled
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3, 60_000]))
def test_split_label_map(seed: int, height: int, width: int, highest: int) -> None:
    label_map = np.random.default_rng(seed).integers(0, highest + 1, (height, width)).astype(np.int32)
    labels, rles = split_label_map(label_map)
    assert labels == sorted(set(label_map.ravel().tolist()) - {0})
    assert rles == [encode(label_map == label) for label in labels]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels(tmp_path: Path, dtype: type) -> None:
    many = 300 if dtype is np.uint16 else 200
    label_map = (many * box_mask(12, 3, 20, 20) + 7 * box_mask(2, 3, 10, 11)).astype(dtype)
    write_image(tmp_path / "images" / "b.jpg")
    write_mask(tmp_path / "masks" / "b.png", label_map)
    write_image(tmp_path / "images" / "a.png")
    write_mask(tmp_path / "masks" / "a.png", np.zeros_like(label_map))
    (tmp_path / "images" / "notes.txt").touch()
    source = open_source(f"labels:{tmp_path}")
    assert source.problems == []
    assert source.categories == {1: "object"}
    assert [(s.image_id, s.file_name, len(s.instances)) for s in source] == [(1, "a.png", 0), (2, "b.jpg", 2)]
    instances = source.labels(1).instances
    assert instances.ids.tolist() == [7, many]
    assert instances.category_ids.tolist() == [1, 1]
    assert instances.boxes_xyxy.tolist() == [[2, 3, 10, 11], [12, 3, 20, 20]]
    np.testing.assert_array_equal(decode(instances.rles[0]), box_mask(2, 3, 10, 11))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("suffix", ["tif", "TIFF"])
def test_labels_in_tiff(tmp_path: Path, dtype: str, compression: str | None, suffix: str) -> None:
    many = {"uint8": 200, "int16": 30_000, "uint16": 60_000}.get(dtype, 100_000)
    label_map = (many * box_mask(12, 3, 20, 20) + 7 * box_mask(2, 3, 10, 11)).astype(dtype)
    write_image(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / f"a.{suffix}", label_map, compression=compression)
    source = open_source(f"labels:{tmp_path}")
    assert source.problems == []
    instances = source.labels(0).instances
    assert instances.ids.tolist() == [7, many]
    np.testing.assert_array_equal(decode(instances.rles[1]), box_mask(12, 3, 20, 20))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_of_the_other_byte_order_is_read_right_or_refused(
    tmp_path: Path, dtype: str, compression: str | None
) -> None:
    """Pillow 13 swaps the bytes of some that are packed."""
    label_map = (100 * box_mask(12, 3, 20, 20)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", label_map, compression=compression, byteorder=">")
    refused, read = "", None
    try:
        read = read_label_map(tmp_path / "a.tif")
    except ValueError as error:
        refused = str(error)
    if read is None:
        assert "of the byte order MM: save it as little-endian" in refused
        assert compression is not None
    else:
        np.testing.assert_array_equal(read, label_map)


def test_pages_are_instances(tmp_path: Path) -> None:
    """They may overlap, and whatever number a page has, its own counts."""
    masks = [box_mask(2, 3, 14, 11), box_mask(8, 5, 20, 15), box_mask(8, 5, 9, 6)]
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    pages = np.stack([mask * value for mask, value in zip(masks, (1, 255, 255), strict=True)]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "masks" / "a.tif", pages, photometric="minisblack")
    source = open_source(f"labels:{tmp_path}")
    assert source.problems == []
    instances = source.labels(0).instances
    assert instances.ids.tolist() == [1, 2, 3]
    for rle, mask in zip(instances.rles, masks, strict=True):
        np.testing.assert_array_equal(decode(rle), mask)


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        (
            [np.arange(768).reshape(24, 32) % 3, box_mask(1, 1, 2, 2)],
            "page 1 holds 2 labels: of several pages each has",
        ),
        ([box_mask(1, 1, 2, 2), box_mask(0, 0, 0, 0)], "page 2 holds 0 labels"),
        ([box_mask(1, 1, 2, 2), box_mask(1, 1, 2, 2)[1:]], "page 2 has another size than the first one"),
        ([0.5 * box_mask(1, 1, 2, 2)], "whole numbers, not fractions"),
        ([np.full((HEIGHT, WIDTH), np.nan)], "whole numbers, not fractions"),
        ([-1 * box_mask(1, 1, 2, 2)], "numbers from 0 to 2147483647"),
        ([3e9 * box_mask(1, 1, 2, 2)], "numbers from 0 to 2147483647"),
    ],
)
def test_tiffs_that_are_rejected(tmp_path: Path, pages: list[np.ndarray], reason: str) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    with tifffile.TiffWriter(tmp_path / "masks" / "a.tif") as writer:
        for page in pages:
            writer.write(page.astype(np.float32 if page.dtype.kind == "f" else np.int32), contiguous=False)
    source = open_source(f"labels:{tmp_path}")
    assert len(source) == 0
    (problem,) = source.problems
    assert problem.reason.startswith(f"{tmp_path / 'masks' / 'a.tif'}: ")
    assert reason in problem.reason


def test_unsigned_numbers_beyond_the_signed_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 5), 2**31 + 1, dtype=np.uint32))
    with pytest.raises(ValueError, match="numbers from 0 to 2147483647"):
        read_label_map(tmp_path / "a.tif")


def test_labels_that_are_rejected(tmp_path: Path) -> None:
    sound = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for stem in ("a", "colour", "lone", "size", "twice"):
        write_image(tmp_path / "images" / f"{stem}.png")
    write_image(tmp_path / "images" / "a.jpg")
    write_mask(tmp_path / "masks" / "a.png", sound)
    write_mask(tmp_path / "masks" / "colour.png", np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))
    write_mask(tmp_path / "masks" / "size.png", sound[1:])
    write_mask(tmp_path / "masks" / "twice.png", sound)
    write_mask(tmp_path / "masks" / "twice.tif", sound)
    write_mask(tmp_path / "masks" / "stray.png", sound)
    source = open_source(f"labels:{tmp_path}")
    assert [source.labels(i).file_name for i in range(len(source))] == ["a.jpg"]
    assert [(name, reason.replace(str(tmp_path), "")) for name, _, reason in reasons(source)] == [
        ("stray.png", "no image of this name in /images"),
        ("a.png", "a.jpg has the same stem and is taken"),
        ("colour.png", "/masks/colour.png: a label map holds one index per pixel (grey or palette), not RGB"),
        ("lone.png", "no label map in masks/ for it: it takes one of the same stem"),
        ("size.png", "is 32 x 24 pixels, but its annotations are for 32 x 23"),
        ("twice.png", "2 label maps (twice.png, twice.tif) in masks/ for it: it takes one of the same stem"),
    ]


def test_labels_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="images: holds no image"):
        open_source(f"labels:{tmp_path}")


def write_maps(folder: Path, **maps: np.ndarray) -> str:
    """Label maps of the standard size with their images; returns the spec."""
    for stem, label_map in maps.items():
        write_image(folder / "images" / f"{stem}.png")
        write_mask(folder / "masks" / f"{stem}.png", label_map.astype(np.uint16 if label_map.max() > 255 else np.uint8))
    return f"labels:{folder}"


LEFT, RIGHT = box_mask(2, 3, 10, 11), box_mask(12, 3, 20, 20)
CORNER = box_mask(10, 11, 11, 13)  # touches LEFT by a corner, and not RIGHT


@pytest.mark.parametrize("value", [255, 65535])
def test_a_foreground_mask_is_no_label_map(tmp_path: Path, value: int) -> None:
    """Its two objects would be one instance."""
    spec = write_maps(tmp_path, a=value * (LEFT | RIGHT), b=value * LEFT, c=1 * LEFT + 2 * RIGHT)
    source = open_source(spec)
    assert [s.file_name for s in source] == ["b.png", "c.png"]
    assert reasons(source) == [
        (
            "a.png",
            None,
            f"one value ({value}), 2 separate parts: a foreground mask, not a label map: number the objects, or give "
            "--split-parts",
        )
    ]


def test_specks_and_corners_make_no_foreground_mask(tmp_path: Path) -> None:
    """Nine pixels, and a part that touches by a corner; one more pixel is a part."""
    speck = box_mask(20, 15, 23, 18)
    source = open_source(
        write_maps(tmp_path, a=255 * (LEFT | CORNER | speck), b=255 * (LEFT | speck | box_mask(23, 15, 24, 16)))
    )
    assert [problem.file for problem in source.problems] == [str(tmp_path / "images" / "b.png")]


def test_ones_are_a_foreground_mask_where_half_of_the_folder_says_so(tmp_path: Path) -> None:
    """An object in two parts, numbered 1, is one, unless nothing has another number, and half is in parts."""
    both, one = 1 * (LEFT | RIGHT), 1 * LEFT
    numbered = open_source(write_maps(tmp_path / "numbered", a=both, b=one + 2 * RIGHT, c=one + 2 * RIGHT))
    assert numbered.problems == []
    rare = open_source(write_maps(tmp_path / "rare", a=both, b=one, c=one))
    assert rare.problems == []
    masks = open_source(write_maps(tmp_path / "masks", a=both, b=one))
    assert [(name, reason[:31]) for name, _, reason in reasons(masks)] == [("a.png", "one value (1), 2 separate parts")]


def test_a_map_of_classes_is_no_label_map(tmp_path: Path) -> None:
    more = box_mask(22, 3, 26, 20)
    source = open_source(write_maps(tmp_path, a=1 * (LEFT | more) + 2 * (RIGHT | box_mask(28, 3, 32, 20)), b=1 * LEFT))
    assert [s.file_name for s in source] == ["b.png"]
    assert reasons(source)[0][2].startswith("most labels have separate parts (1 has 2): classes, not objects: number")


def test_connected_parts_become_instances(tmp_path: Path) -> None:
    """In order of their value, then of their first row; what touches by a corner is one."""
    spec = write_maps(tmp_path, a=255 * (LEFT | CORNER | RIGHT) + 7 * box_mask(24, 0, 30, 2), b=255 * LEFT)
    source = open_source(spec, split_parts=True)
    assert source.problems == []
    assert source.labels(0).instances.ids.tolist() == [1, 2, 3]
    expected = [box_mask(24, 0, 30, 2), LEFT | CORNER, RIGHT]
    for rle, mask in zip(source.labels(0).instances.rles, expected, strict=True):
        np.testing.assert_array_equal(decode(rle), mask)
    assert len(source.labels(1).instances) == 1


def test_parts_of_pages_are_split_too(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    pages = np.stack([LEFT | RIGHT, RIGHT]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "masks" / "a.tif", pages, photometric="minisblack")
    assert [
        len(open_source(f"labels:{tmp_path}", split_parts=split).labels(0).instances) for split in (False, True)
    ] == [2, 3]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_connected_parts_are_those_of_a_loop(seed: int, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    parts, count = connected_parts(mask, corners=True)
    np.testing.assert_array_equal(parts, oracles.connected_parts(mask))
    assert count == parts.max(initial=0)


@pytest.mark.parametrize("suffix", ["jpg", "jp2", "tif"])
def test_lossy_label_maps_are_refused(tmp_path: Path, suffix: str) -> None:
    """Compression makes rings of other numbers around each object."""
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    options = {"compression": "jpeg"} if suffix == "tif" else {}
    Image.fromarray((200 * LEFT).astype(np.uint8)).save(tmp_path / "masks" / f"a.{suffix}", **options)
    source = open_source(f"labels:{tmp_path}")
    assert len(source) == 0
    assert "is lossy, and changes the numbers of a label map: save it as PNG" in source.problems[0].reason


def test_frames_of_an_animation_do_not_vanish(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    first, second = (Image.fromarray(mask.astype(np.uint8)) for mask in (LEFT, RIGHT))
    first.save(tmp_path / "masks" / "a.gif", save_all=True, append_images=[second])
    assert "a label map of several frames" in open_source(f"labels:{tmp_path}").problems[0].reason


def test_folders_below_are_searched(tmp_path: Path) -> None:
    """A label map at the same place in its folder, or the only one of its stem."""
    for place in ("s/a.png", "t/a.jpg", "b.png", "s/c.png", "s/.hidden.png"):
        write_image(tmp_path / "images" / place)
    label_map = (1 * LEFT + 2 * RIGHT).astype(np.uint8)
    for place, labels in (
        ("s/a.png", label_map),
        ("t/a.png", 1 * LEFT),
        ("u/v/b.png", label_map),
        ("d.png", label_map),
    ):
        write_mask(tmp_path / "masks" / place, labels.astype(np.uint8))
    (tmp_path / "images" / "folder.png").mkdir()
    source = open_source(f"labels:{tmp_path}")
    assert [(s.file_name, len(s.instances)) for s in source] == [("b.png", 2), ("s/a.png", 2), ("t/a.jpg", 1)]
    assert [(name, reason[:16]) for name, _, reason in reasons(source)] == [
        ("d.png", "no image of this"),
        ("c.png", "no label map in "),
    ]


def test_a_stem_that_stands_for_two_is_no_pair(tmp_path: Path) -> None:
    for place in ("s/a.png", "t/a.png"):
        write_image(tmp_path / "images" / place)
    write_mask(tmp_path / "masks" / "a.png", LEFT.astype(np.uint8))
    source = open_source(f"labels:{tmp_path}")
    assert len(source) == 0
    assert len(source.problems) == 3  # both images, and the label map


def test_images_that_are_not_read_are_problems(tmp_path: Path) -> None:
    spec = write_maps(tmp_path, a=1 * LEFT)
    (tmp_path / "images" / "b.nef").write_bytes(b"raw")
    (tmp_path / "masks" / "b.svg").write_bytes(b"<svg/>")
    assert [(name, reason) for name, _, reason in reasons(open_source(spec))] == [
        ("b.nef", "a camera's raw data: export TIFF or JPEG"),
        ("b.svg", "drawings or layers: export PNG"),
    ]


def test_labels_with_gaps_take_no_memory_between_them(tmp_path: Path) -> None:
    labels, rles = split_label_map(np.array([[0, 2**31 - 1], [2**20 + 5, 3]], dtype=np.int32))
    assert labels == [3, 2**20 + 5, 2**31 - 1]
    assert [np.argwhere(decode(rle)).tolist() for rle in rles] == [[[1, 1]], [[1, 0]], [[0, 1]]]
