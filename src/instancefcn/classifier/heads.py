"""Heads that name a box: MNC's stage 3 (Dai et al., CVPR 2016), and a small one. Both see it with and without its mask.

MNC's RoI warping samples a box bilinearly and is differentiable in the box's corners, which only a cascade that is
trained end to end needs. With given proposals torchvision's ``roi_align`` does the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchvision.ops import roi_align

from instancefcn.geometry.runs import Edges

GRID = 14  # cells along a side of a box
REDUCED = 192  # channels that the small head reduces means of maps to
SAMPLES = 2  # points along a side of a cell at which a mask is looked up


class PaperHead(nn.Module):
    """MNC's stage 3: features of the box, and those inside the mask, each max-pooled to 7 x 7 and through two layers.

    Args:
        channels, stride: of the map that features are pooled from.
        classes: without background, which is class 0 of the logits.
        width: of the fully connected layers.
    """

    def __init__(self, channels: int, stride: int, classes: int, width: int = 4096) -> None:
        super().__init__()
        self.stride = stride
        inputs = channels * (GRID // 2) ** 2
        self.box = nn.Sequential(*_layer(inputs, width, 0.5), *_layer(width, width, 0.5))
        self.masked = nn.Sequential(*_layer(inputs, width, 0.5), *_layer(width, width, 0.5))
        self.classify = nn.Linear(2 * width, classes + 1)

    def forward(
        self, maps: Sequence[Float[Tensor, "1 _ _ _"]], boxes: Float[Tensor, "n 4"], masks: Float[Tensor, "n 14 14"]
    ) -> Float[Tensor, "n classes"]:
        features = warp(maps[0], boxes, self.stride)
        box = F.max_pool2d(features, 2).flatten(1)
        masked = F.max_pool2d(features * masks[:, None], 2).flatten(1)
        return self.classify(torch.cat([self.box(box), self.masked(masked)], dim=1))


class LiteHead(nn.Module):
    """The same in small: four means of the box's quarters, one mean inside the mask and one beside it.

    A trunk from ImageNet recognizes an object at almost any place of it, so the place in the box tells little more.
    ``pool`` takes means without 14 x 14 features of each box, which makes them cheap on a CPU. Arguments are as in
    ``PaperHead``, for several maps.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], classes: int, width: int = 256) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.norm = nn.LayerNorm(sum(channels))
        self.reduce = nn.Sequential(*_layer(sum(channels), REDUCED, 0.3))
        self.box = nn.Sequential(*_layer(4 * REDUCED, width, 0.3))
        self.masked = nn.Sequential(*_layer(2 * REDUCED, width, 0.3))
        self.classify = nn.Linear(2 * width, classes + 1)

    def forward(
        self, maps: Sequence[Float[Tensor, "1 _ _ _"]], boxes: Float[Tensor, "n 4"], masks: Float[Tensor, "n 14 14"]
    ) -> Float[Tensor, "n classes"]:
        cells = torch.cat([_quarters(masks), _sides(masks)], dim=1)  # [n, 6, 14, 14]
        pooled = [pool(level, boxes, stride, cells) for level, stride in zip(maps, self.strides, strict=True)]
        means = self.reduce(self.norm(torch.cat(pooled, dim=2)))  # [n, 6, REDUCED]
        return self.classify(torch.cat([self.box(means[:, :4].flatten(1)), self.masked(means[:, 4:].flatten(1))], 1))


def _layer(inputs: int, outputs: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]


def _quarters(masks: Float[Tensor, "n 14 14"]) -> Float[Tensor, "n 4 14 14"]:
    """Weights that average each quarter of a box, whatever its mask."""
    half = torch.arange(GRID, device=masks.device) < GRID // 2
    halves = torch.stack([half, ~half]).float() * (2 / GRID)
    return torch.einsum("ay,bx->abyx", halves, halves).flatten(0, 1).expand(len(masks), -1, -1, -1)


def _sides(masks: Float[Tensor, "n 14 14"]) -> Float[Tensor, "n 2 14 14"]:
    """Weights that average what is inside the mask, and what is beside it."""
    sides = torch.stack([masks, 1 - masks], dim=1)
    return sides / sides.sum((2, 3), keepdim=True).clamp(min=1)


def warp(features: Float[Tensor, "1 c h w"], boxes: Float[Tensor, "n 4"], stride: int) -> Float[Tensor, "n c 14 14"]:
    """Features of boxes, xyxy in pixels of the resized image, on a grid of 14 x 14 cells."""
    return roi_align(features, [boxes], GRID, 1 / stride, sampling_ratio=1, aligned=True)


def pool(
    features: Float[Tensor, "1 c h w"], boxes: Float[Tensor, "n 4"], stride: int, cells: Float[Tensor, "n k 14 14"]
) -> Float[Tensor, "n k c"]:
    """k weighted sums of a box's cells: the product of ``warp`` with the weights ``cells``.

    Sampling a cell is linear in the map, so weights on cells are weights on the map. Each sum costs one row of a matrix
    product, and the 14 x 14 features of a box never exist.
    """
    height, width = features.shape[-2:]
    columns = _interpolation(boxes[:, 0], boxes[:, 2], width, stride)
    rows = _interpolation(boxes[:, 1], boxes[:, 3], height, stride)
    weights = rows.mT[:, None] @ cells @ columns[:, None]  # [n, k, h, w]
    return (weights.flatten(2).flatten(0, 1) @ features[0].flatten(1).T).unflatten(0, cells.shape[:2])


def _interpolation(
    start: Float[Tensor, "n"], stop: Float[Tensor, "n"], size: int, stride: int
) -> Float[Tensor, "n 14 size"]:
    """Matrices that interpolate a map's pixels linearly at the centres of an interval's 14 cells."""
    steps = (torch.arange(GRID, device=start.device) + 0.5) / GRID
    places = ((start[:, None] + (stop - start)[:, None] * steps) / stride - 0.5).clamp(0, size - 1)
    return (1 - (places[:, :, None] - torch.arange(size, device=start.device)).abs()).clamp(min=0)


def mask_grids(edges: Edges, boxes_xyxy: Float[np.ndarray, "n 4"]) -> UInt8[np.ndarray, "n 14 14"]:
    """Share of each cell of its box that a mask covers, 0 to 255, from ``SAMPLES`` x ``SAMPLES`` points a cell.

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
