"""Masks of windows before they are pasted: on the cells of their windows, which lie anywhere in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instancefcn.geometry.masks import above, tight_boxes

STABILITY_OFFSET = 1.0  # logits
CHUNK = 512  # pairs of masks at a time: what a processor's cache holds


@dataclass(frozen=True)
class WindowMasks:
    """Assembled masks of windows that share a size in cells; boxes in the image's frame."""

    scores: Float[Tensor, "n"]
    mask_logits: Float[Tensor, "n m m"]
    window_boxes: Float[Tensor, "n 4"]
    tight_boxes: Float[Tensor, "n 4"]

    @classmethod
    def of(
        cls,
        scores: Float[Tensor, "n"],
        mask_logits: Float[Tensor, "n m m"],
        window_boxes: Float[Tensor, "n 4"],
        threshold_logit: float,
    ) -> WindowMasks:
        """With boxes tight around the cells above a threshold; of a mask without any the box is empty."""
        cell = (window_boxes[:, 2:] - window_boxes[:, :2]) / mask_logits.shape[-1]
        in_cells = tight_boxes(above(mask_logits, threshold_logit))
        tight = window_boxes[:, [0, 1, 0, 1]] + in_cells * cell[:, [0, 1, 0, 1]]
        return cls(scores, mask_logits, window_boxes, tight)

    def __getitem__(self, chosen: Bool[Tensor, "n"]) -> WindowMasks:
        """Some of them."""
        return WindowMasks(*(getattr(self, field.name)[chosen] for field in fields(WindowMasks)))


def locate(places: Int[Tensor, "n"], sizes: Sequence[int]) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"]]:
    """Of places in groups of so many, one after another: the group, and the place within it."""
    counts = torch.tensor(sizes, device=places.device)
    ends = counts.cumsum(0)
    group = torch.bucketize(places, ends, right=True)
    return group, places - (ends - counts)[group]


def stability(mask_logits: Float[Tensor, "n m m"], threshold_logit: float) -> Float[Tensor, "n"]:
    """IoU of each mask thresholded a logit above and a logit below (Segment Anything, Kirillov et al., ICCV 2023).

    Low where the network does not know the outline; 0 for a mask without foreground.
    """
    surely, maybe = (
        above(mask_logits, threshold_logit + offset).flatten(1).sum(1)
        for offset in (STABILITY_OFFSET, -STABILITY_OFFSET)
    )
    return surely / maybe.clamp(min=1)


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
        count, m, _ = values.shape
        margin = -(-m // 4)
        windows = cls(values.new_zeros(count, m + 2 * margin, m + 2 * margin), margin)
        windows.values.copy_(values)
        return windows

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
