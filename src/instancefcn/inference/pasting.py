"""From mask logits in a window's frame to a run-length code in the image's frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from instancefcn.geometry.rle import encode_in_box
from instancefcn.structures import Rle


def paste(
    mask_logits: Float[np.ndarray, "m m"],
    window_box: Float[np.ndarray, "4"],
    tight_box: Float[np.ndarray, "4"],
    threshold_logit: float,
    height: int,
    width: int,
) -> Rle | None:
    """Resize the logits to the window's box in the image, bilinearly, and threshold.

    Only pixels near the tight box are computed, so that a mask costs its own area, not the image's.

    Args:
        window_box: xyxy in the image's frame, fractional; may hang over the border.
        tight_box: xyxy in the image's frame: where the thresholded logits lie.

    Returns:
        None where no pixel's centre is foreground.
    """
    m = mask_logits.shape[0]
    cell = (window_box[2:] - window_box[:2]) / m  # image pixels per mask pixel, in x and in y
    # Pixels whose centres lie in the window, with one cell of margin around the tight box: between the centres of two
    # cells the interpolated border may lie on either side.
    left, top = np.ceil(np.maximum(tight_box[:2] - cell, window_box[:2]) - 0.5).clip(0).astype(int).tolist()
    right, bottom = np.ceil(np.minimum(tight_box[2:] + cell, window_box[2:]) - 0.5).astype(int).tolist()
    right, bottom = min(right, width), min(bottom, height)
    if right <= left or bottom <= top:
        return None
    columns = _interpolation(left, right, float(window_box[0]), float(cell[0]), m)
    rows = _interpolation(top, bottom, float(window_box[1]), float(cell[1]), m)
    crop = rows @ mask_logits @ columns.T > threshold_logit
    return encode_in_box(crop, top, left, height, width) if crop.any() else None


def _interpolation(start: int, stop: int, window_start: float, cell: float, m: int) -> Float[np.ndarray, "pixels m"]:
    """Linear interpolation from cells to the centres of image pixels ``start..stop``, as a matrix.

    Cells outside the image hold no evidence, so the first inside is extended to the image's border.
    """
    place = (np.arange(start, stop, dtype=np.float32) + np.float32(0.5 - window_start)) / np.float32(cell) - np.float32(
        0.5
    )
    place = place.clip(max(0.0, -window_start / cell), m - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(m, dtype=np.float32)))
