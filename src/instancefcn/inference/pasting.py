"""From mask logits in windows' frames to run-length codes in the image's frame, without a raster of either."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from instancefcn.geometry.rle import encode_edges, from_counts
from instancefcn.structures import Rle

COLUMNS = 20_000  # image columns at a time: what a processor's cache holds of their cells


def paste(
    mask_logits: Float[np.ndarray, "n m m"],
    window_boxes: Float[np.ndarray, "n 4"],
    tight_boxes: Float[np.ndarray, "n 4"],
    threshold_logit: float,
    height: int,
    width: int,
) -> list[Rle | None]:
    """Resize the logits to the windows' boxes in the image, bilinearly, and threshold.

    Down a column of pixels interpolated logits are linear from the centre of one cell to that of the next, so the row
    at which they cross the threshold is known from the two: a mask costs its columns times the cells of its side.
    Cells outside the image hold no evidence, so the first inside is extended to the image's border.

    Args:
        window_boxes: xyxy in the image's frame, fractional; may hang over the border, at the top by whole cells.
        tight_boxes: xyxy in the image's frame: where the thresholded logits lie.

    Returns:
        None for a mask that no pixel's centre lies in.
    """
    values = mask_logits.astype(np.float32) - np.float32(threshold_logit)
    windows = window_boxes.astype(np.float64)
    cell = (windows[:, 2:] - windows[:, :2]) / mask_logits.shape[-1]  # image pixels per mask pixel, in x and in y
    # Pixels whose centres lie in the window, with one cell of margin around the tight box: between the centres of two
    # cells the interpolated border may lie on either side.
    start = np.ceil(np.maximum(tight_boxes[:, :2] - cell, windows[:, :2]) - 0.5).clip(0).astype(int)
    stop = np.ceil(np.minimum(tight_boxes[:, 2:] + cell, windows[:, 2:]) - 0.5).astype(int)
    start, stop = np.minimum(start, [width, height]), np.minimum(stop, [width, height])
    widths = np.where((stop > start).all(1), stop[:, 0] - start[:, 0], 0)
    rles: list[Rle] = []
    for masks in _chunks(widths):
        owner = np.repeat(np.arange(masks.start, masks.stop), widths[masks])
        column = np.arange(len(owner)) - np.repeat(np.cumsum(widths[masks]) - widths[masks], widths[masks])
        column += start[owner, 0]
        profiles = _columns(values, windows[:, 0], cell[:, 0], owner, column)
        index, row = _crossings(profiles, windows[owner, 1], cell[owner, 1], start[owner, 1], stop[owner, 1])
        places, of_mask = column[index] * height + row, owner[index] - masks.start
        rles += encode_edges(places, of_mask, masks.stop - masks.start, height, width)
    empty = from_counts([height * width], height, width)
    return [None if rle == empty else rle for rle in rles]


def _chunks(widths: Int[np.ndarray, "n"]) -> Iterator[slice]:
    """Masks in turn, of about ``COLUMNS`` columns together."""
    ends = np.cumsum(widths)
    first = 0
    while first < len(widths):
        before = ends[first] - widths[first]
        last = max(first + 1, int(np.searchsorted(ends, before + COLUMNS, side="right")))
        yield slice(first, last)
        first = last


def _columns(
    values: Float[np.ndarray, "n m m"],
    window_start: Float[np.ndarray, "n"],
    cell: Float[np.ndarray, "n"],
    owner: Int[np.ndarray, "c"],
    column: Int[np.ndarray, "c"],
) -> Float[np.ndarray, "c m"]:
    """The cells of masks ``owner``, from top to bottom, interpolated to the centres of image columns."""
    m = values.shape[-1]
    place = (column + 0.5 - window_start[owner]) / cell[owner] - 0.5
    place = place.clip(np.maximum(0.0, -window_start / cell)[owner], m - 1)
    left = np.minimum(place.astype(int), max(m - 2, 0))
    share = (place - left).astype(np.float32)[:, None]
    by_column = values.transpose(0, 2, 1).reshape(-1, m)
    at = owner * m + left
    before, profiles = by_column.take(at, axis=0), by_column.take(at + (m > 1), axis=0)
    profiles -= before  # in place: the arrays are large
    profiles *= share
    profiles += before
    return profiles


def _crossings(
    profiles: Float[np.ndarray, "c m"],
    window_start: Float[np.ndarray, "c"],
    cell: Float[np.ndarray, "c"],
    start: Int[np.ndarray, "c"],
    stop: Int[np.ndarray, "c"],
) -> tuple[Int[np.ndarray, "e"], Int[np.ndarray, "e"]]:
    """Where columns change: index of the column, and the first row that differs from those above, in reading order.

    A column's changes alternate, foreground first; two at the same row are a run between the centres of two pixels.
    """
    m = profiles.shape[1]
    first = np.rint(-window_start / cell).astype(int).clip(0, m - 1)  # the first cell inside the image
    hanging = np.flatnonzero(first)
    outside = np.arange(m) < first[hanging, None]
    profiles[hanging] = np.where(outside, profiles[hanging, first[hanging], None], profiles[hanging])
    foreground = np.zeros((len(profiles), m + 2), dtype=bool)
    np.greater(profiles, 0, out=foreground[:, 1:-1])
    # Columns begin and end with background, so nothing changes from one to the next.
    changes = np.flatnonzero(foreground.ravel()[1:] != foreground.ravel()[:-1])
    index = changes.astype(np.int32) // (m + 2)  # shorter numbers are divided sooner
    change = changes - index * (m + 2)
    cells = profiles.ravel()
    above, below = cells.take(index * m + (change - 1).clip(0)), cells.take(index * m + change.clip(max=m - 1))
    between = (change > 0) & (change < m)
    share = np.divide(above, above - below, out=np.zeros_like(above), where=between)
    crossing = window_start[index] + (change - 0.5 + share) * cell[index]
    row = np.ceil(crossing - 0.5).astype(int)
    row = np.where(change == 0, start[index], np.where(change == m, stop[index], row))
    return index, row.clip(start[index], stop[index])
