from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import oracles
from instancefcn.evaluation.average_precision import (
    average_precision,
    coco_precision,
    region_precision,
    true_and_false_positives,
)
from instancefcn.evaluation.evaluate import evaluate
from instancefcn.evaluation.results import split_by_category
from instancefcn.geometry.rle import decode, from_json
from labelled import annotation, coco, random_scenes, rectangle_rle, result


def pixels(segmentation: dict[str, Any]) -> set[tuple[int, int]]:
    return set(zip(*map(list, np.nonzero(decode(from_json(segmentation)))), strict=True))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_it_equals_the_loop(seed: int) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(seed), 5, 12)
    ground_truth["annotations"] = [labelled for labelled in ground_truth["annotations"] if not labelled["iscrowd"]]
    measured = region_precision(split_by_category(ground_truth, results))
    expected: dict[Any, list[float]] = {}
    for category in (1, 2, 3):
        instances: dict[int, list[Any]] = {}
        for labelled in ground_truth["annotations"]:
            if labelled["category_id"] == category:
                instances.setdefault(labelled["image_id"], []).append(pixels(labelled["segmentation"]))
        of = [(r["image_id"], r["score"], pixels(r["segmentation"])) for r in results if r["category_id"] == category]
        for threshold in (0.5, 0.7):
            for variant in ("area", "11-point"):
                oracle = oracles.region_average_precision(instances, of, threshold, variant)
                ours = measured["categories"][str(category)][f"AP^r@{threshold}"][variant]
                assert ours == pytest.approx(100 * oracle, nan_ok=True)
                expected.setdefault((threshold, variant), []).append(100 * oracle)
    for (threshold, variant), values in expected.items():
        known = [value for value in values if not math.isnan(value)]
        mean = np.mean(known) if known else math.nan
        assert measured[f"mAP^r@{threshold}"][variant] == pytest.approx(mean, nan_ok=True)


def scene(masks: list[Any], results: list[tuple[Any, float]], **more: Any) -> Any:
    labelled = [annotation(number, 1, mask, **more) for number, mask in enumerate(masks, start=1)]
    proposed = [result(1, mask, score) for mask, score in results]
    return split_by_category(coco({1: (10, 20)}, labelled), proposed)[0]


def judged(of: Any, threshold: float = 0.5) -> list[str]:
    right, wrong = true_and_false_positives(of.ground_truth, of.proposals, threshold)
    return ["right" if hit else "wrong" if miss else "neither" for hit, miss in zip(right, wrong, strict=True)]


LEFT, RIGHT = rectangle_rle(10, 20, 0, 0, 10, 10), rectangle_rle(10, 20, 0, 10, 10, 20)


def test_a_duplicate_is_wrong() -> None:
    of = scene([LEFT, RIGHT], [(LEFT, 0.9), (LEFT, 0.8), (RIGHT, 0.7)])
    assert judged(of) == ["right", "wrong", "right"]
    right, wrong = true_and_false_positives(of.ground_truth, of.proposals, 0.5)
    assert average_precision(right, wrong, 2, "area") == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(right, wrong, 2, "11-point") == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_only_the_instance_that_overlaps_best_counts() -> None:
    wide, narrow = rectangle_rle(10, 20, 0, 0, 10, 10), rectangle_rle(10, 20, 0, 0, 10, 8)
    # The second result overlaps the wide instance best, which is taken; COCO would give it the narrow one.
    of = scene([wide, narrow], [(wide, 0.9), (rectangle_rle(10, 20, 0, 0, 10, 10), 0.8)])
    assert judged(of) == ["right", "wrong"]
    assert coco_precision([of], "segm")["AP50"] == pytest.approx(100)


def test_what_a_crowd_covers_is_neither_right_nor_wrong() -> None:
    of = scene([rectangle_rle(10, 20, 0, 0, 10, 20)], [(LEFT, 0.9)], iscrowd=1)
    assert of.instances == 0
    assert judged(of) == ["neither"]


