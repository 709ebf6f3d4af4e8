from __future__ import annotations

import math

import numpy as np
import pytest

from instancefcn.evaluation.average_recall import ImageRecall, recall_per_image
from instancefcn.evaluation.compare import MIN_IMAGES, compare
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from labelled import random_scenes


def hits(instances: list[int], found: list[int]) -> ImageRecall:
    """Recall of images with so many instances each, of which so many are found exactly, and the others not at all."""
    n = len(instances)
    matched = np.zeros((n, 4, 3, 10), dtype=int)
    matched[:, 0] = np.array(found).reshape(n, 1, 1)
    there = np.zeros((n, 4), dtype=int)
    there[:, 0] = instances
    best = [
        np.repeat(np.arange(i)[:, None] < f, 3, axis=1).astype(float) for i, f in zip(instances, found, strict=True)
    ]
    return ImageRecall(list(range(n)), there, matched, best, best)


def test_interval_of_two_images_by_hand() -> None:
    # Of two images with one instance each the second file finds one more, in image 1. Drawing two with replacement
    # gives image 1 never, once or twice with probability 1/4, 1/2, 1/4: differences of 0, 50 and 100 points.
    first, second = hits([1, 1], [1, 0]), hits([1, 1], [1, 1])
    for confidence, low, high in ((0.95, 0, 100), (0.6, 0, 100), (0.4, 50, 50)):
        found = compare(first, second, generator=np.random.default_rng(0), confidence=confidence)
        for name in ("coco/AR@10", "hosang/AR@1000", "hosang/AR_hosang@10", "recall@0.75"):
            difference = found[name]
            assert (difference.first, difference.second, difference.difference) == (50, 100, 50)
            assert (difference.low, difference.high) == (low, high)
            assert difference.images == 2
            assert not difference.decided  # two images decide nothing


def test_instances_weigh_images() -> None:
    # One image of 3 instances that the second file gains whole, one of 1 that it loses: 100, (3 - 1) / 4 or -100.
    first, second = hits([3, 1], [0, 1]), hits([3, 1], [3, 0])
    difference = compare(first, second, generator=np.random.default_rng(0), confidence=0.4)["hosang/AR@100"]
    assert (difference.difference, difference.low, difference.high) == (50, 50, 50)


def test_gain_that_every_image_shares_is_certain() -> None:
    first, second = hits([4] * 20, [1] * 20), hits([4] * 20, [2] * 20)
    difference = compare(first, second, generator=np.random.default_rng(0))["coco/AR@100"]
    assert (difference.low, difference.high) == (25, 25)
    assert difference.decided


@pytest.mark.parametrize("images", [MIN_IMAGES - 1, MIN_IMAGES])
def test_few_images_with_instances_decide_nothing(images: int) -> None:
    instances = [2] * images + [0] * 30  # images without instances say nothing, however many they are
    first, second = hits(instances, [0] * len(instances)), hits(instances, [int(n > 0) for n in instances])
    difference = compare(first, second, generator=np.random.default_rng(0))["coco/AR@100"]
    assert (difference.low, difference.high, difference.images) == (50, 50, images)
    assert difference.decided == difference.enough == (images == MIN_IMAGES)


def test_file_does_not_differ_from_itself_and_intervals_mirror() -> None:
    one, other = hits([2, 3, 4, 1], [1, 0, 4, 1]), hits([2, 3, 4, 1], [2, 3, 1, 0])
    same = compare(one, one, generator=np.random.default_rng(0))["coco/AR@10"]
    assert (same.low, same.difference, same.high) == (0, 0, 0)
    assert not same.decided
    forth = compare(one, other, generator=np.random.default_rng(0))["coco/AR@10"]
    back = compare(other, one, generator=np.random.default_rng(0))["coco/AR@10"]
    assert (back.low, back.high) == (pytest.approx(-forth.high), pytest.approx(-forth.low))


def test_interval_is_that_of_evaluating_drawn_images_anew() -> None:
    ground_truth, results = random_scenes(np.random.default_rng(1), 6, 20)
    images = parse_ground_truth(ground_truth)
    first = recall_per_image(images, parse_results(results[::2], images), "segm")
    second = recall_per_image(images, parse_results(results, images), "segm")
    draws = 60
    found = compare(first, second, generator=np.random.default_rng(2), draws=draws)
    slow: list[dict[str, float]] = []
    for times in np.random.default_rng(2).multinomial(6, np.full(6, 1 / 6), size=draws):
        drawn = np.repeat(np.arange(6), times)
        numbers = [
            ImageRecall(
                [recall.image_ids[i] for i in drawn],
                recall.instances[drawn],
                recall.matched[drawn],
                [recall.best_iou[i] for i in drawn],
                [recall.assigned_iou[i] for i in drawn],
            ).measures()
            for recall in (first, second)
        ]
        slow.append({name: numbers[1][name].percent() - numbers[0][name].percent() for name in numbers[0]})
    for name, difference in found.items():
        values = [numbers[name] for numbers in slow if not math.isnan(numbers[name])]
        assert difference.low == pytest.approx(np.quantile(values, 0.025)), name
        assert difference.high == pytest.approx(np.quantile(values, 0.975)), name


def test_number_of_no_instance_has_no_interval() -> None:
    difference = compare(hits([1], [1]), hits([1], [0]), generator=np.random.default_rng(0))["coco/AR@10_large"]
    assert all(math.isnan(number) for number in (difference.first, difference.low, difference.high))
    assert not difference.decided


def test_other_annotations_are_refused() -> None:
    with pytest.raises(ValueError, match="different annotations"):
        compare(hits([1, 1], [1, 1]), hits([1, 2], [1, 1]), generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="different annotations"):
        compare(hits([1, 1], [1, 1]), hits([1], [1]), generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="no image"):
        compare(hits([], []), hits([], []), generator=np.random.default_rng(0))
