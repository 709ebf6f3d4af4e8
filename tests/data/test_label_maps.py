"""Label maps in images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

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
