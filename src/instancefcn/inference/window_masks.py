"""Masks before they are pasted: each on the cells of its window, which lies anywhere in the image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from instancefcn.compiled import compiled
from instancefcn.geometry.boxes import last_cell_inside
from instancefcn.threads import in_threads, parts

STABILITY_OFFSET = 1.0  # logits
ROUNDING = 1e-4  # cells; two grids this close are the same


@dataclass(frozen=True)
class WindowMasks:
    """Assembled masks of windows; boxes are in the image's frame.

    Windows have different numbers of cells a side, so the masks lie one after another in one array: the mask of window
    i is the ``sides[i] ** 2`` logits from ``starts[i]`` on, row by row.
    """

    scores: Float[np.ndarray, "n"]
    mask_logits: Float32[np.ndarray, "cells"]
    starts: Int[np.ndarray, "n"]
    sides: Int[np.ndarray, "n"]
    window_boxes: Float[np.ndarray, "n 4"]  # xyxy, fractional; may hang over the border
    tight_boxes: Float[np.ndarray, "n 4"]  # around the cells above the threshold; empty where there are none
    threshold_logit: float  # a cell above it is foreground
    # IoU of the mask thresholded a logit above and a logit below (Segment Anything, Kirillov et al., ICCV 2023): low
    # where the network does not know the outline; 0 for a mask without foreground.
    stability: Float[np.ndarray, "n"]

    @classmethod
    def of(
        cls,
        scores: Float[np.ndarray, "n"],
        mask_logits: Float32[np.ndarray, "cells"],
        sides: Int[np.ndarray, "n"],
        window_boxes: Float[np.ndarray, "n 4"],
        threshold_logit: float,
    ) -> WindowMasks:
        """Measure masks that lie one after another, without gaps."""
        starts = first_of_each(sides)

        def measure(some: slice) -> tuple[np.ndarray, np.ndarray]:
            return _measure(mask_logits, starts[some], sides[some], threshold_logit, STABILITY_OFFSET)

        measured = zip(*in_threads(measure, parts(len(sides))), strict=True)
        in_cells, stability = (np.concatenate(arrays) for arrays in measured)
        cell = (window_boxes[:, 2:] - window_boxes[:, :2]) / sides[:, None]
        tight = window_boxes[:, [0, 1, 0, 1]] + in_cells * cell[:, [0, 1, 0, 1]]
        return cls(scores, mask_logits, starts, sides, window_boxes, tight, threshold_logit, stability)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: Int[np.ndarray, "k"] | Bool[np.ndarray, "n"] | list[int] | slice) -> WindowMasks:
        """Select masks, in the order asked for; the logits are shared, not copied."""
        shared = ("mask_logits", "threshold_logit")
        return replace(self, **{name: values[chosen] for name, values in vars(self).items() if name not in shared})

    @property
    def has_foreground(self) -> Bool[np.ndarray, "n"]:
        """Whether any cell of each mask is above the threshold."""
        return self.tight_boxes[:, 2] > self.tight_boxes[:, 0]

    def logits(self, index: int) -> Float32[np.ndarray, "m m"]:
        """The mask logits of one window."""
        start, side = self.starts[index], self.sides[index]
        return self.mask_logits[start : start + side**2].reshape(side, side)


def first_of_each(sides: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Start of each square of ``sides`` cells a side, if the squares lie one after another."""
    return np.cumsum(sides**2) - sides**2


@compiled
def _measure(mask_logits, starts, sides, threshold, offset):
    """Tight boxes of masks, xyxy in cells, and their stability."""
    boxes, stability = np.zeros((len(sides), 4)), np.zeros(len(sides))
    for index in range(len(sides)):
        m = sides[index]
        cells = mask_logits[starts[index] : starts[index] + m * m]
        surely, maybe = 0, 0
        for cell in range(m * m):
            surely += cells[cell] > threshold + offset
            maybe += cells[cell] > threshold - offset
        stability[index] = surely / max(maybe, 1)
        mask = cells.reshape(m, m)
        highest = mask[0].copy()  # of each column
        for y in range(1, m):
            row = mask[y]
            for x in range(m):
                highest[x] = row[x] if row[x] > highest[x] else highest[x]
        if _any_above(highest, threshold):
            left, top, right, bottom = 0, 0, m, m
            while highest[left] <= threshold:
                left += 1
            while highest[right - 1] <= threshold:
                right -= 1
            while not _any_above(mask[top], threshold):
                top += 1
            while not _any_above(mask[bottom - 1], threshold):
                bottom -= 1
            boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3] = left, top, right, bottom
    return boxes, stability


