"""Sizes of images that annotations leave out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.evaluation.evaluate import evaluate
from instancefcn.evaluation.sizes import with_sizes
from instancefcn.geometry.rle import encode


def result(image_id: int, *size: int) -> dict[str, Any]:
    return {"image_id": image_id, "segmentation": {"size": list(size), "counts": ""}}


def test_only_missing_sizes_are_taken() -> None:
    coco = {"images": [{"id": 1, "height": 5, "width": 6}, {"id": 2}, {"id": 3}], "annotations": []}
    found = with_sizes(coco, [result(1, 7, 8), {"image_id": 2, "bbox": [0, 0, 1, 1]}, result(2, 20, 30)])
    assert found["images"] == [{"id": 1, "height": 5, "width": 6}, {"id": 2, "height": 20, "width": 30}, {"id": 3}]
    assert coco["images"][1] == {"id": 2}  # the caller's stays


def test_results_are_read_as_far_as_needed() -> None:
    def read() -> Iterator[Any]:
        yield result(2, 20, 30)
        raise AssertionError("read on")

    assert with_sizes({"images": [{"id": 2}]}, read())["images"][0]["height"] == 20
    whole = {"images": [{"id": 1, "height": 5, "width": 6}]}
    assert with_sizes(whole, read()) is whole


def test_any_of_several_files_may_state_a_size(tmp_path: Path) -> None:
    """Whatever their order, and where one finds nothing in an image."""
    whole = {"size": [4, 5], "counts": encode(np.ones((4, 5), dtype=bool))["counts"].decode()}
    entry = {"category_id": 1, "segmentation": whole, "bbox": [0, 0, 5, 4], "area": 20, "iscrowd": 0}
    labels = [entry | {"id": number, "image_id": number} for number in (1, 2)]
    coco = {"images": [{"id": 1}, {"id": 2}], "annotations": labels, "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "labels.json").write_text(json.dumps(coco))
    every = [{"image_id": number, "category_id": 1, "segmentation": whole, "score": 0.5} for number in (1, 2)]
    full, part = tmp_path / "full.json", tmp_path / "part.json"
    full.write_text(json.dumps(every))
    part.write_text(json.dumps(every[:1]))
    for first, second in ((full, part), (part, full)):
        found = evaluate(first, tmp_path / "labels.json", tmp_path / "out", others=[second], per_class=True)
        assert found["segm"]["recall@0.5"] == (100.0 if first == full else 50.0)
        assert found["per_class"]["part"]["mAP^r@0.5"]["area"] == pytest.approx(50.0)


def test_what_is_no_coco_goes_through() -> None:
    for coco in ([], {"images": 3}, {"images": [None, {"id": 1}]}):
        assert with_sizes(coco, [result(4, 1, 1), None, {"segmentation": {"size": 3}}]) == coco


def test_ids_are_compared_by_their_numbers() -> None:
    coco = {"images": [{"id": "1"}, {"id": 2.0}, {"id": 3}]}
    found = with_sizes(coco, [result(1, 5, 6), result(2, 7, 8), {**result(0, 9, 9), "image_id": "3"}])
    assert [image["height"] for image in found["images"]] == [5, 7, 9]
