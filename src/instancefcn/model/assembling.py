"""Instance assembling (paper 3.1): copy k x k tiles out of the score maps into the mask of a window. No parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from instancefcn.compiled import compiled
from instancefcn.structures import ScoreMaps
from instancefcn.threads import in_threads

# The logit of a mask pixel that lies outside the score maps: background, and finite so that losses stay finite.
OUTSIDE_LOGIT = -20.0


def cells(m: int, k: int, device: torch.device | None = None) -> Int[Tensor, "m"]:
    """Cell of each window pixel along an axis, ``floor(i * k / m)``; k need not divide m (5 over 21: 5 4 4 4 4)."""
    return torch.arange(m, device=device) * k // m


def assemble(
    instance: Float[Tensor, "b k2 h w"], image_index: Int[Tensor, "n"], corners_yx: Int[Tensor, "n 2"], m: int
) -> Float[Tensor, "n m m"]:
    """Mask logits of m x m windows: pixel (i, j) is read, at its own position, from the map of its cell.

    It only selects elements, so it is differentiable and has no parameters; m may differ from call to call.

    Args:
        instance: instance-sensitive logits; channel = cell_y * k + cell_x, row-major.
        image_index: which image of the batch each window lies on.
        corners_yx: top-left corners of the windows, in cells of the maps. Windows may hang over the border.
        m: window side, in cells of the maps.

    Returns:
        Logits in the window's own frame; ``OUTSIDE_LOGIT`` outside the maps.
    """
    _, k2, height, width = instance.shape
    k = math.isqrt(k2)
    cell = cells(m, k, instance.device)
    offsets = torch.arange(m, device=instance.device)
    rows = corners_yx[:, :1] + offsets  # [n, m]
    columns = corners_yx[:, 1:] + offsets
    row_outside = (rows < 0) | (rows >= height)
    column_outside = (columns < 0) | (columns >= width)
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)

    if instance.requires_grad:  # the gradient of a slice covers all that lies between
        flat = instance.permute(0, 2, 3, 1).reshape(-1)
        image_stride, row_stride, column_stride, channel_stride = height * width * k2, width * k2, k2, 1
    else:  # read in place: the maps are channels last and a slice of those of all window sizes
        span = sum((size - 1) * stride for size, stride in zip(instance.shape, instance.stride(), strict=True)) + 1
        flat = instance.as_strided((span,), (1,))
        image_stride, channel_stride, row_stride, column_stride = instance.stride()
    # The offset of a pixel is a part of its row plus a part of its column; both include the channel of the cell.
    by_row = image_index[:, None] * image_stride + rows * row_stride + cell * k * channel_stride
    by_column = columns * column_stride + cell * channel_stride
    place = by_row[:, :, None] + by_column[:, None, :]  # [n, m, m]
    logits = flat.index_select(0, place.flatten()).view(place.shape)
    # Only the windows that hang over the border; most do not.
    hanging = (row_outside | column_outside).any(1).nonzero()[:, 0]
    outside = row_outside[hanging, :, None] | column_outside[hanging, None, :]
    filled = logits.index_select(0, hanging).masked_fill(outside, OUTSIDE_LOGIT)
    return logits.index_copy_(0, hanging, filled)


def assemble_windows(
    score_maps: ScoreMaps, image_index: Int[Tensor, "n"], positions_yx: Int[Tensor, "n 2"]
) -> Float[Tensor, "n dm dm"]:
    """Mask logits of the windows of given positions, at the density of the score maps."""
    if score_maps.mask_layer is not None:
        return score_maps.mask_layer(score_maps.instance, image_index, positions_yx)
    corners = (positions_yx - score_maps.m // 2) * score_maps.density
    return assemble(score_maps.instance, image_index, corners, score_maps.m * score_maps.density)


def write_masks(
    score_maps: Sequence[ScoreMaps],
    positions_yx: Sequence[Int[Tensor, "_ 2"]],
    masks: Sequence[Float32[np.ndarray, "_ _ _"]],
    blend: bool = False,
) -> None:
    """Assemble the windows of one image into arrays, on the CPU and without gradients.

    Takes a quarter of the time of ``assemble_windows``.

    Args:
        score_maps: one for each window size, of a batch of one image.
        positions_yx: positions of the windows on each ScoreMaps.
        masks: arrays to fill with mask logits, [windows, dm, dm] for each ScoreMaps.
        blend: interpolate between the maps of the four nearest cells, so that tiles leave no seams.
    """
    tiles = []
    for maps, positions, out in zip(score_maps, positions_yx, masks, strict=True):
        if maps.mask_layer is not None:
            out[:] = assemble_windows(maps, torch.zeros_like(positions[:, 0]), positions).float().cpu().numpy()
            continue
        instance = maps.instance[0].float().cpu().numpy()  # a view, if on the CPU and in fp32
        corners = ((positions - maps.m // 2) * maps.density).cpu().numpy()
        side, between = maps.m * maps.density, blend and maps.k > 1
        if between:
            cell, share = cell_shares(side, maps.k)
        else:
            cell, share = cells(side, maps.k).numpy(), np.zeros(side, dtype=np.float32)
        starts = np.searchsorted(cell, np.arange(cell[-1] + 2))
        tiles.append((instance, corners, starts, share, between, out))
    in_threads(_write_tiles, *zip(*tiles, strict=True))


def tile_edges(m: int, k: int) -> Int[np.ndarray, "edges"]:
    """Starts of a window's k tiles along an axis, in cells from its corner, and the end of the last."""
    return np.searchsorted(cells(m, k).numpy(), np.arange(k + 1))