@compiled
def _any_above(row, threshold):
    """Whether a cell is above the threshold; it looks at all of them, several at once."""
    above = 0
    for x in range(len(row)):
        above += row[x] > threshold
    return above > 0


@compiled
def add_resampled(
    values: Float32[np.ndarray, "m m"],
    window_box: Float64[np.ndarray, "4"],
    corner_x: float,
    corner_y: float,
    step_x: float,
    step_y: float,
    weight: float,
    height: int,
    width: int,
    sums: Float32[np.ndarray, "rows columns"],
) -> None:
    """Add a window's values, times a weight, at the centres of a grid of rectangles in the image.

    Values are interpolated bilinearly between the centres of cells, and are 0 outside their window. The first and
    the last cell inside the image are extended to its borders, except where whole cells are copied.

    Args:
        values: of the window.
        window_box: xyxy, in the image's frame, as all coordinates below.
        corner_x: left side of the grid; ``corner_y`` is its upper side.
        step_x: width of each rectangle; ``step_y`` is its height.
        height: of the image, in pixels, as ``width``.
        sums: one for each rectangle; added to in place.
    """
    m, (rows, columns) = len(values), sums.shape
    cell_x, cell_y = (window_box[2] - window_box[0]) / m, (window_box[3] - window_box[1]) / m
    left, top = (corner_x - window_box[0]) / cell_x, (corner_y - window_box[1]) / cell_y  # of the grid, in cells
    if _is_whole(left, step_x / cell_x, columns) and _is_whole(top, step_y / cell_y, rows):
        # The usual case: windows of one stride share a grid. Cells outside the image may be copied: they are never
        # pasted.
        _add_copied(values, round(top), round(left), weight, sums)
        return
    row, row_share, first_row, end_row = _places(corner_y, step_y, rows, window_box[1], window_box[3], m, height)
    column, column_share, first_column, end_column = _places(
        corner_x, step_x, columns, window_box[0], window_box[2], m, width
    )
    line = np.empty(m + 1, dtype=values.dtype)
    for y in range(first_row, end_row):
        before, behind = values[row[y]], values[min(row[y] + 1, m - 1)]
        for j in range(m):
            line[j] = weight * (before[j] + row_share[y] * (behind[j] - before[j]))
        line[m] = line[m - 1]
        for x in range(first_column, end_column):
            j = column[x]
            sums[y, x] += line[j] + column_share[x] * (line[j + 1] - line[j])


@compiled
def _is_whole(start, step, count):
    """Whether ``count`` steps from a start are whole cells, up to rounding."""
    return abs(start - round(start)) < ROUNDING and abs(step - 1) * count < ROUNDING


@compiled
def _add_copied(values, top, left, weight, sums):
    """Add values times a weight, where the first of the sums lies on the value of row ``top`` and column ``left``."""
    m, (rows, columns) = len(values), sums.shape
    first, end = max(0, -left), min(columns, m - left)
    if end > first:
        for y in range(max(0, -top), min(rows, m - top)):
            total, copied = sums[y, first:end], values[top + y, left + first : left + end]
            for x in range(len(total)):
                total[x] += weight * copied[x]


@compiled
def _places(corner, step, count, window_start, window_stop, m, extent):
    """Locate the centres of ``count`` intervals among the centres of a window's m cells, along an axis of the image.

    Returns:
        The cell before each centre, the weight of the cell behind it, and the range of the centres inside the window.
    """
    cell = (window_stop - window_start) / m
    lowest = max(0.0, -window_start / cell)
    highest = max(float(last_cell_inside(window_start, cell, m, extent)), lowest)
    before, share = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.float32)
    first, end = count, 0
    for index in range(count):
        point = corner + (index + 0.5) * step
        if window_start <= point < window_stop:
            first, end = min(first, index), index + 1
            place = min(max((point - window_start) / cell - 0.5, lowest), highest)
            before[index] = int(place)
            share[index] = place - before[index]
    return before, share, first, end
