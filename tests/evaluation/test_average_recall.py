from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import oracles
from instancefcn.data.segmentations import segmentation_to_rle
from instancefcn.evaluation.average_recall import (
    AVERAGES,
    assigned_ious,
    average_recall,
    best_ious,
    hosang_average_recall,
    recall_over_iou,
    recall_per_image,
)
from instancefcn.evaluation.matching import IOU_THRESHOLDS, MAX_PROPOSALS
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from instancefcn.geometry import rle as rle_codec
from labelled import annotation, coco, random_scenes, rectangle_rle, result


def by_pycocotools(ground_truth: dict[str, Any], results: list[dict[str, Any]], iou: IouType) -> dict[str, float]:
    """COCO's numbers from the arrays of pycocotools, which ``summarize`` does not print for our limits."""
    labels = COCO()
    labels.dataset = copy.deepcopy(ground_truth)
    labels.createIndex()
    evaluation = COCOeval(labels, labels.loadRes(copy.deepcopy(results)), iou)
    evaluation.params.useCats = 0
    evaluation.params.maxDets = list(MAX_PROPOSALS)
    evaluation.evaluate()
    evaluation.accumulate()
    recall = evaluation.eval["recall"]  # [t, 1, a, n]
    numbers = {
        f"AR@{limit}{suffix}": 100 * recall[:, 0, a, n].mean()
        for a, suffix in enumerate(["", "_small", "_medium", "_large"])
        for n, limit in enumerate(MAX_PROPOSALS)
    }
    return numbers | {f"recall@{t}": 100 * recall[i, 0, 0, -1] for t, i in ((0.5, 0), (0.75, 5), (0.9, 8))}


@pytest.mark.parametrize("iou", ["segm", "bbox"])
@pytest.mark.parametrize(
    ("seed", "images", "proposals"),
    [(0, 8, 30), (1, 12, 150), (2, 2, 1300), (3, 70, 4)],  # the last in more than one call of the engine
)
def test_coco_numbers_are_those_of_pycocotools(seed: int, images: int, proposals: int, iou: IouType) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(seed), images, proposals)
    expected = by_pycocotools(ground_truth, results, iou)
    assert 0 < expected["AR@10"] < 100
    ours = average_recall(ground_truth, results, iou)
    found = ours["coco"] | {key: value for key, value in ours.items() if key.startswith("recall@")}
    assert found.keys() == expected.keys()
    for name, number in expected.items():
        if number == -100:  # pycocotools' "no such instance"
            assert math.isnan(found[name])
        else:
            assert found[name] == pytest.approx(number, abs=1e-9), name


def test_iou_at_a_threshold_counts() -> None:
    # IoU .5, .6, ... 1 with the image
    squares = [rectangle_rle(10, 10, 0, 0, 10, right) for right in (5, 6, 7, 8, 9, 10)]
    for tenths, square in zip(range(5, 11), squares, strict=True):
        ground_truth = coco({1: (10, 10)}, [annotation(1, 1, squares[-1], area=100)])
        numbers = average_recall(ground_truth, [result(1, square, 0.5)])
        passed = min(2 * (tenths - 5) + 1, 10)  # thresholds .5, .55, ... up to this IoU
        assert numbers["coco"]["AR@10"] == pytest.approx(10 * passed)
        assert numbers["hosang"]["AR@10"] == pytest.approx(20 * (tenths - 5))
        assert numbers["recall@0.5"] == 100
        assert numbers["recall@0.75"] == 100 * (tenths >= 8)
        assert numbers["recall@0.9"] == 100 * (tenths >= 9)


def test_one_proposal_finds_any_number_of_instances_by_best_iou_alone() -> None:
    whole = rectangle_rle(10, 10, 0, 0, 10, 10)
    ground_truth = coco({1: (10, 10)}, [annotation(1, 1, whole, area=100), annotation(2, 1, whole, area=100)])
    numbers = average_recall(ground_truth, [result(1, whole, 0.5)])
    assert numbers["coco"]["AR@10"] == numbers["hosang"]["AR_hosang@10"] == 50
    assert numbers["hosang"]["AR@10"] == 100


