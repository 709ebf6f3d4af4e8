"""Crowds that count as instances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instancefcn.data.crowds import is_one_part
from instancefcn.data.open import open_source
from instancefcn.evaluation.results import parse_ground_truth
from instancefcn.files import read_json
from instancefcn.geometry.rle import encode
from labelled import box_mask, coco_annotation, square, write_coco


@pytest.mark.parametrize(
    ("mask", "one"),
    [
        (box_mask(2, 3, 10, 11), True),
        (box_mask(2, 3, 10, 11) | box_mask(10, 11, 12, 13), True),  # they touch at a corner
        (box_mask(2, 3, 10, 11) | box_mask(11, 3, 12, 13), False),
        (np.zeros((24, 32), dtype=bool), False),
        (np.ones((24, 32), dtype=bool), True),
    ],
)
def test_is_one_part(mask: np.ndarray, one: bool) -> None:
    assert is_one_part(encode(mask)) == one


def test_crowds_of_one_part_count_as_instances(tmp_path: Path) -> None:
    """In all commands alike; not those of several parts, nor what is not to be judged."""
    two = [square(2, 3), square(20, 3)]
    fields = [{}, {"segmentation": two}, {"ignore": 1}, {"iscrowd": 0}, {"bbox": None}]
    annotations = [coco_annotation(i, **({"iscrowd": 1} | field)) for i, field in enumerate(fields, start=1)]
    spec = write_coco(tmp_path, annotations)
    assert open_source(spec).labels(0).instances.crowd.tolist() == [True, True, True, False, True]
    expected = [False, True, True, False, False]
    assert open_source(spec, crowds_of_one_part=True).labels(0).instances.crowd.tolist() == expected
    for iou in ("segm", "bbox"):
        (image,) = parse_ground_truth(read_json(tmp_path / "coco.json"), iou, crowds_of_one_part=True)
        assert image.crowd.tolist() == expected
