from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.scenes import annotation, coco, rectangle, result
from instancefcn.evaluation.results import parse_ground_truth, parse_results

MASK = rectangle(8, 10, 1, 2, 4, 7)
SIZES = {7: (8, 10), 3: (5, 5)}


def test_ground_truth_comes_by_image_id_in_the_order_of_its_file() -> None:
    data = coco(
        SIZES,
        [
            annotation(10, 7, MASK, area=99, iscrowd=1),
            annotation(0, 3, rectangle(5, 5, 0, 0, 2, 2)),  # no area: the mask's
            annotation(4, 7, [[2, 1, 7, 1, 7, 4, 2, 4]], area=15.5),
        ],
    )
    third, seventh = parse_ground_truth(data)
    assert (third.image_id, third.height, third.width) == (3, 5, 5)
    assert third.areas.tolist() == [4]
    assert (seventh.image_id, seventh.height, seventh.width) == (7, 8, 10)
    assert seventh.areas.tolist() == [99, 15.5]
    assert seventh.crowd.tolist() == [True, False]
    assert seventh.regions[0] == seventh.regions[1]  # the polygon is the same rectangle


def test_proposals_come_best_first_and_ties_in_file_order() -> None:
    images = parse_ground_truth(coco(SIZES, []))
    results = [
        result(7, MASK, 0.5, bbox=[0, 0, 1, 1]),
        result(3, rectangle(5, 5, 0, 0, 2, 2), 0.1, bbox=[1, 1, 1, 1]),
        result(7, MASK, 0.9, bbox=[0, 0, 2, 2]),
        result(7.0, MASK, 0.5, bbox=[0, 0, 3, 3]),  # pandas writes ids so
    ]
    third, seventh = parse_results(results, images, "bbox")
    assert third.scores.tolist() == [0.1]
    assert seventh.scores.tolist() == [0.9, 0.5, 0.5]
    assert np.asarray(seventh.regions)[:, 2].tolist() == [2, 1, 3]
    assert len(seventh.top(2)) == 2
    assert len(seventh.top(9)) == 3


def test_box_is_the_masks_where_there_is_none() -> None:
    images = parse_ground_truth(coco(SIZES, [annotation(1, 7, MASK)]), "bbox")
    assert np.asarray(images[1].regions).tolist() == [[2, 1, 5, 3]]
    assert images[1].areas.tolist() == [15]
    scored = parse_results([result(7, MASK, 1)], images, "bbox")
    assert np.asarray(scored[1].regions).tolist() == [[2, 1, 5, 3]]


def test_nothing_is_no_error() -> None:
    assert parse_ground_truth({"images": [], "annotations": []}) == []
    images = parse_ground_truth(coco(SIZES, []))
    for iou in ("segm", "bbox"):
        assert [len(scored) for scored in parse_results([], images, iou)] == [0, 0]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"annotations": []}, "a.json: not COCO results, which are a list"),
        (["x"], "a.json, result 0: not an object"),
        ([result(8, MASK, 1)], "a.json, result 0: image_id 8 is not among the 2 images"),
        ([{"score": 1}], "result 0: image_id None"),
        ([result(7, MASK, 1) | {"image_id": [7]}], r"result 0: image_id \[7\]"),
        ([{"image_id": 7, "score": 1}], r"result 0 \(image_id 7\): segmentation is missing$"),
        ([{"image_id": 7, "score": 1, "bbox": [1, 1, 1, 1]}], "segmentation is missing; it has a bbox"),
        ([result(7, MASK, 1), result(3, MASK, 1)], r"result 1 \(image_id 3\): RLE size is \[8, 10\], but .* \[5, 5\]"),
        ([result(7, MASK, 1), result(7, MASK, float("nan"))], "result 1: score is nan, not a finite number"),
        ([result(7, MASK, float("inf"))], "score is inf"),
        ([result(7, MASK, "0.5")], "score is '0.5'"),  # pyright: ignore[reportArgumentType]
        ([{"image_id": 7, "segmentation": MASK}], "score is None"),
        ([result(7, MASK, 1), result(7, MASK | {"counts": "5"}, 1)], r"result 1 \(image_id 7\): the RLE is damaged"),
    ],
)
def test_unusable_proposals_are_named(results: Any, message: str) -> None:
    images = parse_ground_truth(coco(SIZES, []))
    with pytest.raises(ValueError, match=message):
        parse_results(results, images, source="a.json")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "bbox is missing, and there is no segmentation"),
        ({"bbox": [1, 1, float("nan"), 1]}, "is not \\[x, y, width, height\\]"),
        ({"segmentation": MASK | {"counts": "5"}}, "RLE is damaged"),
    ],
)
def test_unusable_boxes_are_named(entry: dict[str, Any], message: str) -> None:
    images = parse_ground_truth(coco(SIZES, []))
    with pytest.raises(ValueError, match=message):
        parse_results([{"image_id": 7, "score": 1} | entry], images, "bbox")


def test_damage_is_found_beyond_the_first_block() -> None:
    images = parse_ground_truth(coco(SIZES, []))
    results = [result(7, MASK, 1) for _ in range(5000)]
    results[4500] = result(7, MASK | {"counts": "5"}, 1)
    with pytest.raises(ValueError, match="result 4500 "):
        parse_results(results, images)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "b.json: not COCO annotations"),
        ({"images": []}, "b.json: not COCO annotations"),
        ({"images": ["x"], "annotations": []}, "image 0: needs id, height and width"),
        ({"images": [{"id": 1, "height": 3}], "annotations": []}, "image 0: needs id, height and width"),
        ({"images": [{"id": "1", "height": 3, "width": 3}], "annotations": []}, "image 0: needs id"),
        ({"images": [{"id": 1, "height": 0, "width": 3}], "annotations": []}, r"image 0 \(id 1\): size 0 x 3"),
        ({"images": [{"id": 1, "height": 3, "width": 3}] * 2, "annotations": []}, "image 1: id 1 was used before"),
        (coco(SIZES, [annotation(1, 9, MASK)]), "annotation 0: image_id 9 is not among"),
        (coco(SIZES, [annotation(1, 7, MASK, area=float("nan"))]), "annotation 0: area is nan"),
        (coco(SIZES, [annotation(1, 7, [])]), r"annotation 0 \(image_id 7\): segmentation is empty"),
        (coco(SIZES, [annotation(1, 7, MASK | {"counts": "5"})]), r"annotation 0 \(image_id 7\): the RLE is damaged"),
    ],
)
def test_unusable_annotations_are_named(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_ground_truth(data, source="b.json")
