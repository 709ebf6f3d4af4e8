"""The walk of a photograph through a proposer: from each candidate back to the window that it comes from."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from instancefcn.geometry.rle import ious
from instancefcn.geometry.rle import tight_boxes as rle_boxes
from instancefcn.geometry.runs import Edges
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import MIN_SCORE, Proposer, as_tensor
from instancefcn.inference.suppression import suppress
from instancefcn.inference.tiles import joined
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.objects import INSIDE, ObjectRule, choose_objects, eased, shared_pixels
from instancefcn.proposals import Proposals
from instancefcn.web.passes import Pass


class Walk:
    """Goes through the steps of ``Proposer.__call__`` by its own functions, and knows where each candidate comes from.

    Pass 0 is over the whole photograph. Where that is cut into tiles there is one more for each tile; of these the last
    that was asked for is kept, and the others are run again.

    Attributes:
        candidates: what the proposer gives, however many they are.
        origins: [n, 2], the pass of each candidate, and the window there.
    """

    def __init__(self, proposer: Proposer, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
        image = as_tensor(pixels)
        self.height, self.width = pixels.shape[:2]
        self.rule = proposer.rule or ObjectRule(threshold=0.0)
        self._proposer, self._parts = proposer, list(proposer.parts(image))
        self._whole = Pass.of(proposer, proposer.windows(image), self.height, self.width)
        self._tile: tuple[int, Pass] | None = None
        self.candidates, self.origins = self._candidates()

    @property
    def passes(self) -> int:
        """How many there are: 1 where the photograph is not cut into tiles."""
        return 1 + len(self._parts)

    def look(self, number: int) -> Pass:
        """One of the passes."""
        if number == 0:
            return self._whole
        if self._tile is None or self._tile[0] != number:
            self._tile = None  # its memory is needed
            windows = self._proposer.windows_of(self._parts[number - 1])
            self._tile = number, Pass.of(self._proposer, windows, self.height, self.width)
        return self._tile[1]

    @cached_property
    def objects(self) -> Int[np.ndarray, "kept"]:
        """Ranks of the candidates that become objects at some threshold: no duplicate and no clump, best first."""
        return choose_objects(self.candidates.rles, self.rule)

    @cached_property
    def scores(self) -> Float[np.ndarray, "n"]:
        """Of the candidates, as they count in this photograph (``ObjectRule.easing``)."""
        objects = self.candidates[self.objects]
        return eased(self.candidates.scores, self.rule.easing(objects.scores, objects.areas))

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
        edges = Edges.of(self.candidates.rles, self.height, self.width)
        return np.flatnonzero(edges.contain(np.full((len(self.candidates), 1), x * self.height + y)))

    @torch.inference_mode()
    def _candidates(self) -> tuple[Proposals, Int[np.ndarray, "n 2"]]:
        if self.passes == 1:
            masks, scores, origins = self._voted(0, MIN_SCORE)
        else:  # what is left of each pass is suppressed once more, all together
            of_passes = [self._voted(number, 0.0) for number in range(self.passes)]
            masks, config = joined([masks for masks, _, _ in of_passes]), self._proposer.config
            survivors, scores = suppress(masks, self.height, self.width, config, config.nms_candidates)
            survivors, scores = survivors[scores >= MIN_SCORE], scores[scores >= MIN_SCORE]
            masks, origins = masks[survivors], np.concatenate([origins for *_, origins in of_passes])[survivors]
        pasted = paste(masks, self.height, self.width)
        whole = np.array([rle is not None for rle in pasted], dtype=bool)
        rles = [rle for rle in pasted if rle is not None]
        found = Proposals(rles, rle_boxes(rles), scores[whole], self.height, self.width, rule=self._proposer.rule)
        return found, origins[whole]

    def _voted(self, number: int, lowest: float) -> tuple[WindowMasks, Float[np.ndarray, "s"], Int[np.ndarray, "s 2"]]:
        """The masks of a pass after voting that have foreground and score ``lowest`` or more, scores, and origins."""
        one = self.look(number)
        likely = one.scores >= lowest
        masks = vote(one.masks, one.survivors[likely], self.height, self.width, self._proposer.config)
        origins = np.stack([np.full(likely.sum(), number), one.survivors[likely]], axis=1)
        shown = masks.has_foreground
        return masks[shown], one.scores[likely][shown], origins[shown]
