"""Where masks change, read from many run-length codes at once: to sample or add up masks that are never decoded.

A pixel's place is its column-major index, ``x * height + y``, as COCO's codes count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from instancefcn.geometry.rle import Rle


@dataclass(frozen=True)
class Edges:
    """Places at which the masks of one image begin and end, in turn, mask after mask."""

    places: Int[np.ndarray, "e"]  # a run of foreground is [places[2i], places[2i + 1])
    bounds: Int[np.ndarray, "_"]  # places[bounds[i] : bounds[i + 1]] are mask i's
    height: int
    width: int

    @classmethod
    def of(cls, rles: Sequence[Rle], height: int, width: int) -> Edges:
        """Edges of sound codes of one image."""
        if not rles:
            return cls(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64), height, width)
        numbers, owner = _numbers([rle["counts"] for rle in rles])
        firsts = np.flatnonzero(np.diff(owner, prepend=-1))
        index = np.arange(len(numbers)) - firsts[owner]
        # The first number is a run, and so are the second and third; from there on each is the difference to the run
        # before the last. So every code holds three sums: the first number alone, and those at odd and at even places.
        chain = 3 * owner + np.where(index == 0, 0, 1 + index % 2)
        order = np.argsort(chain, kind="stable")
        runs = np.empty_like(numbers)
        runs[order] = _sums_within(numbers[order], chain[order])
        places = _sums_within(runs, owner)
        counts = np.bincount(owner, minlength=len(rles))
        ends = firsts + counts - 1  # a last run of background ends the image, not a mask
        kept = np.ones(len(places), dtype=bool)
        kept[ends[counts % 2 == 1]] = False
        return cls(places[kept], np.concatenate([[0], np.cumsum(counts - counts % 2)]), height, width)

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
        """Sum of some masks times their weights, in the columns ``left`` to ``right``, between which they lie."""
        steps = np.concatenate([self.places[self.bounds[mask] : self.bounds[mask + 1]] for mask in masks])
        signed = np.repeat(weights, np.diff(self.bounds)[masks])
        signed[1::2] *= -1
        columns = right - left
        sums = np.bincount(steps - left * self.height, signed, minlength=columns * self.height + 1).cumsum()
        return sums[:-1].reshape(columns, self.height).T


def _numbers(codes: Sequence[bytes]) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "k"]]:
    """Numbers of compressed codes, and the code each belongs to: little-endian 5-bit digits with sign (maskApi.c)."""
    text = np.frombuffer(b"".join(codes), dtype=np.uint8).astype(np.int64) - 48
    owner = np.repeat(np.arange(len(codes)), [len(code) for code in codes])
    last = np.flatnonzero(text & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    digits = last - first + 1
    place = np.arange(len(text)) - np.repeat(first, digits)
    numbers = np.add.reduceat((text & 31) << (5 * place), first)
    return numbers - np.where(text[last] & 16 != 0, 1 << (5 * digits), 0), owner[last]


def _sums_within(values: Int[np.ndarray, "k"], groups: Int[np.ndarray, "k"]) -> Int[np.ndarray, "k"]:
    """Running sums that start anew with each group; a group's values lie together."""
    running = np.cumsum(values)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return running - np.repeat(running[starts] - values[starts], np.diff(starts, append=len(values)))
