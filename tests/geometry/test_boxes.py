from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import box_iou

from instancefcn.geometry.boxes import ious_with


def test_ious_with_one_box_are_a_row_of_the_whole_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = 40 * torch.rand(60, 2, generator=generator, dtype=torch.float64)
    boxes = torch.cat([corners, corners + 2 ** (6 * torch.rand(60, 2, generator=generator))], dim=1)
    boxes = torch.cat([boxes, boxes[:5], torch.zeros(2, 4)])  # equal boxes, and empty ones
    columns, ious = np.ascontiguousarray(boxes.numpy().T), np.empty(len(boxes))
    for index, expected in enumerate(box_iou(boxes, boxes).numpy()):
        ious_with(columns, index, ious)
        np.testing.assert_allclose(ious, expected, rtol=1e-12)  # of two empty ones neither is a number