def test_hosang_matches_by_iou_where_coco_matches_by_score() -> None:
    # Instances [0, 10) and [0, 8) of a row. The better score has IoU .9 and 8/9 with them, the other one .6 and 3/4.
    # Hosang: .9 with the first instance, so the second gets 3/4. COCO: thresholds up to .9, and up to .75.
    instances = [rectangle_rle(1, 20, 0, 0, 1, right) for right in (10, 8)]
    ground_truth = coco({1: (1, 20)}, [annotation(n, 1, rle, area=10) for n, rle in enumerate(instances, start=1)])
    results = [result(1, rectangle_rle(1, 20, 0, 0, 1, right), score) for right, score in ((9, 0.9), (6, 0.8))]
    numbers = average_recall(ground_truth, results)
    assert numbers["hosang"]["AR_hosang@10"] == pytest.approx(100 * 2 * (0.4 + 0.25) / 2)
    assert numbers["hosang"]["AR@10"] == pytest.approx(100 * 2 * (0.4 + 8 / 9 - 0.5) / 2)
    assert numbers["coco"]["AR@10"] == pytest.approx(100 * (9 + 6) / 20)


def test_every_average_has_a_title_and_a_key() -> None:
    numbers = average_recall(*random_scenes(np.random.default_rng(8), 6, 20))
    keys = [key.split("/") for keys in AVERAGES.values() for key in keys]
    assert all(0 < numbers[group][name] < 100 for group, name in keys)
    assert {f"AR@{n}" for n in MAX_PROPOSALS} | {f"AR_hosang@{n}" for n in MAX_PROPOSALS} == set(numbers["hosang"])


def test_only_the_best_n_proposals_of_each_image_count() -> None:
    hit, miss = rectangle_rle(10, 10, 0, 0, 5, 5), rectangle_rle(10, 10, 6, 6, 9, 9)
    ground_truth = coco({1: (10, 10), 2: (10, 10)}, [annotation(n, n, hit, area=25) for n in (1, 2)])
    first = [result(1, miss, 0.9)] * 10 + [result(1, hit, 0.8)]  # 11th
    second = [result(2, miss, 0.3)] * 9 + [result(2, hit, 0.2)]  # 10th, though its score is lower than all of image 1
    numbers = average_recall(ground_truth, first + second)
    for kind in ("coco", "hosang"):
        assert [numbers[kind][f"AR@{n}"] for n in (10, 100, 1000)] == [50, 100, 100]
    assert numbers["coco"]["AR@100_small"] == 100
    assert math.isnan(numbers["coco"]["AR@100_large"])


def test_crowds_are_neither_found_nor_missed() -> None:
    whole, half = rectangle_rle(10, 10, 0, 0, 10, 10), rectangle_rle(10, 10, 0, 0, 10, 5)
    crowd = annotation(1, 1, whole, area=100, iscrowd=1)
    alone = average_recall(coco({1: (10, 10)}, [crowd]), [result(1, whole, 0.5)])
    assert all(math.isnan(number) for number in (*alone["coco"].values(), *alone["hosang"].values()))
    both = average_recall(coco({1: (10, 10)}, [crowd, annotation(2, 1, half, area=50)]), [result(1, half, 0.5)])
    assert both["coco"]["AR@10"] == both["hosang"]["AR@10"] == 100


def test_no_proposals_find_nothing() -> None:
    ground_truth, _ = random_scenes(np.random.default_rng(4), 5, 0)
    numbers = average_recall(ground_truth, [])
    assert numbers["coco"]["AR@1000"] == numbers["hosang"]["AR@1000"] == numbers["recall@0.5"] == 0
    assert math.isnan(average_recall({"images": [], "annotations": []}, [])["coco"]["AR@10"])


def test_order_categories_ids_and_images_without_instances_do_not_matter() -> None:
    generator = np.random.default_rng(5)
    ground_truth, results = random_scenes(generator, 10, 40)
    expected = average_recall(ground_truth, results)
    shuffled: list[Any] = [results[index] | {"category_id": 90} for index in generator.permutation(len(results))]
    again: dict[str, Any] = copy.deepcopy(ground_truth)
    again["images"].reverse()
    again["images"].append({"id": 10**12, "height": 5, "width": 5})
    for index, labelled in enumerate(again["annotations"]):
        labelled["id"] = index  # from 0, which pycocotools takes for "no match"
    shuffled.append(result(10**12, rectangle_rle(5, 5, 0, 0, 2, 2), 0.7))
    assert average_recall(again, shuffled) == expected


def slow_hosang(best: list[float]) -> float:
    """Twice the area under the recall curve, by midpoints."""
    steps = 20_000
    area = 0.0
    for step in range(steps):
        threshold = 0.5 + 0.5 * (step + 0.5) / steps
        area += sum(iou >= threshold for iou in best) / len(best) * 0.5 / steps
    return 2 * area


