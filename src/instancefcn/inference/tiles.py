"""Overlapping tiles of a resized image that is larger than the network looks at in one pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from instancefcn.data.resizing import resized_size
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.suppression import suppress
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks

LONGEST = 30_000.0  # pixels of a resized image that is cut into tiles: thin images would have no end
OVERLAP = 0.25  # of a tile's side that neighbours share, at least: an object of this length is whole in one of them


@dataclass(frozen=True)
class Tile:
    """A part of a resized image, in its pixels; half-open.

    Each window belongs to one tile: the one in whose ``core`` its position lies, (y, x) times the stride. The core ends
    halfway into what the neighbours share, and at the border of the image.
    """

    box: tuple[int, int, int, int]  # xyxy
    core: tuple[int, int, int, int]  # xyxy; inside the box

    @classmethod
    def whole(cls, size: tuple[int, int]) -> Tile:
        """The one tile of an image of ``size`` (height, width)."""
        box = (0, 0, size[1], size[0])
        return cls(box, box)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.box[3] - self.box[1], self.box[2] - self.box[0]

    def holds(self, masks: WindowMasks, image_scale: tuple[float, float]) -> Bool[np.ndarray, "n"]:
        """Whether each mask ends a cell or more before the inner borders of the tile, where objects are cut."""
        scale, box, core = np.tile(image_scale, 2), np.array(self.box), np.array(self.core)
        cell = (masks.window_boxes[:, 2:] - masks.window_boxes[:, :2]) / masks.sides[:, None]
        inner = np.where(box != core, box / scale, [-np.inf, -np.inf, np.inf, np.inf])
        before, behind = masks.tight_boxes[:, :2] >= inner[:2] + cell, masks.tight_boxes[:, 2:] <= inner[2:] - cell
        return np.logical_and.reduce([*before.T, *behind.T])


def cut(size: tuple[int, int], side: float, multiple: int) -> list[Tile]:
    """Cut an image of ``size`` (height, width) into tiles of at most ``side`` pixels a side; one if it fits.

    Args:
        multiple: corners of tiles are multiples of this, so that windows lie where those of the whole image do.
    """
    rows, columns = (_intervals(length, int(side) // multiple * multiple, multiple) for length in size)
    return [
        Tile((left, top, right, bottom), (core_left, core_top, core_right, core_bottom))
        for top, bottom, core_top, core_bottom in rows
        for left, right, core_left, core_right in columns
    ]


def _intervals(length: int, side: int, multiple: int) -> list[tuple[int, int, int, int]]:
    """Start and end of each tile along an axis, and of its core."""
    if length <= side:
        return [(0, length, 0, length)]
    farthest = max(multiple, side - multiple - round(OVERLAP * side))  # from one start to the next, before rounding
    steps = -(-(length - side) // farthest)
    starts = [-(-index * (length - side) // (steps * multiple)) * multiple for index in range(steps + 1)]
    ends = [min(start + side, length) for start in starts]
    middles = [(start + end) // 2 for start, end in zip(starts[1:], ends, strict=False)]
    return list(zip(starts, ends, [0, *middles], [*middles, length], strict=True))


def sizes_in_one_pass(height: int, width: int, config: InferenceConfig) -> list[tuple[int, int]]:
    """(height, width) that an image is resized to as a whole, each once.

    With ``config.tiles``, a size above ``longest_side`` is left to tiles, unless nothing else were left.
    """
    sides = config.sides_of(height, width)
    sizes = dict.fromkeys(resized_size(height, width, side, config.longest_side) for side in sides)
    if config.tiles:
        fitting = [side for side in sides if max(resized_size(height, width, side, np.inf)) <= config.longest_side]
        least = fitting or [min(sides)]
        sizes = dict.fromkeys(resized_size(height, width, side, config.longest_side) for side in least)
    return list(sizes)


def sizes_in_tiles(height: int, width: int, config: InferenceConfig) -> list[tuple[int, int]]:
    """(height, width) of the resized images that are cut into tiles; none without ``config.tiles``."""
    sizes = dict.fromkeys(resized_size(height, width, side, LONGEST) for side in config.sides_of(height, width))
    return [size for size in sizes if config.tiles and max(size) > config.longest_side]


def settled(masks: WindowMasks, height: int, width: int, config: InferenceConfig, wanted: int) -> WindowMasks:
    """The best masks of one tile after suppression and voting, with the scores that they had.

    Candidates of a tile end here, so that memory does not grow with the number of tiles. So with tiles the best few are
    not always the first of a longer list.
    """
    survivors, _ = suppress(masks, height, width, config, wanted)
    return vote(masks, survivors[:wanted], height, width, config)


def joined(parts: list[WindowMasks]) -> WindowMasks:
    """Masks of several tiles one after another; those without foreground are left out."""
    each = [part.logits(index).ravel() for part in parts for index in range(len(part))]
    logits = np.concatenate([np.zeros(0, dtype=np.float32), *each])
    scores, sides, boxes = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "sides", "window_boxes")
    )
    masks = WindowMasks.of(scores, logits, sides, boxes, parts[0].threshold_logit)
    return masks[masks.has_foreground]


def closer(config: InferenceConfig, times: int) -> InferenceConfig:
    """How to propose with one pass more, at ``times`` the largest shorter side, in tiles where that is long.

    Raises:
        ValueError: ``times`` is below 1, or the config resizes by ``image_scales``.
    """
    if times < 1:
        raise ValueError(f"tiles must be 1 or more, not {times}")
    if config.image_scales:
        raise ValueError("tiles multiply inference.shorter_sides; image_scales take their place: add a factor")
    sides = config.shorter_sides
    return replace(config, shorter_sides=tuple(dict.fromkeys((*sides, times * max(sides)))), tiles=True)
