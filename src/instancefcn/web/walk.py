"""The walk of a photograph through a proposer with everything on the way kept, to say why it ended as it did."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from instancefcn.geometry.boxes import ious_with
from instancefcn.geometry.rle import ious
from instancefcn.geometry.rle import tight_boxes as rle_boxes
from instancefcn.geometry.runs import Edges
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import MIN_SCORE, Proposer, Windows, as_tensor, keep_best, ranked_masks
from instancefcn.inference.suppression import suppress
from instancefcn.inference.tiles import sizes_in_tiles
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.objects import INSIDE, ObjectRule, choose_objects, shared_pixels
from instancefcn.proposals import Proposals

NOBODY = -1


@dataclass(frozen=True)
class Walk:
    """What each step of ``Proposer`` gave for one photograph.

    ``windows`` are indices into ``masks``, ``ranks`` into ``candidates``. Of an image that is cut into tiles it is the
    one pass over the whole.
    """

    config: InferenceConfig
    rule: ObjectRule
    groups: list[Windows]  # the score maps, a group for each window size
    masks: WindowMasks  # of all windows that suppression looks at
    windows: Int[np.ndarray, "n"]  # of each candidate
    candidates: Proposals
    tiled: bool  # further candidates come from tiles, which are not here

    @classmethod
    @torch.inference_mode()
    def of(cls, proposer: Proposer, pixels: UInt8[np.ndarray, "h w 3"]) -> Walk:
        """Go through the steps of ``Proposer.__call__``, with its own functions."""
        config, (height, width) = proposer.config, pixels.shape[:2]
        groups = proposer.windows(as_tensor(pixels))
        masks = ranked_masks(keep_best(groups, config.nms_candidates), config)
        survivors, scores = suppress(masks, height, width, config, config.nms_candidates)
        survivors, scores = survivors[scores >= MIN_SCORE], scores[scores >= MIN_SCORE]
        pasted = paste(vote(masks, survivors, config), height, width)
        whole = np.array([rle is not None for rle in pasted], dtype=bool)
        rles = [rle for rle in pasted if rle is not None]
        candidates = Proposals(rles, rle_boxes(rles), scores[whole], height, width, rule=proposer.rule)
        rule = proposer.rule or ObjectRule(threshold=0.0)
        tiled = bool(sizes_in_tiles(height, width, config))
        return cls(config, rule, groups, masks, survivors[whole], candidates, tiled)

    @cached_property
    def suppressor(self) -> Int[np.ndarray, "w"]:
        """For each window the one that suppressed it, by the IoU of tight boxes; ``NOBODY`` for survivors.

        It is the best survivor among those that would have.
        """
        order = (-self.masks.scores).argsort(kind="stable")
        boxes, by = self._clipped(order), np.full(len(order), NOBODY)
        overlap, free = np.empty(len(order)), np.ones(len(order), dtype=bool)
        for place in range(len(order)):
            if free[place]:
                ious_with(boxes, place, overlap)
                hit = free & (overlap > self.config.nms_threshold)
                hit[: place + 1] = False
                by[hit], free[hit] = order[place], False
        suppressor = np.full(len(order), NOBODY)
        suppressor[order] = by
        return suppressor

    def box_ious(self, window: int) -> Float[np.ndarray, "w"]:
        """IoU of the tight box of a window with that of every window, as suppression compares them."""
        overlap = np.empty(len(self.masks))
        ious_with(self._clipped(np.arange(len(self.masks))), window, overlap)
        return overlap

    def voters(self, window: int) -> Int[np.ndarray, "v"]:
        """The windows whose masks are averaged into a survivor's, itself among them."""
        if not self.config.vote_threshold:
            return np.array([window])
        boxes, overlap = np.ascontiguousarray(self.masks.tight_boxes.T), np.empty(len(self.masks))
        ious_with(boxes, window, overlap)
        return np.flatnonzero(overlap >= self.config.vote_threshold)

    @cached_property
    def objects(self) -> Int[np.ndarray, "kept"]:
        """Ranks of the candidates that become objects at some threshold: no duplicate and no clump, best first."""
        return choose_objects(self.candidates.rles, self.rule)

    @cached_property
    def fates(self) -> list[tuple[str, list[int]]]:
        """What became of each candidate by the rule for objects, and the ranks of those that decided it.

        "object" with none; "duplicate" with the object that it repeats; "clump" with the objects inside it.
        """
        rles, kept = self.candidates.rles, self.objects
        overlap, own = ious(rles, [rles[one] for one in kept]), self.candidates.areas
        fates: list[tuple[str, list[int]]] = []
        for rank in range(len(rles)):
            better = kept[kept < rank]
            with_better = overlap[rank, : len(better)]
            if rank in kept:
                fates.append(("object", []))
            elif with_better.max(initial=0) > self.rule.max_iou:
                fates.append(("duplicate", [int(better[with_better.argmax()])]))
            else:
                shared = shared_pixels(with_better, own[rank : rank + 1], own[better])
                fates.append(("clump", better[shared > INSIDE * own[better]].tolist()))
        return fates

    def at(self, x: int, y: int) -> Int[np.ndarray, "k"]:
        """Ranks of the candidates whose masks cover a pixel, best first."""
        return np.flatnonzero(self._cover(x, y))

    def best_window_at(self, x: int, y: int) -> int | None:
        """The window with the highest score that lies over a pixel, whatever its mask says."""
        left, top, right, bottom = self.masks.window_boxes.T
        over = np.flatnonzero((left <= x) & (x < right) & (top <= y) & (y < bottom))
        return int(over[self.masks.scores[over].argmax()]) if len(over) else None

    def place_of(self, window: int) -> tuple[Windows, tuple[int, int]]:
        """The group of a window, and its position (y, x) there."""
        box, side = self.masks.window_boxes[window], self.masks.sides[window]
        for group in self.groups:
            maps, scale = group.score_maps, np.array(group.image_scale)
            sides = (box[2:] - box[:2]) * scale
            if side == maps.m * maps.density and np.allclose(sides, maps.stride * maps.m, rtol=1e-4):
                column, row = np.rint(box[:2] * scale / maps.stride).astype(int) + maps.m // 2
                return group, (int(row), int(column))
        raise AssertionError("a window that no group has")

    def _clipped(self, order: Int[np.ndarray, "w"]) -> Float[np.ndarray, "4 w"]:
        height, width = self.candidates.height, self.candidates.width
        return np.ascontiguousarray(self.masks.tight_boxes[order].clip(0, [width, height, width, height]).T)

    def _cover(self, x: int, y: int) -> Bool[np.ndarray, "n"]:
        if not len(self.candidates):
            return np.zeros(0, dtype=bool)
        height, width = self.candidates.height, self.candidates.width
        edges = Edges.of(self.candidates.rles, height, width)
        return edges.contain(np.full((len(self.candidates), 1), x * height + y))[:, 0]
