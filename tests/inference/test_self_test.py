from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from instancefcn.geometry.rle import encode_in_box, tight_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.inference.self_test import HEIGHT, SHAPES, WIDTH, made_picture, run_self_test
from instancefcn.proposals import Proposals
from oracles import box_iou


def proposing(boxes: list[tuple[int, int, int, int]]) -> Any:
    """A proposer whose proposals are boxes, whatever it is shown."""
    masks = [
        encode_in_box(np.ones((bottom - top, right - left), dtype=bool), top, left, HEIGHT, WIDTH)
        for left, top, right, bottom in boxes
    ]
    found = Proposals(masks, tight_boxes(masks), np.ones(len(masks)), HEIGHT, WIDTH)
    return lambda image, **_: found


def test_the_shipped_network_finds_every_shape() -> None:
    done = run_self_test(Proposer.from_checkpoint(device="cpu"))
    assert done.passed, done
    assert min(done.ious) > 0.9
    assert done.seconds > 0
    assert done.first_seconds > 0


def test_shapes_lie_in_their_boxes() -> None:
    picture = made_picture().astype(int)
    for (left, top, right, bottom), colour in SHAPES.items():
        rows, columns = np.nonzero((picture == colour).all(-1))
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)
    boxes = list(SHAPES)
    assert all(box_iou(list(a), list(b)) == 0 for a in boxes for b in boxes if a != b)


@pytest.mark.parametrize(("shift", "found"), [(0, 4), (5, 4), (40, 0)])
def test_what_does_not_fit_is_not_found(shift: int, found: int) -> None:
    boxes = [(left + shift, top, right + shift, bottom) for left, top, right, bottom in SHAPES]
    done = run_self_test(proposing(boxes))
    pairs = zip(SHAPES, boxes, strict=True)
    expected = [box_iou([float(side) for side in shape], [float(side) for side in box]) for shape, box in pairs]
    assert done.ious == pytest.approx(expected)
    assert (done.found, done.passed) == (found, found == 4)
    assert not run_self_test(proposing(boxes[:3])).passed
    assert run_self_test(proposing([])).ious == [0, 0, 0, 0]
