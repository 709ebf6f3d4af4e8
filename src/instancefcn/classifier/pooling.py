"""RoI warping and RoI masking (MNC, Dai et al., CVPR 2016): a box's features on a grid, and a mask on the same grid.

RoI warping samples a box bilinearly and is differentiable in its corners, which only a cascade trained end to end
needs. With proposals that are given, torchvision's ``roi_align`` does the same.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.ops import roi_align

from instancefcn.geometry.runs import Edges

GRID = 14  # cells along a side of a box
SAMPLES = 2  # points along a side of a cell at which a mask is looked up


def warp(features: Float[Tensor, "1 c h w"], boxes: Float[Tensor, "n 4"], stride: int) -> Float[Tensor, "n c 14 14"]:
    """Features of boxes, xyxy in pixels of the resized image, on a grid of 14 x 14 cells."""
    return roi_align(features, [boxes], GRID, 1 / stride, sampling_ratio=1, aligned=True)


def pool(
    features: Float[Tensor, "1 c h w"], boxes: Float[Tensor, "n 4"], stride: int, cells: Float[Tensor, "n k 14 14"]
) -> Float[Tensor, "n k c"]:
    """Weighted sums of a box's cells, k of them: what ``warp`` and a product with ``cells`` would give.

    Sampling a cell is linear in the map, so k weights on cells are k weights on the map: a box of any number of
    channels costs one row of a matrix product each, and its 14 x 14 features never exist.
    """
    height, width = features.shape[-2:]
    columns = _interpolation(boxes[:, 0], boxes[:, 2], width, stride)
    rows = _interpolation(boxes[:, 1], boxes[:, 3], height, stride)
    weights = rows.mT[:, None] @ cells @ columns[:, None]  # [n, k, h, w]
    return (weights.flatten(2).flatten(0, 1) @ features[0].flatten(1).T).unflatten(0, cells.shape[:2])


def _interpolation(
    start: Float[Tensor, "n"], stop: Float[Tensor, "n"], size: int, stride: int
) -> Float[Tensor, "n 14 size"]:
    """Linear interpolation from a map's pixels to the centres of an interval's 14 cells, as matrices."""
    steps = (torch.arange(GRID, device=start.device) + 0.5) / GRID
    places = ((start[:, None] + (stop - start)[:, None] * steps) / stride - 0.5).clamp(0, size - 1)
    return (1 - (places[:, :, None] - torch.arange(size, device=start.device)).abs()).clamp(min=0)


def mask_grids(edges: Edges, boxes_xyxy: Float[np.ndarray, "n 4"]) -> UInt8[np.ndarray, "n 14 14"]:
    """How much of each cell of its box a mask covers, 0 to 255, of ``SAMPLES`` x ``SAMPLES`` points a cell.

    Args:
        edges: of the masks.
        boxes_xyxy: tight around the masks, in the image's frame.
    """
    steps = (np.arange(GRID * SAMPLES) + 0.5) / (GRID * SAMPLES)
    corners, sizes = boxes_xyxy[:, :2, None], (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2])[:, :, None]
    points = np.floor(corners + sizes * steps).astype(np.int64)  # [n, (x, y), steps]
    x, y = points[:, 0].clip(0, edges.width - 1), points[:, 1].clip(0, edges.height - 1)
    places = x[:, :, None] * edges.height + y[:, None, :]  # [n, x, y], ascending as codes are
    inside = edges.contain(places.reshape(len(places), (GRID * SAMPLES) ** 2))
    cells = inside.reshape(len(places), GRID, SAMPLES, GRID, SAMPLES).mean((2, 4)).transpose(0, 2, 1)
    return np.ascontiguousarray(np.rint(cells * 255), dtype=np.uint8)
