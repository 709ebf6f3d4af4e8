"""Why a pixel belongs to an object: the paper's Figure 1 of one photograph, as numbers and pictures for the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import adaptive_avg_pool2d

from instancefcn.geometry.rle import decode
from instancefcn.inference.proposer import Windows, assemble_masks
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.assembling import cells
from instancefcn.objects import INSIDE, make_exclusive
from instancefcn.web.found import Found, svg_path
from instancefcn.web.pictures import map_png
from instancefcn.web.walk import NOBODY, Walk

MOST_HERE, MOST_NEIGHBOURS = 6, 6
MAP_SIDE = 160  # pixels: a score map is shown no larger


def explain(
    walk: Walk,
    found: Found,
    *,
    exclusive: bool,
    pixel: tuple[int, int] | None = None,
    rank: int | None = None,
    number: int | None = None,
) -> dict[str, Any]:
    """Explain the candidate of a rank, the object of a number, or the best one at a pixel.

    Args:
        pixel: (x, y).
        number: of an object of ``found``, from 1.

    Returns:
        What ``why.js`` draws; all places are pixels of the photograph.

    Raises:
        LookupError: there is no such object, candidate or pixel; says which.
    """
    candidates = walk.candidates
    if rank is not None and not 0 <= rank < len(candidates):
        raise LookupError(f"there is no candidate {rank}")
    if number is not None:
        rank = rank_of(walk, found, exclusive, number)
    if pixel is None:
        if rank is None:
            raise LookupError("give a pixel, a candidate or an object")
        pixel = inner_pixel(walk, rank)
    x, y = pixel
    if not (0 <= x < candidates.width and 0 <= y < candidates.height):
        raise LookupError(f"the photograph has no pixel {x}, {y}")
    here = walk.at(x, y)
    if rank is None and len(here):  # an object before what is none
        rank = int(next((one for one in here if one in walk.objects), here[0]))
    window = walk.best_window_at(x, y) if rank is None else int(walk.windows[rank])
    return {
        "pixel": [x, y],
        "tiled": walk.tiled,
        "rank": rank,
        "here": [short(walk, found, int(one)) for one in here[:MOST_HERE]],
        "more": max(0, len(here) - MOST_HERE),
        "window": None if window is None else window_json(walk, window, x, y),
        "scores": None if window is None else scores_json(walk, window, rank),
        "mask": None if window is None else mask_json(walk, window),
        "result": None if rank is None else result_json(walk, found, rank),
        "suppression": None if window is None else suppression_json(walk, window),
    }


def rank_of(walk: Walk, found: Found, exclusive: bool, number: int) -> int:
    """The candidate that became an object.

    Raises:
        LookupError: there is no such object, or it was found in a tile, which the walk leaves out.
    """
    chosen = found.objects(exclusive)
    if not 0 < number <= len(chosen):
        raise LookupError(f"there is no object {number}")
    if exclusive:  # which leaves some objects out
        plain = found.objects(False)
        number = 1 + int(make_exclusive(plain.rles, plain.boxes_xyxy)[0][number - 1])
    if walk.tiled or number > len(walk.objects):
        raise LookupError("This object may come from a tile, whose score maps are not shown: click a pixel instead.")
    return int(walk.objects[number - 1])


def inner_pixel(walk: Walk, rank: int) -> tuple[int, int]:
    """A pixel (x, y) of a candidate's mask: of its widest row."""
    mask = decode(walk.candidates.rles[rank])
    row = int(mask.sum(axis=1).argmax())
    columns = np.flatnonzero(mask[row])
    return int(columns[len(columns) // 2]), row


def short(walk: Walk, found: Found, rank: int) -> dict[str, Any]:
    """A candidate in a line: its scores, and what became of it."""
    score = float(walk.candidates.scores[rank])
    fate, by = walk.fates[rank]
    chance = float(walk.rule.chance(np.array([score]))[0])
    if fate == "object" and score < walk.rule.lowest_score(found.usual_threshold):
        fate = "unlikely"
    return {
        "rank": rank,
        "score": score,
        "chance": chance,
        "area": walk.candidates[rank].area,
        "fate": fate,
        "by": by,
        "number": int(np.flatnonzero(walk.objects == rank)[0]) + 1 if rank in walk.objects else None,
    }


def window_json(walk: Walk, window: int, x: int, y: int) -> dict[str, Any]:
    """The window, the k x k score maps, and the tile that each gives."""
    group, position = walk.place_of(window)
    maps, box = group.score_maps, walk.masks.window_boxes[window]
    side = int(walk.masks.sides[window])
    edges = np.searchsorted(cells(side, maps.k).numpy(), np.arange(maps.k + 1)) / side
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
        "blend": walk.config.blend_tiles,
        "sheet": None if maps.mask_layer is not None else map_sheet(group),
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


def scores_json(walk: Walk, window: int, rank: int | None) -> dict[str, Any]:
    """The factors of the window's score, and what they became."""
    group, (row, column) = walk.place_of(window)
    maps, masks = group.score_maps, walk.masks
    quality = None if maps.quality is None else float(maps.quality[0, row, column].float().sigmoid())
    softened = None if rank is None else float(walk.candidates.scores[rank])
    return {
        "objectness": float(maps.objectness[0, row, column].float().sigmoid()),
        "quality": quality,
        "quality_power": walk.config.quality_power,
        "stability": float(masks.stability[window]),
        "stability_power": walk.config.stability_power,
        "score": float(masks.scores[window]),
        "softened": softened,
        "chance": None if softened is None else float(walk.rule.chance(np.array([softened]))[0]),
        "calibrated": bool(walk.rule.scores),
        "windows": len(masks),
        "better": int((masks.scores > masks.scores[window]).sum()),
    }


def mask_json(walk: Walk, window: int) -> dict[str, Any]:
    """The mask as it was assembled, as its neighbours' votes made it, and where it is above the threshold."""
    masks = walk.masks
    voters = walk.voters(window)
    averaged = vote(masks, np.array([window]), walk.config).logits(0) if len(voters) > 1 else None
    final = masks.logits(window) if averaged is None else averaged
    return {
        "threshold": walk.config.mask_threshold,
        "assembled": map_png(probabilities(masks.logits(window))),
        "averaged": None if averaged is None else map_png(probabilities(averaged)),
        "above": map_png((final > masks.threshold_logit).astype(float)),
        "voters": len(voters),
        "copied": map_png(probabilities(copied(walk, window).logits(0))) if walk.config.blend_tiles else None,
    }


def copied(walk: Walk, window: int) -> WindowMasks:
    """The window's mask as the paper assembles it: tiles copied, without blending them."""
    group, position = walk.place_of(window)
    one = Windows(group.score_maps, group.image_scale, torch.tensor([position]), torch.ones(1), group.tile)
    return assemble_masks([one], walk.masks.threshold_logit)


def result_json(walk: Walk, found: Found, rank: int) -> dict[str, Any]:
    """The mask in the photograph, and what the rule for objects made of it and of its neighbours."""
    entry = short(walk, found, rank)
    tolerance = max(0.5, max(walk.candidates.height, walk.candidates.width) / 2000)
    beaten = [other for other, (_, by) in enumerate(walk.fates) if rank in by]
    return entry | {
        "path": svg_path(walk.candidates.rles[rank], tolerance),
        "max_iou": walk.rule.max_iou,
        "max_filled": walk.rule.max_filled,
        "inside": INSIDE,
        "beaten": len(beaten),
        "beaten_boxes": walk.candidates.boxes_xyxy[beaten[:MOST_NEIGHBOURS]].tolist(),
        "blockers": [short(walk, found, one) for one in entry["by"][:MOST_NEIGHBOURS]],
    }


def suppression_json(walk: Walk, window: int) -> dict[str, Any]:
    """The windows that this one suppressed, and the one that suppressed it."""
    by = int(walk.suppressor[window])
    overlap = walk.box_ious(window)
    mine = np.flatnonzero(walk.suppressor == window)
    mine = mine[(-walk.masks.scores[mine]).argsort(kind="stable")]
    return {
        "threshold": walk.config.nms_threshold,
        "soft_threshold": walk.config.soft_nms_threshold,
        "by": None if by == NOBODY else neighbour(walk, by, overlap),
        "suppressed": len(mine),
        "neighbours": [neighbour(walk, int(one), overlap) for one in mine[:MOST_NEIGHBOURS]],
    }


def neighbour(walk: Walk, window: int, overlap: Float[np.ndarray, "w"]) -> dict[str, Any]:
    """A window in a line."""
    return {
        "box": walk.masks.tight_boxes[window].tolist(),
        "score": float(walk.masks.scores[window]),
        "iou": float(overlap[window]),
    }


def probabilities(logits: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "m m"]:
    """The logistic of mask logits."""
    return torch.from_numpy(np.ascontiguousarray(logits)).sigmoid().numpy()
