from __future__ import annotations

import torch
from torchvision.ops import box_iou

from instancefcn.geometry.boxes import near_pairs


def test_near_pairs_are_those_of_the_whole_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = 40 * torch.rand(600, 2, generator=generator)
    boxes = torch.cat([corners, corners + 2 ** (6 * torch.rand(600, 2, generator=generator))], dim=1)
    boxes = torch.cat([boxes, boxes[:50], torch.zeros(5, 4)])  # equal boxes, and empty ones
    pairs, ious = near_pairs(boxes[:300], boxes, 0.7)
    all_ious = box_iou(boxes[:300], boxes)
    expected = (all_ious >= 0.7).nonzero()
    assert torch.equal(ious, all_ious[pairs[:, 0], pairs[:, 1]])
    assert len(expected) > 300
    assert sorted(pairs.tolist()) == expected.tolist()
