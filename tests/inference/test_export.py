"""COCO results and label maps, read back by the tools that they are for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from instancefcn.geometry.rle import decode, encode, from_json, tight_boxes
from instancefcn.inference.export import to_coco_results, to_label_map
from instancefcn.structures import Proposals

EMPTY = Proposals([], np.zeros((0, 4)), np.zeros(0), 7, 5)


@pytest.fixture
def proposals() -> Proposals:
    rng = np.random.default_rng(2)
    masks = []
    for _ in range(12):
        mask = np.zeros((40, 60), dtype=bool)
        top, left = rng.integers(0, 30), rng.integers(0, 50)
        mask[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
        masks.append(mask & (rng.random(mask.shape) < 0.8) | (np.indices(mask.shape) == [[[top]], [[left]]]).all(0))
    rles = [encode(mask) for mask in masks]
    return Proposals(rles, tight_boxes(rles), np.sort(rng.random(12))[::-1].copy(), 40, 60)


def test_results_are_json_that_pycocotools_reads(proposals: Proposals) -> None:
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": 9, "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": [],
    }
    coco.createIndex()
    results = json.loads(json.dumps(to_coco_results(proposals, image_id=9)))
    loaded = coco.loadRes(results).loadAnns(range(1, 13))
    for annotation, mask, box, score in zip(
        loaded, proposals.masks(), proposals.boxes_xyxy, proposals.scores, strict=True
    ):
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        x, y, w, h = annotation["bbox"]
        assert [x, y, x + w, y + h] == box.tolist()
        assert annotation["score"] == score


def test_results_hold_exactly_what_they_should(proposals: Proposals) -> None:
    results = to_coco_results(proposals, image_id=3)
    assert set(results[0]) == {"image_id", "category_id", "segmentation", "bbox", "score"}
    assert {(result["image_id"], result["category_id"]) for result in results} == {(3, 1)}
    assert isinstance(results[0]["segmentation"]["counts"], str)
    np.testing.assert_array_equal(decode(from_json(results[4]["segmentation"])), decode(proposals.rles[4]))
    assert [result["score"] for result in results] == sorted((result["score"] for result in results), reverse=True)


def test_no_proposals_are_no_results_and_an_empty_label_map() -> None:
    assert to_coco_results(EMPTY, image_id=1) == []
    np.testing.assert_array_equal(to_label_map(EMPTY), np.zeros((7, 5), dtype=np.uint16))


def test_each_pixel_has_the_rank_of_its_best_proposal(proposals: Proposals) -> None:
    masks = proposals.masks()
    expected = [
        [next((rank for rank, mask in enumerate(masks, start=1) if mask[y, x]), 0) for x in range(60)]
        for y in range(40)
    ]
    labels = to_label_map(proposals)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, expected)


def test_more_proposals_than_labels_are_refused() -> None:
    n = 65536
    many = Proposals([encode(np.ones((1, 1)))] * n, np.tile([0.0, 0.0, 1.0, 1.0], (n, 1)), np.ones(n), 1, 1)
    with pytest.raises(ValueError, match="65535 proposals, not 65536"):
        to_label_map(many)
