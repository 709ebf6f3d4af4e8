"""Labelled images from arrays: they hold the masks that were given, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instancefcn import ArraySource, average_recall, load_recipe, source_to_coco, train
from instancefcn.geometry.rle import decode
from instancefcn.training.fingerprint import sum_source
from pictures import rectangle

SIZE = 48, 64
RNG = np.random.default_rng(0)
TINY = Path(__file__).parent.parent / "tiny.toml"


def overlapping() -> np.ndarray:
    return np.stack([rectangle(4, 4, 30, 40, SIZE), rectangle(20, 30, 44, 60, SIZE)])


def test_masks_are_those_that_were_given() -> None:
    images = [RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8), np.zeros(SIZE, dtype=np.uint16)]
    labels = np.zeros(SIZE, dtype=np.int64)
    labels[2:20, 3:30], labels[30:40, 3:30] = 9, 4
    source = ArraySource(images, [overlapping(), labels], name="mine")
    first, second = source
    np.testing.assert_array_equal(first.image, images[0])
    np.testing.assert_array_equal([decode(rle) for rle in first.instances.rles], overlapping())
    np.testing.assert_array_equal([decode(rle) for rle in second.instances.rles], [labels == 4, labels == 9])
    assert second.image.shape == (*SIZE, 3)
    assert (source.name, source.partial, first.partial, source.categories) == ("mine", False, False, {1: "object"})
    assert ArraySource(images[:1], [overlapping()], partial=True)[0].partial


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.uint64])
def test_label_maps_of_any_whole_numbers(dtype: type) -> None:
    labels = np.zeros(SIZE, dtype=dtype)
    labels[:9], labels[20:, 5:] = np.iinfo(dtype).max, 3
    rles = ArraySource([labels], [labels])[0].instances.rles
    np.testing.assert_array_equal([decode(rle) for rle in rles], [labels == 3, labels == np.iinfo(dtype).max])


def test_other_pixels_are_other_data(tmp_path: Path) -> None:
    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    one, other = (sum_source(ArraySource([pixels], [overlapping()])).sums for pixels in (image, image + 1))
    assert one == sum_source(ArraySource([image.copy()], [overlapping()])).sums
    assert one != other


def test_they_are_trained_on_and_measured_by(tmp_path: Path) -> None:
    images = [np.where(overlapping().any(0)[..., None], 220, RNG.integers(0, 60, (*SIZE, 3))).astype(np.uint8)] * 3
    source = ArraySource(images, [overlapping()] * 3)
    best = train(
        load_recipe(TINY), [source], str(tmp_path / "run"), iterations=1, init="random", device="cpu", workers=0
    )
    assert best.is_file()
    table = source_to_coco(source)
    results = [one | {"score": 1.0} for one in table["annotations"]]
    assert average_recall(table, results)["coco"]["AR@10"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (1, [], "mine: 1 images and masks of 0"),
        (1, [np.zeros((1, 48, 60), dtype=bool)], r"image 0 has 48 x 64 .*, and masks bool \[1, 48, 60\]"),
        (1, [np.zeros((1, *SIZE))], r"image 0: masks are bool .*, not float64"),
        (1, [np.zeros((1, *SIZE), dtype=int)], r"image 0: masks are bool .*, not int64 \[1, 48, 64\]"),
        (2, [overlapping(), np.zeros((2, *SIZE), dtype=bool)], "image 1: mask 0 is empty"),
        (1, [np.full(SIZE, -1)], "image 0: a label map numbers objects from 1, and has -1"),
    ],
)
def test_what_does_not_belong_together_is_named(images: int, masks: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArraySource([np.zeros((*SIZE, 3), dtype=np.uint8)] * images, masks, name="mine")
