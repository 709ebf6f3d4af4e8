from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from instancefcn.evaluation.results import parse_ground_truth, parse_results
from labelled import annotation, coco, rectangle_rle, result

MASK = rectangle_rle(8, 10, 1, 2, 4, 7)
SIZES = {7: (8, 10), 3: (5, 5)}


def test_ground_truth_comes_by_image_id_in_the_order_of_its_file() -> None:
    data = coco(
        SIZES,
        [
            annotation(10, 7, MASK, area=99, iscrowd=1),
            annotation(0, 3, rectangle_rle(5, 5, 0, 0, 2, 2)),  # no area: the mask's
            annotation(4, 7, [[2, 1, 7, 1, 7, 4, 2, 4]], area=15.5),
        ],
    )
    third, seventh = parse_ground_truth(data)
    assert (third.image_id, third.height, third.width) == (3, 5, 5)
    assert third.areas.tolist() == [4]
    assert (seventh.image_id, seventh.height, seventh.width) == (7, 8, 10)
    assert seventh.areas.tolist() == [99, 15.5]
    assert seventh.crowd.tolist() == [True, False]
    assert seventh.regions[0] == seventh.regions[1]  # the polygon is the same rectangle_rle


def test_proposals_come_best_first_and_ties_in_file_order() -> None:
    images = parse_ground_truth(coco(SIZES, []))
    results = [
        result(7, MASK, 0.5, bbox=[0, 0, 1, 1]),
        result(3, rectangle_rle(5, 5, 0, 0, 2, 2), 0.1, bbox=[1, 1, 1, 1]),
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
        (["x"], r"a.json: results\[0\]: not an object"),
        ([result(8, MASK, 1)], r"a.json: results\[0\] \(image_id 8\): image_id 8 is not among the 2 images"),
        ([{"score": 1}], r"results\[0\] .*: image_id None is no whole number"),
        ([result(7, MASK, 1) | {"image_id": [7]}], r"results\[0\] .*: image_id \[7\]"),
        ([{"image_id": 7, "score": 1}], r"results\[0\] \(image_id 7\): segmentation is missing$"),
        ([{"image_id": 7, "score": 1, "bbox": [1, 1, 1, 1]}], "missing; it has a bbox: compare boxes, --iou bbox"),
        ([result(7, MASK, 1), result(3, MASK, 1)], r"\[1\] \(image_id 3\): bad RLE: size \[8, 10\] is not .* \[5, 5\]"),
        ([result(7, MASK, 1), result(7, MASK, float("nan"))], r"\[1\]: score is nan, not a finite number"),
        ([result(7, MASK, float("inf"))], "score is inf"),
        ([result(7, MASK, 10**400)], r"\[0\]: score is 1000.*, not a finite number"),
        ([result(7, MASK, True)], "score is True, not"),
        ([result(7, MASK, "0.5")], "score is '0.5'"),  # pyright: ignore[reportArgumentType]
        ([{"image_id": 7, "segmentation": MASK}], "score is None"),
        ([result(7, MASK, 1), result(7, MASK | {"counts": "5"}, 1)], r"results\[1\] \(image_id 7\): .* are damaged"),
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
        ({"segmentation": MASK | {"counts": "5"}}, "are damaged"),
    ],
)
def test_unusable_boxes_are_named(entry: dict[str, Any], message: str) -> None:
    images = parse_ground_truth(coco(SIZES, []))
    with pytest.raises(ValueError, match=message):
        parse_results([{"image_id": 7, "score": 1} | entry], images, "bbox")


def test_results_that_come_one_by_one_are_held_in_the_bytes_of_their_codes() -> None:
    images = parse_ground_truth(coco(SIZES, []))
    parse_results([result(7, MASK, 1)], images)  # what is imported and compiled once is there
    tracemalloc.start()
    _, seventh = parse_results((result(7, MASK, 1 / (rank + 1)) for rank in range(2_000)), images)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(seventh) == 2_000
    assert list(seventh.regions)[::1_999] == [MASK | {"counts": MASK["counts"].encode()}] * 2
    assert held < 2_000 * 150  # a mask with its dict takes 500


def test_damage_is_found_among_many() -> None:
    images = parse_ground_truth(coco(SIZES, []))
    results = [result(7, MASK, 1) for _ in range(5000)]
    results[4500] = result(7, MASK | {"counts": "5"}, 1)
    with pytest.raises(ValueError, match=r"results\[4500\] "):
        parse_results(results, images)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], 'b.json: has no list "images" of objects'),
        ({"images": []}, 'b.json: has no list "annotations" of objects'),
        ({"images": [{"id": 1, "height": 3}], "annotations": []}, r"images\[0\] \(id 1\): None x 3 is no size"),
        ({"images": [{"id": "x", "height": 3, "width": 3}], "annotations": []}, "id 'x' is no whole number"),
        ({"images": [{"id": 1, "height": 3, "width": 3}] * 2, "annotations": []}, "duplicate id 1"),
        (coco(SIZES, [annotation(1, 9, MASK)]), r"annotations\[0\] \(id 1\): unknown image_id 9"),
        (coco(SIZES, [annotation(1, 7, MASK, area=float("nan"))]), r"annotations\[0\] \(id 1\): area is nan"),
        (coco(SIZES, [annotation(1, 7, MASK, area=10**400)]), r"area is 1000.*, not a finite number"),
        (coco(SIZES, [annotation(1, 7, MASK, area="large")]), "area is 'large', not a finite number"),
        (coco({7: (10**9, 10**9)}, [annotation(1, 7, [[0, 0, 9, 0, 9, 9]])]), r"images\[0\] \(id 7\): .* no size"),
        (
            coco(SIZES, [annotation(99, 7, [])]),
            r"b.json: annotations\[0\] \(id 99\): segmentation is empty.*validate",
        ),
        (
            coco(SIZES, [annotation(1, 7, [], bbox=[1, 2, 3, 4])]),
            "segmentation is empty.*--iou bbox.*convert",
        ),
        (coco(SIZES, [annotation(1, 7, MASK | {"counts": "5"})]), "are damaged"),
        ({"images": [{"id": 7}], "annotations": [annotation(1, 7, MASK)]}, "no width and height, which a mask needs"),
    ],
)
def test_unusable_annotations_are_named(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_ground_truth(data, source="b.json")


def test_what_loses_no_instance_stops_no_evaluation() -> None:
    """Sizes that boxes do not need, ids that are missing or text, names and boxes that masks do not need."""
    sizeless = {"images": [{"id": "7"}], "annotations": [{"image_id": 7.0, "bbox": [1, 2, 3, 4]}]}
    (image,) = parse_ground_truth(sizeless, "bbox")
    assert np.asarray(image.regions).tolist() == [[1, 2, 3, 4]]
    labelled = [
        annotation(None, "7", MASK, bbox=[0, 0, 0, 0], iscrowd="0", area="12.5"),
        annotation("5", 7, MASK, iscrowd="1"),
    ]
    images = coco(SIZES, labelled)
    images["images"][0]["file_name"] = images["images"][1]["file_name"] = "../same.png"
    assert parse_ground_truth(images)[1].crowd.tolist() == [False, True]
    assert parse_ground_truth(images)[1].areas.tolist() == [12.5, 15]
