"""Masks of windows before they are pasted: on the cells of their windows, which lie anywhere in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

CHUNK = 512  # pairs of masks at a time: what a processor's cache holds


@dataclass(frozen=True)
class WindowMasks:
    """Assembled masks of windows that share a size in cells; boxes in the image's frame."""

    scores: Float[Tensor, "n"]
    mask_logits: Float[Tensor, "n m m"]
    window_boxes: Float[Tensor, "n 4"]
    tight_boxes: Float[Tensor, "n 4"]


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
    x, y = ((2 * place + 1) / m - 1).unbind(1)  # as grid_sample has them: from -1 to 1 over the window
    side = points.shape[-1]
    grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=-1)
    sampled = F.grid_sample(values[:, None], grid, align_corners=False, padding_mode="border")[:, 0]
    inside = (points >= start) & (points < stop)
    return sampled.masked_fill(~(inside[:, 1, :, None] & inside[:, 0, None]), 0)


@dataclass(frozen=True)
class Runs:
    """Cells of windows in reading order, between margins, so that a run of cells may begin or end outside a window."""

    flat: Float[Tensor, "_"]
    m: int
    margin: int  # the longest run

    @classmethod
    def of(cls, values: Float[Tensor, "n m m"], margin: int) -> Runs:
        """Runs of up to ``margin`` cells."""
        return cls(F.pad(values.flatten(), (margin, margin)), values.shape[-1], margin)

    @property
    def values(self) -> Float[Tensor, "n m m"]:
        """The windows."""
        return self.flat[self.margin : len(self.flat) - self.margin].view(-1, self.m, self.m)

    def shifted(
        self, index: Int[Tensor, "n"], offsets_xy: Int[Tensor, "n 2"], side: int
    ) -> Float[Tensor, "n side side"]:
        """``side`` x ``side`` cells of windows ``index`` from an offset on; 0 outside a window.

        What ``resample`` gives where both windows lie on one grid; copied row by row, which is faster.
        """
        m = self.m
        x, y = (offsets_xy[:, :, None] + torch.arange(side, device=self.flat.device)).unbind(1)
        starts = self.margin + (index[:, None] * m + y.clamp(0, m - 1)) * m + offsets_xy[:, :1].clamp(-side, m)
        runs = self.flat.as_strided((len(self.flat) - side + 1, side), (1, 1))
        inside = ((y >= 0) & (y < m))[:, :, None] & ((x >= 0) & (x < m))[:, None]
        return runs.index_select(0, starts.flatten()).view(-1, side, side).masked_fill_(~inside, 0)
