"""Masks of windows before they are pasted: on the cells of their windows, which lie anywhere in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK = 512  # pairs of masks at a time: what a processor's cache holds


@dataclass(frozen=True)
class WindowMasks:
    """Assembled masks of windows that share a size in cells; boxes in the image's frame."""

    scores: Float[Tensor, "n"]
    mask_logits: Float[Tensor, "n m m"]
    window_boxes: Float[Tensor, "n 4"]
    tight_boxes: Float[Tensor, "n 4"]

    def __getitem__(self, chosen: Bool[Tensor, "n"]) -> WindowMasks:
        """Some of them."""
        return WindowMasks(*(getattr(self, field.name)[chosen] for field in fields(WindowMasks)))


def merge(groups: Sequence[WindowMasks]) -> list[WindowMasks]:
    """One group for each size in cells: what follows does few large steps instead of many small ones."""
    by_side: dict[int, list[WindowMasks]] = {}
    for group in groups:
        by_side.setdefault(group.mask_logits.shape[-1], []).append(group)
    return [
        WindowMasks(*(torch.cat([getattr(group, field.name) for group in of_side]) for field in fields(WindowMasks)))
        for of_side in by_side.values()
    ]


def resample(
    values: Float[Tensor, "n m m"], window_boxes: Float[Tensor, "n 4"], points: Float[Tensor, "n 2 side"]
) -> Float[Tensor, "n side side"]:
    """Values of windows, bilinearly, on the grid of points x = ``points[:, 0]``, y = ``points[:, 1]`` of the image.

    The rule of ``pasting``: the first cell inside the image is extended to its border. Outside a window they are 0.
    """
    m = values.shape[-1]
    start, stop = window_boxes[:, :2, None], window_boxes[:, 2:, None]
    cell = (stop - start) / m
    first = (-start / cell).clamp(min=0)
    place = ((points - start) / cell - 0.5).maximum(first).clamp(max=m - 1)
    inside = (points >= start) & (points < stop)
    # Each point's share of every cell, along either axis: a product of matrices takes less time than grid_sample, and
    # the mask of what is outside is in it.
    place = place.masked_fill(~inside, -1)[..., None]
    x, y = (1 - (place - torch.arange(m, device=values.device)).abs_()).clamp_(min=0).unbind(1)  # [n, side, m]
    return y @ values @ x.mT


@dataclass(frozen=True)
class PaddedWindows:
    """Windows in margins of zeros, so that a square of cells may begin or end outside a window."""

    padded: Float[Tensor, "n width width"]
    margin: int

    @classmethod
    def of(cls, values: Float[Tensor, "n m m"]) -> PaddedWindows:
        """With margins of a quarter of a window."""
        margin = -(-values.shape[-1] // 4)
        return cls(F.pad(values, [margin] * 4), margin)

    @property
    def m(self) -> int:
        """Window side, in cells."""
        return self.padded.shape[-1] - 2 * self.margin

    @property
    def values(self) -> Float[Tensor, "n m m"]:
        """The windows."""
        inside = slice(self.margin, self.margin + self.m)
        return self.padded[:, inside, inside]

    def reaches(self, offsets_xy: Int[Tensor, "n 2"], side: int) -> Bool[Tensor, "n"]:
        """Whether all of the ``side`` x ``side`` cells that begin at an offset lie within the margins."""
        return ((offsets_xy >= -self.margin) & (offsets_xy + side <= self.m + self.margin)).all(1)

    def squares(
        self, index: Int[Tensor, "n"], offsets_xy: Int[Tensor, "n 2"], side: int
    ) -> Float[Tensor, "n side side"]:
        """``side`` x ``side`` cells of windows ``index`` from an offset on that it reaches; 0 outside a window.

        What ``resample`` gives where both windows lie on one grid, inside the image (cells outside have no say in
        pasting); copied row by row, which is faster.
        """
        width = self.padded.shape[-1]
        x, y = (offsets_xy + self.margin).unbind(1)
        rows = torch.arange(side, device=index.device)
        starts = ((index * width + y)[:, None] + rows) * width + x[:, None]
        runs = self.padded.as_strided((max(self.padded.numel() - side + 1, 0), side), (1, 1))
        return runs.index_select(0, starts.flatten()).view(-1, side, side)
