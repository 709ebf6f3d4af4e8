"""How one window came to its mask and its score, as numbers and pictures for the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import adaptive_avg_pool2d

from instancefcn.inference.proposer import Windows, assemble_masks
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.assembling import tile_edges
from instancefcn.web.passes import NOBODY, Pass
from instancefcn.web.pictures import map_png

MOST_NEIGHBOURS = 6
MAP_SIDE = 160  # pixels: a score map is shown no larger


def window_parts(pass_: Pass, window: int) -> dict[str, Any]:
    """What the page draws of one window: its place and maps, its score, its mask, and whom it suppressed."""
    return {
        "window": window_json(pass_, window),
        "scores": scores_json(pass_, window),
        "mask": mask_json(pass_, window),
        "suppression": suppression_json(pass_, window),
    }


def window_json(pass_: Pass, window: int) -> dict[str, Any]:
    """The window, the k x k score maps with what they cover, and the tile that each gives."""
    group, position = pass_.place_of(window)
    maps, box = group.score_maps, pass_.masks.window_boxes[window]
    side = int(pass_.masks.sides[window])
    edges = tile_edges(side, maps.k) / side
    return {
        "box": box.tolist(),
        "k": maps.k,
        "m": maps.m,
        "side": side,
        "stride": maps.stride,
        "position": position,
        "scale": group.image_scale,
        "tiles_x": (box[0] + edges * (box[2] - box[0])).tolist(),
        "tiles_y": (box[1] + edges * (box[3] - box[1])).tolist(),
        "blend": pass_.config.blend_tiles,
        "sheet": None if maps.mask_layer is not None else map_sheet(group),
        "looked_at": (np.array(group.tile.box) / np.tile(group.image_scale, 2)).tolist(),
        "extent": map_extent(group),
    }


def map_sheet(group: Windows) -> str:
    """All k x k score maps in one picture, row by row, as probabilities."""
    maps = group.score_maps
    values = maps.instance[0].float().sigmoid().cpu()
    rows, columns = values.shape[1:]
    shrink = min(1.0, MAP_SIDE / max(rows, columns))
    small = adaptive_avg_pool2d(values, (max(1, round(rows * shrink)), max(1, round(columns * shrink))))
    by_row = small.reshape(maps.k, maps.k, *small.shape[1:]).permute(0, 2, 1, 3)
    return map_png(by_row.reshape(maps.k * small.shape[1], -1).numpy())


def map_extent(group: Windows) -> list[float]:
    """Width and height that a score map covers, in pixels of the photograph; padding makes it larger than that."""
    maps = group.score_maps
    cell = maps.stride / maps.density / np.array(group.image_scale)
    rows, columns = maps.instance.shape[-2:]
    return [float(columns * cell[0]), float(rows * cell[1])]


def scores_json(pass_: Pass, window: int) -> dict[str, Any]:
    """The factors of the window's score."""
    group, (row, column) = pass_.place_of(window)
    maps, masks = group.score_maps, pass_.masks
    quality = None if maps.quality is None else float(maps.quality[0, row, column].float().sigmoid())
    return {
        "objectness": float(maps.objectness[0, row, column].float().sigmoid()),
        "quality": quality,
        "quality_power": pass_.config.quality_power,
        "stability": float(masks.stability[window]),
        "stability_power": pass_.config.stability_power,
        "score": float(masks.scores[window]),
        "windows": len(masks),
        "better": int((masks.scores > masks.scores[window]).sum()),
    }


def mask_json(pass_: Pass, window: int) -> dict[str, Any]:
    """The mask as it was assembled, as its neighbours' votes made it, and where it is above the threshold."""
    masks = pass_.masks
    voters = pass_.voters(window)
    averaged = None
    if len(voters) > 1:
        averaged = vote(masks, np.array([window]), pass_.height, pass_.width, pass_.config).logits(0)
    final = masks.logits(window) if averaged is None else averaged
    return {
        "threshold": pass_.config.mask_threshold,
        "assembled": map_png(probabilities(masks.logits(window))),
        "averaged": None if averaged is None else map_png(probabilities(averaged)),
        "above": map_png((final > masks.threshold_logit).astype(float)),
        "voters": len(voters),
        "copied": map_png(probabilities(copied(pass_, window).logits(0))) if pass_.config.blend_tiles else None,
    }


def copied(pass_: Pass, window: int) -> WindowMasks:
    """The window's mask as the paper assembles it: tiles copied, without blending them."""
    group, position = pass_.place_of(window)
    alone = Windows(group.score_maps, group.image_scale, torch.tensor([position]), torch.ones(1), group.tile)
    return assemble_masks([alone], pass_.masks.threshold_logit)


def suppression_json(pass_: Pass, window: int) -> dict[str, Any]:
    """The windows that this one suppressed, and the one that suppressed it."""
    by = int(pass_.suppressor[window])
    overlap = pass_.box_ious(window)
    mine = np.flatnonzero(pass_.suppressor == window)
    mine = mine[(-pass_.masks.scores[mine]).argsort(kind="stable")]
    return {
        "threshold": pass_.config.nms_threshold,
        "by": None if by == NOBODY else neighbour(pass_, by, overlap),
        "suppressed": len(mine),
        "neighbours": [neighbour(pass_, int(other), overlap) for other in mine[:MOST_NEIGHBOURS]],
    }


def neighbour(pass_: Pass, window: int, overlap: Float[np.ndarray, "w"]) -> dict[str, Any]:
    """A window in a line."""
    return {
        "box": pass_.masks.tight_boxes[window].tolist(),
        "score": float(pass_.masks.scores[window]),
        "iou": float(overlap[window]),
    }


def probabilities(logits: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "m m"]:
    """The logistic of mask logits."""
    return torch.from_numpy(np.ascontiguousarray(logits)).sigmoid().numpy()
