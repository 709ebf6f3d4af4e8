from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instancefcn.evaluation.average_precision import region_precision
from instancefcn.evaluation.results import split_by_category
from labelled import annotation, coco, random_scenes, rectangle_rle, result
from reproduce.image_precision import PRECISION_MEASURES, ImagePrecision, compare_precision

LEFT, RIGHT = rectangle_rle(10, 20, 0, 0, 10, 10), rectangle_rle(10, 20, 0, 10, 10, 20)


def drawn_again(table: dict[str, Any], results: list[Any], times: list[int]) -> tuple[dict[str, Any], list[Any]]:
    """A data set in which each image, by ascending id, is there so many times, one copy beside the other."""
    ids = sorted(image["id"] for image in table["images"])
    copies = {image_id: [1000 * image_id + copy for copy in range(times[place])] for place, image_id in enumerate(ids)}
    again = {
        "images": [image | {"id": copy} for image in table["images"] for copy in copies[image["id"]]],
        "annotations": [
            a | {"image_id": copy, "id": None} for a in table["annotations"] for copy in copies[a["image_id"]]
        ],
        "categories": table["categories"],
    }
    return again, [entry | {"image_id": copy} for entry in results for copy in copies[entry["image_id"]]]


def measured(table: dict[str, Any], results: list[Any]) -> list[float]:
    found = region_precision(split_by_category(table, results))
    return [found[name.split()[0]][name.split()[1]] for name in PRECISION_MEASURES]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_drawing_is_evaluating_copies_of_the_images(seed: int) -> None:
    generator = np.random.default_rng(seed)
    table, results = random_scenes(generator, 5, 8)
    precision = ImagePrecision.of(split_by_category(table, results))
    np.testing.assert_allclose(precision.percent()[0], measured(table, results))
    times = generator.multinomial(5, np.full(5, 0.2), size=3)
    expected = [measured(*drawn_again(table, results, drawn.tolist())) for drawn in times]
    np.testing.assert_allclose(precision.percent(times), expected)


def found_by(masks: list[Any]) -> ImagePrecision:
    """Twenty images with an instance on the left and one on the right."""
    labelled = [annotation(2 * i + j, i, mask) for i in range(1, 21) for j, mask in enumerate((LEFT, RIGHT))]
    table = coco(dict.fromkeys(range(1, 21), (10, 20)), labelled)
    return ImagePrecision.of(split_by_category(table, [result(i, mask, 0.5) for i in range(1, 21) for mask in masks]))


def test_what_finds_more_in_every_image_is_sure_to() -> None:
    half, whole = found_by([LEFT]), found_by([LEFT, RIGHT])
    found = compare_precision([half], [half, whole], generator=np.random.default_rng(0))["mAP^r@0.5 area"]
    assert (found.first, found.second, found.difference) == pytest.approx((50, 75, 25))
    assert (found.low, found.high) == pytest.approx((25, 25))
    same = compare_precision([half], [half], generator=np.random.default_rng(0))
    assert all((difference.low, difference.high) == (0, 0) for difference in same.values())


def test_other_annotations_and_none_are_refused() -> None:
    of = found_by([LEFT])
    fewer = ImagePrecision(of.instances[:-1], of.images[:-1], of.categories[:-1], of.right[:-1], of.wrong[:-1])
    with pytest.raises(ValueError, match="on different annotations"):
        compare_precision([of], [fewer], generator=np.random.default_rng(0))
    nothing = ImagePrecision.of(split_by_category(coco({}, []), []))
    with pytest.raises(ValueError, match="no image"):
        compare_precision([nothing], [nothing], generator=np.random.default_rng(0))
