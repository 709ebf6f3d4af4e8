"""From mask logits in windows' frames to run-length codes in the image's frame, without a raster of either."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from instancefcn.compiled import compiled
from instancefcn.geometry.boxes import last_cell_inside
from instancefcn.geometry.rle import Rle, code_bound, from_counts, write_code
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.threads import in_threads, parts


def paste(masks: WindowMasks, height: int, width: int) -> list[Rle | None]:
    """Resize mask logits to their windows' boxes in the image, bilinearly, and threshold them.

    Down a column of pixels, interpolated logits are linear between the centres of two cells. So the row where they
    cross the threshold follows from the two cells: a mask costs its columns times the cells of its side. Cells outside
    the image hold no evidence, so the first and the last cell inside are extended to the image's borders.

    Args:
        masks: their windows may hang over the border, at the top by whole cells.
        height: of the image, in pixels, as ``width``.

    Returns:
        A code for each mask; None for a mask that contains no pixel's centre.
    """
    # Pixels whose centres lie in the window, with one cell of margin around the tight box: between the centres of two
    # cells the interpolated border may lie on either side.
    windows, tight = masks.window_boxes, masks.tight_boxes
    cell = (windows[:, 2:] - windows[:, :2]) / masks.sides[:, None]
    first = np.ceil(np.maximum(tight[:, :2] - cell, windows[:, :2]) - 0.5).clip(0, [width, height])
    end = np.ceil(np.minimum(tight[:, 2:] + cell, windows[:, 2:]) - 0.5).clip(0, [width, height])
    pixels = np.concatenate([first, end], axis=1).astype(np.int64)

    def encode_some(some: slice) -> list[bytes]:
        text, ends = _encode(
            masks.mask_logits, masks.starts[some], masks.sides[some], windows[some], pixels[some],
            masks.threshold_logit, height, width,
        )  # fmt: skip
        code = text.tobytes()
        return [code[begin:end] for begin, end in pairwise([0, *ends.tolist()])]

    codes = [code for some in in_threads(encode_some, parts(len(masks))) for code in some]
    empty = from_counts([height * width], height, width)["counts"]
    return [{"size": [height, width], "counts": code} if code != empty else None for code in codes]


@compiled
def _encode(mask_logits, starts, sides, windows, pixels, threshold, height, width):
    """Write the codes of masks, each within its box of ``pixels``; return the text and where each code ends."""
    text, ends, end = np.empty(4096, dtype=np.uint8), np.empty(len(sides), dtype=np.int64), 0
    for index in range(len(sides)):
        m = sides[index]
        mask = mask_logits[starts[index] : starts[index] + m * m].reshape(m, m)
        left, top, right, bottom = pixels[index]
        places = np.empty(max(right - left, 0) * (m + 1), dtype=np.int64)
        count = 0
        if bottom > top:
            count = _edges(mask, threshold, windows[index], left, top, right, bottom, height, width, places)
        needed = end + code_bound(count)
        if needed > len(text):
            longer = np.empty(2 * needed, dtype=np.uint8)
            longer[:end] = text[:end]
            text = longer
        end = write_code(places, count, height * width, text, end)
        ends[index] = end
    return text[:end], ends


@compiled
def _edges(mask, threshold, window, left, top, right, bottom, height, width, places):
    """Write where a mask changes, column-major, in the columns ``left`` to ``right``; return the number of places."""
    m = len(mask)
    cell_x, cell_y = (window[2] - window[0]) / m, (window[3] - window[1]) / m
    lowest = max(0.0, -window[0] / cell_x)
    highest = max(float(last_cell_inside(window[0], cell_x, m, width)), lowest)
    first = min(max(round(-window[1] / cell_y), 0), m - 1)  # the topmost cell inside the image
    last = max(last_cell_inside(window[1], cell_y, m, height), first)
    columns = np.ascontiguousarray(mask.T) - np.float32(threshold)
    profile = np.empty(m, dtype=np.float32)
    count = 0
    for x in range(left, right):
        place = min(max((x + 0.5 - window[0]) / cell_x - 0.5, lowest), highest)
        before = columns[int(place)]
        behind = columns[min(int(place) + 1, m - 1)]
        share = np.float32(place - int(place))
        for y in range(m):
            profile[y] = before[y] + share * (behind[y] - before[y])
        foreground = profile[first] > 0
        if foreground:
            places[count] = x * height + top
            count += 1
        for y in range(first + 1, last + 1):
            if (profile[y] > 0) != foreground:
                foreground = not foreground
                crossing = window[1] + (y - 0.5 + profile[y - 1] / (profile[y - 1] - profile[y])) * cell_y
                row = min(max(int(np.ceil(crossing - 0.5)), top), bottom)
                places[count] = x * height + row
                count += 1
        if foreground:
            places[count] = x * height + bottom
            count += 1
    return count
