"""Why a pixel belongs to an object: the paper's Figure 1 of one photograph, as numbers and pictures for the page."""

from __future__ import annotations

from typing import Any

import numpy as np

from instancefcn.geometry.rle import decode
from instancefcn.objects import ANY_NUMBER, INSIDE, make_exclusive
from instancefcn.web.found import Found, svg_path
from instancefcn.web.walk import Walk
from instancefcn.web.window_explanation import MOST_NEIGHBOURS, window_parts

MOST_HERE = 6


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
    number_of_pass, window = (0, walk.look(0).best_window_at(x, y)) if rank is None else walk.origins[rank].tolist()
    return {
        "pixel": [x, y],
        "pass": number_of_pass,
        "passes": walk.passes,
        "rank": rank,
        "here": [short(walk, found, int(one)) for one in here[:MOST_HERE]],
        "more": max(0, len(here) - MOST_HERE),
        "result": None if rank is None else result_json(walk, found, rank),
        **({"window": None} if window is None else window_parts(walk.look(number_of_pass), window)),
    }


def rank_of(walk: Walk, found: Found, exclusive: bool, number: int) -> int:
    """The candidate that became an object.

    Raises:
        LookupError: there is no such object.
    """
    chosen = found.objects(exclusive)
    if not 0 < number <= len(chosen):
        raise LookupError(f"there is no object {number}")
    if exclusive:  # which leaves some objects out
        plain = found.objects(False)
        number = 1 + int(make_exclusive(plain.rles)[0][number - 1])
    return int(walk.objects[number - 1])


def inner_pixel(walk: Walk, rank: int) -> tuple[int, int]:
    """A pixel (x, y) of a candidate's mask: of its widest row."""
    mask = decode(walk.candidates.rles[rank])
    row = int(mask.sum(axis=1).argmax())
    columns = np.flatnonzero(mask[row])
    return int(columns[len(columns) // 2]), row


def short(walk: Walk, found: Found, rank: int) -> dict[str, Any]:
    """A candidate in a line: its scores, and what became of it."""
    fate, by = walk.fates[rank]
    score, counted = float(walk.candidates.scores[rank]), float(walk.scores[rank])
    chance = float(walk.rule.chance(np.array([counted]))[0])
    if fate == "object" and counted < walk.rule.lowest_score(found.usual_threshold):
        fate = "unlikely"
    return {
        "rank": rank,
        "score": score,
        "counted": counted,
        "chance": chance,
        "area": walk.candidates[rank].area,
        "fate": fate,
        "by": by,
        "number": int(np.flatnonzero(walk.objects == rank)[0]) + 1 if rank in walk.objects else None,
    }


def result_json(walk: Walk, found: Found, rank: int) -> dict[str, Any]:
    """The mask in the photograph, and what the rule for objects made of it and of its neighbours."""
    entry = short(walk, found, rank)
    beaten = [other for other, (_, by) in enumerate(walk.fates) if rank in by]
    return entry | {
        "path": svg_path(walk.candidates.rles[rank]),
        "calibrated": bool(walk.rule.scores),
        "max_iou": walk.rule.max_iou,
        "max_filled": walk.rule.max_filled,
        "max_inside": walk.rule.max_inside if walk.rule.max_inside < ANY_NUMBER else None,
        "inside": INSIDE,
        "beaten": len(beaten),
        "beaten_boxes": walk.candidates.boxes_xyxy[beaten[:MOST_NEIGHBOURS]].tolist(),
        "blockers": [short(walk, found, one) for one in entry["by"][:MOST_NEIGHBOURS]],
    }
