"""Heads that name a box: MNC's stage 3, 4096 wide, and a small one. Both see a box with and without its mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.classifier.pooling import GRID, pool, warp


class PaperHead(nn.Module):
    """Box features and masked features, each max-pooled to 7 x 7 and through two layers of its own; joined; named.

    Args:
        channels, strides: of the one map that features are pooled from.
        classes: without background, which is class 0 of the logits.
        width: of the fully connected layers.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        classes: int,
        width: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        (of_map,), (self.stride,) = channels, strides
        self.box = _fully_connected(of_map * (GRID // 2) ** 2, width, dropout)
        self.masked = _fully_connected(of_map * (GRID // 2) ** 2, width, dropout)
        self.classify = nn.Linear(2 * width, classes + 1)

    def forward(
        self,
        maps: Sequence[Float[Tensor, "1 _ _ _"]],
        boxes: Float[Tensor, "n 4"],
        masks: Float[Tensor, "n 14 14"],
    ) -> Float[Tensor, "n classes"]:
        features = warp(maps[0], boxes, self.stride)
        box = F.max_pool2d(features, 2).flatten(1)
        masked = F.max_pool2d(features * masks[:, None], 2).flatten(1)
        return self.classify(torch.cat([self.box(box), self.masked(masked)], dim=1))


class LiteHead(nn.Module):
    """The same in small, and with means in place of 7 x 7 places.

    A trunk that knows its classes from ImageNet says with any few of its places what it sees; where in the box that is
    tells little more. So the box keeps 2 x 2 means, and the mask one mean inside it and one beside it. Means of cells
    need no cells (``pooling.pool``), which makes it cheap on a CPU.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        classes: int,
        width: int = 256,
        reduced: int = 192,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.norm = nn.LayerNorm(sum(channels))
        self.reduce = nn.Sequential(nn.Linear(sum(channels), reduced), nn.ReLU(), nn.Dropout(dropout))
        self.box = nn.Sequential(nn.Linear(4 * reduced, width), nn.ReLU(), nn.Dropout(dropout))
        self.masked = nn.Sequential(nn.Linear(2 * reduced, width), nn.ReLU(), nn.Dropout(dropout))
        self.classify = nn.Linear(2 * width, classes + 1)

    def forward(
        self,
        maps: Sequence[Float[Tensor, "1 _ _ _"]],
        boxes: Float[Tensor, "n 4"],
        masks: Float[Tensor, "n 14 14"],
    ) -> Float[Tensor, "n classes"]:
        cells = torch.cat([_quarters(masks), _sides(masks)], dim=1)  # [n, 6, 14, 14]
        pooled = [pool(level, boxes, stride, cells) for level, stride in zip(maps, self.strides, strict=True)]
        means = self.reduce(self.norm(torch.cat(pooled, dim=2)))  # [n, 6, reduced]
        return self.classify(torch.cat([self.box(means[:, :4].flatten(1)), self.masked(means[:, 4:].flatten(1))], 1))


Head = PaperHead | LiteHead


def _quarters(masks: Float[Tensor, "n 14 14"]) -> Float[Tensor, "n 4 14 14"]:
    """Weights that average each quarter of a box, whatever its mask."""
    half = torch.arange(GRID, device=masks.device) < GRID // 2
    halves = torch.stack([half, ~half]).float() * (2 / GRID)
    return (
        (halves[:, None, :, None] * halves[None, :, None, :]).reshape(1, 4, GRID, GRID).expand(len(masks), -1, -1, -1)
    )


def _sides(masks: Float[Tensor, "n 14 14"]) -> Float[Tensor, "n 2 14 14"]:
    """Weights that average what is inside the mask, and what is beside it."""
    sides = torch.stack([masks, 1 - masks], dim=1)
    return sides / sides.sum((2, 3), keepdim=True).clamp(min=1)


def _fully_connected(inputs: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Dropout(dropout),
    )
