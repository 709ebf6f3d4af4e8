"""One pass of the network over a photograph, with everything on the way kept, to say why a mask ended as it did."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int

from instancefcn.geometry.boxes import ious_with
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer, Windows
from instancefcn.inference.suppression import suppress
from instancefcn.inference.window_masks import WindowMasks

NOBODY = -1


@dataclass(frozen=True)
class Pass:
    """What was looked at in one go: a photograph as a whole, at every scale, or one of its tiles.

    Windows are indices into ``masks``.
    """

    config: InferenceConfig
    height: int  # of the photograph, as width
    width: int
    groups: list[Windows]  # the score maps, a group for each window size
    masks: WindowMasks  # of all windows that suppression looks at
    survivors: Int[np.ndarray, "s"]  # windows, best first
    scores: Float[np.ndarray, "s"]  # of the survivors

    @classmethod
    @torch.inference_mode()
    def of(cls, proposer: Proposer, groups: list[Windows], height: int, width: int) -> Pass:
        """Go on from the score maps, with the proposer's own functions."""
        masks, config = proposer.masks_of(groups), proposer.config
        survivors, scores = suppress(masks, height, width, config, config.nms_candidates)
        return cls(config, height, width, groups, masks, survivors, scores)

    @cached_property
    def suppressor(self) -> Int[np.ndarray, "w"]:
        """For each window the one that suppressed it, by the IoU of tight boxes; ``NOBODY`` for survivors.

        It is the best survivor among those that would have.
        """
        order = (-self.masks.scores).argsort(kind="stable")
        boxes, suppressor = self._clipped(order), np.full(len(order), NOBODY)
        overlap, free = np.empty(len(order)), np.ones(len(order), dtype=bool)
        for place in range(len(order)):
            if free[place]:
                ious_with(boxes, place, overlap)
                hit = free & (overlap > self.config.nms_threshold)
                hit[: place + 1] = False
                suppressor[order[hit]], free[hit] = order[place], False
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
                corner = box[:2] * scale - group.tile.box[:2]
                column, row = np.rint(corner / maps.stride).astype(int) + maps.m // 2
                return group, (int(row), int(column))
        raise AssertionError("a window that no group has")

    def _clipped(self, order: Int[np.ndarray, "w"]) -> Float[np.ndarray, "4 w"]:
        frame = [self.width, self.height, self.width, self.height]
        return np.ascontiguousarray(self.masks.tight_boxes[order].clip(0, frame).T)
