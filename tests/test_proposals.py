"""Proposals answer for themselves: selected, compared, shown, and written for the tools that read them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from instancefcn.geometry.rle import decode, encode, from_json, tight_boxes
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals, Segments

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
    results = json.loads(json.dumps(proposals.to_coco(9)))
    loaded = coco.loadRes(results).loadAnns(range(1, 13))
    for annotation, mask, box, score in zip(
        loaded, proposals.masks(), proposals.boxes_xyxy, proposals.scores, strict=True
    ):
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        x, y, w, h = annotation["bbox"]
        assert [x, y, x + w, y + h] == box.tolist()
        assert annotation["score"] == score


def test_results_hold_exactly_what_they_should(proposals: Proposals) -> None:
    results = proposals.to_coco(3)
    assert set(results[0]) == {"image_id", "category_id", "segmentation", "bbox", "score"}
    assert {(result["image_id"], result["category_id"]) for result in results} == {(3, 1)}
    assert isinstance(results[0]["segmentation"]["counts"], str)
    np.testing.assert_array_equal(decode(from_json(results[4]["segmentation"])), decode(proposals.rles[4]))
    assert [result["score"] for result in results] == sorted((result["score"] for result in results), reverse=True)


def test_no_proposals_are_no_results_and_an_empty_label_map() -> None:
    assert EMPTY.to_coco(1) == []
    np.testing.assert_array_equal(EMPTY.label_map(), np.zeros((7, 5), dtype=np.uint16))


def test_each_pixel_has_the_rank_of_its_best_proposal(proposals: Proposals) -> None:
    masks = proposals.masks()
    expected = [
        [next((rank for rank, mask in enumerate(masks, start=1) if mask[y, x]), 0) for x in range(60)]
        for y in range(40)
    ]
    labels = proposals.label_map()
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, expected)


def test_more_proposals_than_labels_are_refused() -> None:
    n = 65536
    many = Proposals([encode(np.ones((1, 1)))] * n, np.tile([0.0, 0.0, 1.0, 1.0], (n, 1)), np.ones(n), 1, 1)
    with pytest.raises(ValueError, match="65535 proposals, not 65536"):
        many.label_map()


def test_one_is_taken_by_its_rank_and_several_by_anything_that_numpy_takes(proposals: Proposals) -> None:
    one = proposals[3]
    np.testing.assert_array_equal(one.mask(), proposals.masks()[3])
    assert (one.score, one.area, one.name) == (proposals.scores[3], proposals.masks()[3].sum(), "object")
    assert one.box_xyxy.tolist() == proposals.boxes_xyxy[3].tolist()
    assert proposals[-1].rle == proposals.rles[11]
    assert [proposal.score for proposal in proposals] == proposals.scores.tolist()
    large = proposals.areas > np.median(proposals.areas)
    for chosen in (slice(2, 9, 3), [4, 0], np.array([7]), large, large.tolist(), []):
        part = proposals[chosen]
        expected = (
            np.arange(12)[np.asarray(chosen, dtype=None if len(chosen) else int)]
            if not isinstance(chosen, slice)
            else np.arange(12)[chosen]
        )
        assert part.rles == [proposals.rles[index] for index in expected]
        np.testing.assert_array_equal(part.scores, proposals.scores[expected])
        np.testing.assert_array_equal(part.boxes_xyxy, proposals.boxes_xyxy[expected])
        assert (part.height, part.width) == (40, 60)
    with pytest.raises(IndexError):
        proposals[12]
    for wrong in (large[:-1], large[:0]):
        with pytest.raises(IndexError):
            proposals[wrong]
    assert len(proposals[[]]) == len(proposals[:0][large[:0]]) == 0
    assert proposals[np.int64(3)] == proposals[3]


@pytest.mark.usefixtures("unchecked")
def test_what_numpy_and_torch_take_for_one_number_is_one(proposals: Proposals) -> None:
    assert proposals[np.array(3)] == proposals[torch.tensor(3)] == proposals[3]  # pyright: ignore[reportArgumentType]
    assert proposals[torch.tensor([3])] == proposals[3:4]  # pyright: ignore[reportArgumentType]
    for wrong in (np.zeros((1, 12), dtype=int), [[0]]):
        with pytest.raises(IndexError, match="do not select among 12 proposals"):
            proposals[wrong]  # pyright: ignore[reportArgumentType]


def test_equal_is_what_holds_the_same(proposals: Proposals) -> None:
    assert proposals == proposals[:]
    assert proposals != proposals[:-1]
    assert proposals != proposals[::-1]
    assert proposals != Proposals(proposals.rles, proposals.boxes_xyxy, proposals.scores / 2, 40, 60)
    assert proposals != proposals.rles
    assert proposals[3] == proposals[3]
    assert proposals[3] != proposals[4]
    assert [one for one in proposals if one in proposals[:2]] == list(proposals[:2])
    with pytest.raises(TypeError, match="unhashable"):
        hash(proposals)


def test_areas_and_the_least_score(proposals: Proposals) -> None:
    assert proposals.areas.tolist() == proposals.masks().sum((1, 2)).tolist()
    assert EMPTY.areas.tolist() == []
    score = float(proposals.scores[4])
    assert proposals.at_least(score) == proposals[:5]
    assert len(proposals.at_least(1.1)) == 0


def test_crops_are_the_images_own_pixels(proposals: Proposals) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    crops = proposals.crops(image)
    for (left, top, right, bottom), crop in zip(proposals.boxes_xyxy.astype(int).tolist(), crops, strict=True):
        np.testing.assert_array_equal(crop, image[top:bottom, left:right])
    with pytest.raises(ValueError, match=r"30 x 60 pixels .* 40 x 60"):
        proposals.crops(image[:30])


def test_what_is_no_rgb_array_is_not_drawn_on() -> None:
    # In a process of its own, since here the annotations are checked before the method runs.
    script = """
