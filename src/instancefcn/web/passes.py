"""One pass of the network over a photograph, with everything on the way kept, to say why a mask ended as it did."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int

from instancefcn.geometry.boxes import ious_with
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer, Windows, keep_best, ranked_masks
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
    group_of: Int[np.ndarray, "w"]  # the group of each window
    positions_yx: Int[np.ndarray, "w 2"]  # and where it is on that group's score maps
    survivors: Int[np.ndarray, "s"]  # windows, best first
    scores: Float[np.ndarray, "s"]  # of the survivors

    @classmethod
    @torch.inference_mode()
    def of(cls, proposer: Proposer, groups: list[Windows], height: int, width: int) -> Pass:
        """Go on from the score maps, with the proposer's own functions."""
        config = proposer.config
        best = keep_best(groups, config.nms_candidates)
        masks, chosen = ranked_masks(best, config)
        group_of = np.repeat(np.arange(len(groups)), [len(group.scores) for group in best])
        positions_yx = torch.cat([group.positions_yx for group in best]).cpu().numpy()
        survivors, scores = suppress(masks, height, width, config, config.nms_candidates)
        return cls(config, height, width, groups, masks, group_of[chosen], positions_yx[chosen], survivors, scores)

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
        row, column = self.positions_yx[window].tolist()
        return self.groups[self.group_of[window]], (row, column)

    def _clipped(self, order: Int[np.ndarray, "w"]) -> Float[np.ndarray, "4 w"]:
        frame = [self.width, self.height, self.width, self.height]
        return np.ascontiguousarray(self.masks.tight_boxes[order].clip(0, frame).T)