def test_a_second_hit_on_a_crowd_is_wrong() -> None:
    whole = rectangle_rle(10, 20, 0, 0, 10, 20)
    labelled = [annotation(1, 1, LEFT), annotation(2, 1, whole, iscrowd=1)]
    results = [result(1, LEFT, 0.9), result(1, LEFT, 0.8), result(1, RIGHT, 0.7)]
    assert judged(split_by_category(coco({1: (10, 20)}, labelled), results)[0]) == ["right", "wrong", "neither"]


def test_the_threshold_is_reached_by_equality() -> None:
    half = rectangle_rle(10, 20, 0, 0, 10, 5)
    of = scene([LEFT], [(half, 0.9)])
    assert judged(of, 0.5) == ["right"]
    assert judged(of, 0.7) == ["wrong"]
    on_crowd = scene([half], [(LEFT, 0.9)], iscrowd=1)
    assert judged(on_crowd, 0.5) == ["neither"]
    assert judged(on_crowd, 0.6) == ["wrong"]


@pytest.mark.parametrize("variant", ["area", "11-point"])
def test_nothing_found_is_zero_and_nothing_there_is_nan(variant: Any) -> None:
    none = np.zeros(0, dtype=bool)
    assert average_precision(none, none, 3, variant) == 0
    assert math.isnan(average_precision(none, none, 0, variant))


def test_coco_precision_equals_pycocotools(capsys: pytest.CaptureFixture[str]) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(3), 12, 30)
    for labelled in ground_truth["annotations"]:
        labelled["id"] += 100
    reference = COCO()
    reference.dataset = ground_truth
    reference.createIndex()
    evaluation = COCOeval(reference, reference.loadRes(results), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    ours = coco_precision(split_by_category(ground_truth, results), "segm")
    assert list(ours.values()) == pytest.approx([100 * value for value in evaluation.stats[:3]])
    assert 0 < ours["AP"] < 100


def test_ids_with_gaps_come_out_as_they_went_in() -> None:
    table = coco({1: (10, 20)}, [annotation(1, 1, LEFT) | {"category_id": 90}])
    table["categories"] = [{"id": 90, "name": "cat"}, {"id": 7, "name": "cat"}]
    measured = region_precision(split_by_category(table, [result(1, LEFT, 0.5) | {"category_id": 90}]))
    assert {name: of["id"] for name, of in measured["categories"].items()} == {"cat": 90, "cat (7)": 7}
    assert measured["mAP^r@0.7"] == {"area": pytest.approx(100), "11-point": pytest.approx(100)}


def test_an_unknown_category_is_named() -> None:
    table = coco({1: (10, 20)}, [annotation(1, 1, LEFT)])
    with pytest.raises(ValueError, match=r"p\.json: results\[1\] .*: category_id 9 is not among .*: 1 \(1\), 2 \(2\)"):
        split_by_category(
            table, [result(1, LEFT, 1), result(1, LEFT, 1) | {"category_id": 9}], sources=("a.json", "p.json")
        )
    del table["categories"]
    with pytest.raises(ValueError, match='no list "categories"'):
        split_by_category(table, [])


def test_evaluate_writes_it_for_every_file(tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(4), 6, 10)
    for name, content in (("a", results), ("b", results[::2]), ("gt", ground_truth)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    first, other, labels = (tmp_path / f"{name}.json" for name in ("a", "b", "gt"))
    written = evaluate(first, labels, tmp_path / "out", others=[other], per_class=True)
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == written
    assert list(written["per_class"]) == ["a", "b"]
    expected = region_precision(split_by_category(ground_truth, results[::2]))
    assert written["per_class"]["b"]["mAP^r@0.5"] == pytest.approx(expected["mAP^r@0.5"])
    page = (tmp_path / "out/report.html").read_text()
    assert f"{written['per_class']['a']['mAP^r@0.5']['area']:.1f}" in page
    assert "61.5" in page
    assert "per_class" not in evaluate(first, labels, tmp_path / "alone")