def test_hosang_is_twice_the_area_under_recall() -> None:
    best = np.random.default_rng(6).random(7)
    assert hosang_average_recall(best) == pytest.approx(slow_hosang(best.tolist()), abs=1e-4)
    assert hosang_average_recall(np.array([1.0, 0.75, 0.2, 0.5])) == pytest.approx((1 + 0.5) / 4)
    assert hosang_average_recall(np.zeros(0)) == 0


def test_best_iou_of_each_instance_among_the_first() -> None:
    iou = np.zeros((1200, 2))
    iou[9, 0], iou[10, 0], iou[500, 1], iou[1100, 1] = 0.3, 0.6, 0.8, 1
    assert best_ious(iou).tolist() == [[0.3, 0.6, 0.6], [0, 0, 0.8]]
    assert best_ious(np.zeros((0, 2))).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert best_ious(np.zeros((3, 0))).shape == (0, 3)


@pytest.mark.parametrize(("proposals", "instances"), [(5, 3), (14, 30), (130, 9), (1003, 4)])
@pytest.mark.parametrize("levels", [4, 10**9])  # few: many pairs have the same IoU
def test_assigned_ious_are_those_of_all_pairs_in_order(proposals: int, instances: int, levels: int) -> None:
    iou = np.random.default_rng(9).integers(0, levels, (proposals, instances)) / levels
    expected = [oracles.assigned_ious(iou.tolist(), limit) for limit in MAX_PROPOSALS]
    assert assigned_ious(iou).T.tolist() == expected


def test_a_proposal_is_assigned_once() -> None:
    # The first takes the second instance at .8; the first instance has to do with .3, though its best is .7.
    iou = np.array([[0.7, 0.8, 0.0], [0.3, 0.6, 0.0]])
    assert assigned_ious(iou)[:, 0].tolist() == [0.3, 0.8, 0.0]
    assert best_ious(iou)[:, 0].tolist() == [0.7, 0.8, 0.0]
    assert iou[0, 1] == 0.8  # what is given stays
    assert assigned_ious(np.zeros((0, 2))).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert assigned_ious(np.zeros((3, 0))).shape == (0, 3)


def test_recall_over_iou() -> None:
    best = np.array([0.5, 0.7, 1.0, 0.2])
    assert recall_over_iou(best, np.array([0.5, 0.6, 0.7, 0.71, 1.0])).tolist() == [0.75, 0.5, 0.5, 0.25, 0.25]
    assert np.isnan(recall_over_iou(np.zeros(0), IOU_THRESHOLDS)).all()


@pytest.mark.parametrize(("one_to_one", "key"), [(False, "AR"), (True, "AR_hosang")])
@pytest.mark.parametrize("iou", ["segm", "bbox"])
def test_curves_are_those_of_all_instances_together(iou: IouType, one_to_one: bool, key: str) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(7), 10, 40)
    images = parse_ground_truth(ground_truth, iou)
    recall = recall_per_image(images, parse_results(results, images, iou), iou)
    fine = np.linspace(0.5, 1, 20_001)
    curves = recall.curves(fine, one_to_one=one_to_one)
    assert (np.diff(curves, axis=1) <= 0).all()  # falls along IoU
    assert (np.diff(curves, axis=0) >= 0).all()  # rises with N
    areas = 2 * np.trapezoid(curves, fine, axis=1)
    expected = [recall.metrics()["hosang"][f"{key}@{n}"] for n in MAX_PROPOSALS]
    np.testing.assert_allclose(areas, expected, atol=0.02)


def test_real_annotations_find_themselves(shared_data: Path) -> None:
    ground_truth = json.loads((shared_data / "coco-mini" / "annotations" / "instances_val.json").read_text())
    labels = [labelled for labelled in ground_truth["annotations"] if not labelled["iscrowd"]]
    sizes = {image["id"]: (image["height"], image["width"]) for image in ground_truth["images"]}
    results: list[dict[str, Any]] = []
    for labelled in labels:  # polygons and a score that says nothing
        mask = segmentation_to_rle(labelled["segmentation"], *sizes[labelled["image_id"]])
        entry = result(labelled["image_id"], rle_codec.to_json(mask), labelled["id"] % 97)
        results.append(entry | {"category_id": labelled["category_id"]})
    numbers = average_recall(ground_truth, results)
    assert numbers["coco"]["AR@1000"] == numbers["hosang"]["AR@1000"] == pytest.approx(100)
    assert numbers["coco"]["AR@10"] < 90


@pytest.mark.usefixtures("unchecked")
def test_what_is_compared_has_two_names() -> None:
    with pytest.raises(ValueError, match="iou is 'boxes'; it must be one of 'segm', 'bbox'"):
        average_recall({"images": [], "annotations": []}, [], "boxes")  # pyright: ignore[reportArgumentType]
