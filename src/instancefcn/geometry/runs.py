"""Places at which the masks of one image change: masks are sampled and added up without decoding them.

A pixel's place is its column-major index, ``x * height + y``, as COCO's codes count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from instancefcn.compiled import compiled
from instancefcn.geometry.rle import Rle, run_ends, tight_boxes


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

    def sample(self, mask: int, rows: Int[np.ndarray, "h"], columns: Int[np.ndarray, "w"]) -> Bool[np.ndarray, "h w"]:
        """One mask at the crossings of some rows and columns, both ascending, column-major in memory.

        Takes time by the mask's runs and the crossings, and memory by the crossings alone, however large the image is.
        """
        sampled = np.empty((len(columns), len(rows)), dtype=bool)
        places = self.places[self.bounds[mask] : self.bounds[mask + 1]]
        _sample(places.astype(np.int64), rows.astype(np.int64), columns.astype(np.int64), self.height, sampled)
        return sampled.T

    def areas_in(self, top: int, left: int, bottom: int, right: int) -> Int[np.ndarray, "n"]:
        """Pixels of each mask inside a box."""
        areas = np.zeros(len(self.bounds) - 1, dtype=np.int64)
        box = np.array([top, left, bottom, right], dtype=np.int64)
        _add_areas_in(self.places.astype(np.int64), self.bounds.astype(np.int64), self.height, box, areas)
        return areas


def near_box(rle: Rle, margin: int) -> tuple[slice, slice, Bool[np.ndarray, "h w"]]:
    """Rows and columns within a margin around a mask's tight box, as far as the image goes, and the mask there."""
    height, width = rle["size"]
    left, top, right, bottom = tight_boxes([rle])[0].astype(int).tolist()
    rows = slice(max(top - margin, 0), min(bottom + margin, height))
    columns = slice(max(left - margin, 0), min(right + margin, width))
    places = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    return rows, columns, np.ascontiguousarray(Edges.of([rle], height, width).sample(0, *places))


@compiled
def _sample(
    places: Int64[np.ndarray, "e"],
    rows: Int64[np.ndarray, "h"],
    columns: Int64[np.ndarray, "w"],
    height: int,
    sampled: Bool[np.ndarray, "w h"],
) -> None:
    """Whether the pixels at some rows and columns lie in a mask that changes at ``places``."""
    passed = 0  # changes at or before the pixel: of an odd number the last one starts foreground
    for index in range(len(columns)):
        if index and columns[index] == columns[index - 1]:
            sampled[index] = sampled[index - 1]
            continue
        for row in range(len(rows)):
            place = columns[index] * height + rows[row]
            while passed < len(places) and places[passed] <= place:
                passed += 1
            sampled[index, row] = passed % 2 == 1


@compiled
def _add_areas_in(
    places: Int64[np.ndarray, "e"],
    bounds: Int64[np.ndarray, "_"],
    height: int,
    box: Int64[np.ndarray, "4"],
    areas: Int64[np.ndarray, "n"],
) -> None:
    """Add to ``areas`` the pixels of each mask inside a box (top, left, bottom, right); a mask is pairs of changes."""
    top, left, bottom, right = box
    for mask in range(len(areas)):
        for start in range(bounds[mask], bounds[mask + 1], 2):
            for column in range(max(places[start] // height, left), min((places[start + 1] - 1) // height + 1, right)):
                first = max(places[start] - column * height, top)
                areas[mask] += max(0, min(places[start + 1] - column * height, bottom) - first)
