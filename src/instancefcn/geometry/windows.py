"""Position <-> window <-> image box (paper 3.1).

A position (y, x) stands for the m x m window centred there: it spans ``[y - m // 2, y - m // 2 + m)`` positions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def window_boxes(positions_yx: Int[Tensor, "n 2"], stride: int, m: int) -> Float[Tensor, "n 4"]:
    """Image boxes of windows, xyxy, half-open, not clipped: the window's span times the stride."""
    top_left = (positions_yx - m // 2).flip(-1)
    return torch.cat([top_left, top_left + m], dim=-1).float() * stride


def window_centers(height: int, width: int, stride: int, m: int) -> tuple[Float[Tensor, "h"], Float[Tensor, "w"]]:
    """Image coordinates (y of each row, x of each column) of the centres of all windows of a grid of positions."""
    offset = m / 2 - m // 2  # half a position where m is odd, none where it is even
    return (torch.arange(height) + offset) * stride, (torch.arange(width) + offset) * stride