import numpy as np
from PIL import Image
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
proposals, rgb = Proposals([], np.zeros((0, 4)), np.zeros(0), 5, 6), np.zeros((5, 6, 3), dtype=np.uint8)
for image in (rgb[..., 0], np.zeros((5, 6, 4), dtype=np.uint8), rgb / 255, Image.fromarray(rgb), "photo.jpg"):
    for method in (proposals.draw, proposals.crops):
        try:
            method(image)
        except ValueError as error:
            assert "must be a uint8 array [height, width, 3]" in str(error), error
        else:
            raise AssertionError(f"{method.__name__} took {type(image)}")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_notebook_shows_a_line_and_a_picture(proposals: Proposals) -> None:
    assert repr(EMPTY) == "Proposals(0 masks of 7 x 5 pixels)"
    assert repr(proposals).startswith("Proposals(12 masks of 40 x 60 pixels, scores 0.")
    assert len(repr(proposals)) < 80
    assert "counts" not in repr(proposals[0])
    picture = np.asarray(Image.open(io.BytesIO(proposals._repr_png_())))
    assert picture.shape == (40, 60, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 2


@pytest.fixture
def segments(proposals: Proposals) -> Segments:
    columns = proposals.rles, proposals.boxes_xyxy, proposals.scores
    return Segments(*columns, 40, 60, np.arange(12) % 3 + 5, {5: "cat", 6: "dog"})


def test_segments_keep_their_categories(segments: Segments) -> None:
    part = segments[[1, 2]]
    assert isinstance(part, Segments)
    assert part.category_ids.tolist() == [6, 7]
    assert [one.name for one in part] == ["dog", "7"]
    assert [result["category_id"] for result in part.to_coco(1)] == [6, 7]
    assert part != segments[[1, 0]]
    assert segments.at_least(float(segments.scores[1])).category_ids.tolist() == [5, 6]


class Detections:
    """A stand-in for ``supervision.Detections``, with its documented arguments."""

    def __init__(
        self, xyxy: Any, mask: Any = None, confidence: Any = None, class_id: Any = None, *, data: dict[str, Any]
    ) -> None:
        self.xyxy, self.mask, self.confidence, self.class_id, self.data = xyxy, mask, confidence, class_id, data


def test_supervision_gets_boxes_masks_scores_and_categories(
    segments: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in: Any = ModuleType("supervision")
    stand_in.Detections = Detections
    monkeypatch.setitem(sys.modules, "supervision", stand_in)
    found = segments.to_supervision()
    np.testing.assert_array_equal(found.xyxy, segments.boxes_xyxy)
    np.testing.assert_array_equal(found.mask, segments.masks())
    np.testing.assert_allclose(found.confidence, segments.scores, rtol=1e-6)
    np.testing.assert_array_equal(found.class_id, segments.category_ids)
    assert found.data["class_name"].tolist() == [one.name for one in segments]
    assert segments[[]].to_supervision().data["class_name"].shape == (0,)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError, match="pip install supervision"):
        segments.to_supervision()


def test_proposals_need_no_torch() -> None:
    script = """
import sys
sys.modules["torch"] = None
import numpy as np
from instancefcn.geometry.rle import encode
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals, Segments
mask = np.ones((5, 6), dtype=bool)
columns = [encode(mask)] * 2, np.array([[0.0, 0.0, 6.0, 5.0]] * 2), np.array([0.9, 0.1]), 5, 6
image = np.zeros((5, 6, 3), dtype=np.uint8)
for proposals in (Proposals(*columns), Segments(*columns, np.array([1, 2]), {1: "cat"})):
    assert proposals == proposals[:2] and len(proposals.at_least(0.5)) == 1
    proposals.areas, proposals.masks(), proposals.to_coco(1), proposals.label_map(), proposals.draw(image)
    proposals.crops(image), repr(proposals), proposals._repr_png_(), [one.mask() for one in proposals]
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_objects_go_by_the_scores_whatever_the_order(proposals: Proposals) -> None:
    expected = proposals.objects(0.05)
    assert len(expected) > 1
    for order in (np.argsort(-proposals.areas), np.arange(12)[::-1], np.random.default_rng(0).permutation(12)):
        assert proposals[order].objects(0.05) == expected


def test_results_are_read_back(proposals: Proposals) -> None:
    results = json.loads(json.dumps(proposals.to_coco(np.int64(7))))
    assert {result["image_id"] for result in results} == {7}
    assert Proposals.from_coco(results, 40, 60) == proposals
    assert Proposals.from_coco([], 40, 60) == proposals[:0]
    rule = ObjectRule(0.3)
    assert Proposals.from_coco(results, 40, 60, rule=rule).rule == rule
    ids, names = np.arange(12) % 3, {0: "cat", 1: "dog"}
    segments = Segments(proposals.rles, proposals.boxes_xyxy, proposals.scores, 40, 60, ids, names)
    assert Segments.from_coco(segments.to_coco(1), 40, 60, names=names) == segments
    assert [(one.name, one.category_id) for one in segments[:3]] == [("cat", 0), ("dog", 1), ("2", 2)]
    with pytest.raises(ValueError, match=r"a mask of .*40, 60.* pixels in an image of 60 x 40"):
        Proposals.from_coco(results, 60, 40)
    others = [result | {"bbox": [0.5, 0.5, 1.2, 1.2]} for result in results]  # as far as other tools are to be trusted
    assert Proposals.from_coco(others, 40, 60) == proposals
    results[3]["segmentation"]["counts"] = results[3]["segmentation"]["counts"][:-1]
    with pytest.raises(ValueError, match="the mask of result 3 is damaged"):
        Proposals.from_coco(results, 40, 60)


def test_a_negative_number_of_masks_is_refused(proposals: Proposals) -> None:
    with pytest.raises(ValueError, match="top must be 0 or more, not -1"):
        proposals.draw(np.zeros((40, 60, 3), dtype=np.uint8), top=-1)