def cell_shares(m: int, k: int) -> tuple[Int[np.ndarray, "m"], Float32[np.ndarray, "m"]]:
    """Cell whose centre lies before each window pixel along an axis, and the weight of the cell behind it."""
    places = ((np.arange(m) + 0.5) * k / m - 0.5).clip(0, k - 1)
    before = np.minimum(places.astype(np.int64), k - 2)
    return before, (places - before).astype(np.float32)


@compiled
def _write_tiles(maps, corners_yx, starts, share, between, out):
    """Write the mask logits of windows at the corners [n, 2] of maps [k2, h, w] into ``out`` [n, m, m].

    The pixels of cell c along either axis are ``starts[c]`` to ``starts[c + 1]``. They are read from the map of their
    cell; or, ``between`` cells, interpolated by their ``share`` [m] of the cell behind. Planar maps are read fastest.
    """
    k, (_, height, width), m, end = int(math.sqrt(len(maps))), maps.shape, out.shape[-1], len(starts) - 1
    right, below = (1, k) if between else (0, 0)  # channels to the cell behind; no branch in the loop, for its speed
    for index in range(len(out)):
        top, left = corners_yx[index]
        mask = out[index]
        if top < 0 or left < 0 or top + m > height or left + m > width:
            mask[:] = OUTSIDE_LOGIT
        for cell_y in range(end):
            for cell_x in range(end):
                first, stop = max(starts[cell_x], -left), min(starts[cell_x + 1], width - left)
                if first >= stop:
                    continue
                channel, x, end_x, share_x = cell_y * k + cell_x, left + first, left + stop, share[first:stop]
                for i in range(max(starts[cell_y], -top), min(starts[cell_y + 1], height - top)):
                    y, share_y, run = top + i, share[i], mask[i, first:stop]
                    upper, upper_right = maps[channel, y, x:end_x], maps[channel + right, y, x:end_x]
                    lower, lower_right = maps[channel + below, y, x:end_x], maps[channel + below + right, y, x:end_x]
                    for j in range(len(run)):
                        before = upper[j] + share_x[j] * (upper_right[j] - upper[j])
                        behind = lower[j] + share_x[j] * (lower_right[j] - lower[j])
                        run[j] = before + share_y * (behind - before)
