"""Places at which the masks of one image change: masks are sampled and added up without decoding them.

A pixel's place is its column-major index, ``x * height + y``, as COCO's codes count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from instancefcn.geometry.rle import Rle, run_ends


@dataclass(frozen=True)
class Edges:
    """Starts and ends of the foreground runs of masks, mask after mask."""

    places: Int[np.ndarray, "e"]  # a run of foreground is [places[2i], places[2i + 1])
    bounds: Int[np.ndarray, "_"]  # mask i has places[bounds[i] : bounds[i + 1]]
    height: int
    width: int

    @classmethod
    def of(cls, rles: Sequence[Rle], height: int, width: int) -> Edges:
        """Read the edges from codes that are not damaged, of masks of one image."""
        ends, bounds = run_ends([rle["counts"] for rle in rles])
        counts = np.diff(bounds)
        kept = np.ones(len(ends), dtype=bool)
        kept[bounds[1:][counts % 2 == 1] - 1] = False  # a last run of background ends with the image, not at an edge
        return cls(ends[kept], np.concatenate([[0], np.cumsum(counts - counts % 2)]), height, width)

    def contain(self, places: Int[np.ndarray, "n p"]) -> Bool[np.ndarray, "n p"]:
        """Whether mask i covers each of ``places[i]``."""
        span = self.height * self.width + 1
        masks = np.arange(len(places))
        owner = np.repeat(masks, np.diff(self.bounds))
        rank = np.searchsorted(self.places + owner * span, places + masks[:, None] * span, side="right")
        return (rank - self.bounds[:-1, None]) % 2 == 1

    def weighted_sum(
        self, masks: Int[np.ndarray, "v"], weights: Float[np.ndarray, "v"], left: int, right: int
    ) -> Float[np.ndarray, "h _"]:
        """Weighted sum of some masks, cut to the columns from ``left`` to ``right``, which must contain them."""
        steps = np.concatenate([self.places[self.bounds[mask] : self.bounds[mask + 1]] for mask in masks])
        signed = np.repeat(weights, np.diff(self.bounds)[masks])
        signed[1::2] *= -1
        columns = right - left
        sums = np.bincount(steps - left * self.height, signed, minlength=columns * self.height + 1).cumsum()
        return sums[:-1].reshape(columns, self.height).T
