"""What becomes of instances that can't be read: nobody may take them for background."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.data.augmentation import Augmentation, augment
from instancefcn.data.open import open_source
from instancefcn.geometry.rle import decode
from labelled import HEIGHT, WIDTH, box_mask, coco_annotation, labelme_shape, square, write_coco, write_image
from labelled import write_labelme as write_labelme_file

BOX = box_mask(2, 3, 10, 11)
LINE = [[1, 1], [5, 5]]


def write_yolo(folder: Path, line: str) -> str:
    write_image(folder / "images" / "val" / "a.png")
    (folder / "labels" / "val").mkdir(parents=True)
    (folder / "labels" / "val" / "a.txt").write_text(f"{line}\n0 0.5 0.5 1 0.5 1 1 0.5 1\n")
    return f"yolo:{folder},val"


def write_geojson(folder: Path, coordinates: Any) -> str:
    write_image(folder / "images" / "a.png")
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": coordinates}}
    (folder / "a.geojson").write_text(json.dumps([feature]))
    return f"geojson:{folder}"


def write_xml(folder: Path, shape: str) -> str:
    write_image(folder / "images" / "a.png")
    shape = f'<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">{shape}</image>'
    (folder / "a.xml").write_text(f"<annotations>{shape}</annotations>")
    return f"cvat:{folder / 'a.xml'},{folder / 'images'}"


def write_labelstudio(folder: Path, value: dict[str, Any]) -> str:
    write_image(folder / "images" / "a.png")
    result = {"value": value, "original_width": WIDTH, "original_height": HEIGHT}
    (folder / "a.json").write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": [result]}]}]))
    return f"labelstudio:{folder / 'a.json'},{folder / 'images'}"


def write_labelme(folder: Path, *shapes: dict[str, Any]) -> str:
    write_labelme_file(folder, list(shapes))
    return f"labelme:{folder}"


def write_one_of_coco(folder: Path, **fields: Any) -> str:
    return write_coco(folder, [coco_annotation(1, **fields)])


@pytest.mark.parametrize(
    ("write", "region"),
    [
        # COCO: by its box, or else by the points of its polygons
        (lambda f: write_one_of_coco(f, segmentation=[]), BOX),
        (lambda f: write_one_of_coco(f, segmentation=[[1, 1, 5, 5]]), BOX),
        (lambda f: write_one_of_coco(f, iscrowd="many"), BOX),
        (lambda f: write_one_of_coco(f, segmentation={"size": [1, 2], "counts": "1"}, bbox=[1.2, 3, 2.3, 1]),
         box_mask(1, 3, 4, 4)),
        (lambda f: write_one_of_coco(f, segmentation=[square(29, 3)], bbox=[28, 3, 9, 8], iscrowd=7),
         None),  # most of its box is outside
        (lambda f: write_one_of_coco(f, segmentation=[square(2, 3)], bbox=None, iscrowd=7), BOX),
        (lambda f: write_one_of_coco(f, segmentation=[[2, 3, 10, 11, 4, 5]], bbox=None), BOX),
        (lambda f: write_one_of_coco(f, segmentation=[square(200, 3)], bbox=None), None),
        (lambda f: write_one_of_coco(f, segmentation=[[1, 1, 5, 5]], bbox=[0, 0, 0, 0]), None),
        (lambda f: write_one_of_coco(f, segmentation=None, bbox=[10**400, 0, 1, 1]), None),
        (lambda f: write_one_of_coco(f, segmentation=3, bbox=None), None),
        # labelme
        (lambda f: write_labelme(f, labelme_shape([[2, 3], [9.5, 10.5]], "mask", mask="?")), box_mask(2, 3, 10, 11)),
        (lambda f: write_labelme(f, labelme_shape(LINE, "line")), None),
        (lambda f: write_labelme(f, labelme_shape(LINE)), None),
        (lambda f: write_labelme(f, labelme_shape([[2, 3], [10, 11], [4, 5]])), BOX),
        (lambda f: write_labelme(f, labelme_shape([[2, 3], [10, 11], [4, 5], [2, 3]], "rotation")), BOX),
        # YOLO
        (lambda f: write_yolo(f, "0 0.1875 0.25 0.25 0.25"), box_mask(2, 3, 10, 9)),
        (lambda f: write_yolo(f, "0 0.0625 0.125 0.3125 0.125 0.3125 0.45833333 0.9"), None),
        (lambda f: write_yolo(f, "-1 0.0625 0.125 0.3125 0.125 0.3125 0.45833333"), BOX),
        (lambda f: write_yolo(f, "0 2 3 10 3 10 11"), None),  # pixels
        (lambda f: write_yolo(f, "cell 0 0 1"), None),
        # CVAT
        (lambda f: write_xml(f, '<box label="a" xtl="2" ytl="3" xbr="10" ybr="11"/>'), BOX),
        (lambda f: write_xml(f, '<mask label="a" rle="1" left="2" top="3" width="8" height="8"/>'), BOX),
        (lambda f: write_xml(f, '<mask label="a" rle="1" left="x" top="3" width="8" height="8"/>'), None),
        (lambda f: write_xml(f, '<polyline label="a" points="2,3;10,11;2,3"/>'), None),
        (lambda f: write_xml(f, '<polygon label="a" points="2,3;10,11;2,3"/>'), BOX),
        # Label Studio
        (lambda f: write_labelstudio(f, {"points": [[6.25, 12.5], [31.25, 45.8333], [6.25, 12.5]]}), BOX),
        (lambda f: write_labelstudio(f, {"points": "many"}), None),
        (lambda f: write_labelstudio(f, {"rle": [0], "format": "rle"}), None),
        (lambda f: write_labelstudio(f, {"x": 1, "y": 1, "width": 2}), None),  # a point
        # GeoJSON
        (lambda f: write_geojson(f, [[[2, 3], [10, 11], [4, 5], [2, 3]]]), BOX),
        (lambda f: write_geojson(f, [[[2, 3], [10, 3]]]), None),
        (lambda f: write_geojson(f, "square"), None),
    ],
)  # fmt: skip
def test_what_is_rejected_is_left_aside(
    tmp_path: Path, write: Callable[[Path], str], region: np.ndarray | None
) -> None:
    source = open_source(write(tmp_path))
    (problem,) = source.problems
    labels, sample = source.labels(0), source[0]
    assert problem.annotation_id is not None
    assert sample.partial == labels.partial == (region is None)
    aside = sample.instances.ignore
    assert int(aside.sum()) == len(labels.rejected) == (region is not None)
    assert not sample.instances.judged[aside].any()
    assert len(labels.instances) == len(sample.instances) - aside.sum()
    if region is not None:
        np.testing.assert_array_equal(decode(labels.rejected[0]), region)
        np.testing.assert_array_equal(decode(sample.instances.rles[-1]), region)


def test_parts_of_a_rejected_instance_are_left_aside_too(tmp_path: Path) -> None:
    """What could be read of it, and the box of what could not."""
    sound, bad = labelme_shape([[12, 3], [16, 11]], "rectangle"), labelme_shape([[2, 3], [9, 10]], "mask", mask="?")
    other = labelme_shape([[20, 3], [24, 11]], "rectangle")
    source = open_source(write_labelme(tmp_path, *(shape | {"group_id": 1} for shape in (sound, bad)), other))
    labels = source.labels(0)
    assert labels.instances.ids.tolist() == [2]
    assert not labels.partial
    np.testing.assert_array_equal(
        np.sum([decode(rle) for rle in labels.rejected], axis=0), box_mask(2, 3, 9, 10) | box_mask(12, 3, 16, 11)
    )


def test_training_sees_the_region_and_no_background(tmp_path: Path) -> None:
    still = Augmentation(
        shorter_sides=(float(HEIGHT),), draw="one_of", crop=0, flip=False, colour_jitter=0.0, copy_paste=0.0
    )
    spec = write_coco(tmp_path, [coco_annotation(1, segmentation=[]), coco_annotation(2, segmentation=[square(20, 3)])])
    view = augment(open_source(spec)[0], still, np.random.default_rng(0))
    assert view.gt_ignored.tolist() == [False, True]
    assert view.gt_boxes.tolist() == [[20, 3, 28, 11], [2, 3, 10, 11]]
    assert not view.partial
    unknown = write_coco(tmp_path, [coco_annotation(1, segmentation=[], bbox=None)])
    assert augment(open_source(unknown)[0], still, np.random.default_rng(0)).partial


def test_an_image_with_more_labels_than_are_read_is_partial(tmp_path: Path) -> None:
    shapes = [labelme_shape([[2, 3], [10, 11]], "rectangle")]
    spec = write_labelme(tmp_path, *shapes)
    write_labelme_file(tmp_path, shapes, name="b", imagePath="a.png")
    source = open_source(spec)
    assert len(source) == 1
    assert source.labels(0).partial
    assert [str(problem) for problem in source.problems] == [
        f"{tmp_path}/b.json: its image a.png is that of a.json too: put its labels into one file"
    ]
