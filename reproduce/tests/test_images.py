from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from labelled import coco_annotation, write_coco, write_image
from reproduce.datasets import ImageSelection, describe, merge, open_images


@pytest.fixture
def images(tmp_path: Path) -> ImageSelection:
    """Two sources, of six and of two images, whose ids are not in the order of their files."""
    specs = []
    for name, count in (("a", 6), ("b", 2)):
        entries = []
        for index in range(count):
            path = write_image(tmp_path / name / "images" / f"{name}{index}.png")
            entries.append({"id": 100 - index, "file_name": path.name, "height": 24, "width": 32})
        annotations = [coco_annotation(index + 1, 100 - index) for index in range(count)]
        specs.append(write_coco(tmp_path / name, annotations, entries))
    return ImageSelection((specs[0], f"partial+{specs[1]}"))


def names(images: ImageSelection) -> list[list[str]]:
    sources = open_images(images)
    return [[source.labels(index).file_name for index in range(len(source))] for source in sources]


def test_everything_is_opened(images: ImageSelection) -> None:
    assert [source.partial for source in open_images(images)] == [False, True]
    assert [sorted(source) for source in names(images)] == [[f"a{i}.png" for i in range(6)], ["b0.png", "b1.png"]]


def test_smaller_draws_are_part_of_larger_ones(images: ImageSelection) -> None:
    drawn = [{name for source in names(replace(images, drawn=count)) for name in source} for count in range(1, 9)]
    assert [len(chosen) for chosen in drawn] == list(range(1, 9))
    assert all(smaller < larger for smaller, larger in pairwise(drawn))
    others = {name for source in names(replace(images, drawn=4, seed=1)) for name in source}
    assert others != drawn[3]


def test_a_list_and_the_lowest_ids(images: ImageSelection, tmp_path: Path) -> None:
    listed = tmp_path / "train.txt"
    listed.write_text("a1  1\nb0 -1\n\na4\nnowhere\n")
    only_listed = replace(images, listed_in=str(listed))
    assert [sorted(source) for source in names(only_listed)] == [["a1.png", "a4.png"], ["b0.png"]]
    assert [sorted(source) for source in names(ImageSelection(images.specs[:1], first=2))] == [["a4.png", "a5.png"]]
    listed.write_text("nowhere\n")
    with pytest.raises(ValueError, match=r"train.txt names no image of coco:"):
        open_images(only_listed)


def test_a_page_says_which_images_were_taken(images: ImageSelection) -> None:
    both = f"`{images.specs[0]}` and `{images.specs[1]}`"
    assert describe(images) == both
    chosen = ImageSelection(images.specs, listed_in="val.txt", first=5000, drawn=7, seed=2)
    of_these = "those that `val.txt` lists, of these the 5,000 with the lowest ids, of these 7 drawn with seed 2"
    assert describe(chosen) == f"{both}, of these {of_these}"
    assert describe(replace(images, tenth="left out")) == f"{both}, of these every tenth left out"


def test_no_training_photograph_is_in_a_val_set(shared_data: Path) -> None:
    def files_of(split: str) -> dict[bytes, Path]:
        paths = [path for path in shared_data.glob(f"*/{split}/**/*") if path.suffix in (".jpg", ".png")]
        paths += shared_data.glob("voc2007/**/JPEGImages/*.jpg") if split == "val" else []
        return {hashlib.sha256(path.read_bytes()).digest(): path for path in paths}

    train, val = files_of("train"), files_of("val")
    assert min(len(train), len(val)) > 500
    assert not [(train[digest], val[digest]) for digest in train.keys() & val.keys()]


def test_merged_images_have_ids_of_their_own(images: ImageSelection) -> None:
    merged = merge(open_images(images))
    assert [merged.labels(index).image_id for index in range(len(merged))] == list(range(1, 9))
    assert merged.image(7).shape == (24, 32, 3)
    alone = open_images(ImageSelection(images.specs[:1]))
    assert merge(alone) is alone[0]
