"""From ranked candidates to objects: which masks of an image are one object each, and how sure that is.

The rule goes through the masks, best first, and leaves out

- a duplicate: its IoU with a better object is above ``max_iou``;
- a clump: better objects that lie inside it fill more than ``max_filled`` of it, as one mask over several grains,
  or are more than ``max_inside``, as one over the tray that many coins lie on;
- what scores too little: below ``threshold``. Where many objects of an image have about the same size, as nuclei and
  grains have, they vouch for each other: ``alike`` times their median score is enough there.

What lies inside a better and larger object stays, such as food on a plate. Where every pixel belongs to one object at
most (``exclusive``), better objects keep their pixels, and one that keeps less than half of its own is left out, as
panoptic segmentation merges masks (Kirillov et al., CVPR 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from instancefcn.compiled import compiled
from instancefcn.config import Table, check_values, from_table
from instancefcn.geometry.rle import Rle, areas, encode_in_box, ious
from instancefcn.geometry.runs import near_box

INSIDE = 0.7  # share of a mask from which it lies inside another
ANY_NUMBER = 10**6  # of better objects inside one
MANY_ALIKE = 12  # objects, from which they vouch for each other
LIKE_SIZE = 1.4  # half of their areas are within this factor of the median
MOST_TAKEN = 0.5  # share of its pixels that an exclusive object may lose to better ones


@dataclass(frozen=True)
class ObjectRule:
    """How ranked candidates become objects, chosen on labelled images (``training.calibration.choose_rule``).

    ``scores`` and ``chances`` are the calibration: at a rank's score of ``scores[i]`` a mask is an object with the
    chance ``chances[i]``, at IoU 0.5; between them it is interpolated.

    Raises:
        ValueError: a value out of range; names the key.

    Example:
        >>> rule = ObjectRule(threshold=0.2, scores=(0.1, 0.5), chances=(0.0, 0.8))
        >>> rule.chance(np.array([0.05, 0.3, 0.9])).round(3).tolist()
        [0.0, 0.4, 0.8]
    """

    threshold: float  # on the rank's score, in [0, 1]: no object has less
    max_iou: float = 0.4
    max_filled: float = 0.35
    max_inside: int = 8  # a number; ``ANY_NUMBER`` where wholes of many parts are objects, too
    smoothing: float = 0.03  # of outlines: blur, in units of the square root of the mask's area (``cleaning.clean``)
    alike: float = 1.0  # share of the median score that is enough where objects are many and of a size; 1: none is
    scores: tuple[float, ...] = ()  # ascending; none where there is no calibration: a chance is then the rank's score
    chances: tuple[float, ...] = ()  # ascending or equal

    def __post_init__(self) -> None:
        shares = dict.fromkeys(("threshold", "max_iou", "max_filled", "smoothing"), (0, 1))
        check_values(self, "objects", **shares, max_inside=(0, ANY_NUMBER))
        if not 0 < self.alike <= 1:
            raise ValueError(f"objects.alike is {self.alike}; it must be above 0, and 1 at most")
        if len(self.scores) != len(self.chances):
            raise ValueError(f"objects.scores has {len(self.scores)} numbers, objects.chances {len(self.chances)}")
        for key in ("scores", "chances"):
            if list(values := getattr(self, key)) != sorted(values) or not all(0 <= value <= 1 for value in values):
                raise ValueError(f"objects.{key} must rise, from 0 to 1 at most")

    @classmethod
    def from_stored(cls, table: Table, where: str) -> ObjectRule:
        """The rule that a checkpoint or a graph carries. Keys that older ones lack get what was done then.

        Raises:
            ValueError: a key is missing, unknown or out of range; names it and ``where``.
        """
        return from_table(cls, {"max_inside": ANY_NUMBER, "alike": 1.0} | table, where, complete=True)

    def chance(self, scores: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """The chance that a mask of this rank's score is an object at IoU 0.5."""
        return np.interp(scores, self.scores, self.chances) if self.scores else scores.astype(float)

    def lowest_score(self, threshold: float | None) -> float:
        """The rank's score from which a mask may be an object; infinite where no score has such a chance.

        Args:
            threshold: the lowest chance that is wanted; None for the rule's own threshold.

        Raises:
            ValueError: the threshold is outside [0, 1].
        """
        if threshold is None:
            return self.threshold
        if not 0 <= threshold <= 1:
            raise ValueError(f"the threshold is {threshold}; it is a chance, so give a number from 0 to 1")
        if not self.scores:
            return threshold
        if threshold > self.chances[-1]:
            return np.inf
        after = int(np.searchsorted(self.chances, threshold))  # the first knot with this chance
        if after == 0:
            return 0.0
        (low, high), (left, right) = self.chances[after - 1 : after + 1], self.scores[after - 1 : after + 1]
        return left + (right - left) * (threshold - low) / (high - low)

    def lowest_of_any_image(self, threshold: float | None) -> float:
        """As ``lowest_score``, where it is not known yet whether an image's objects vouch for each other."""
        lowest = self.lowest_score(threshold)
        return lowest if self.alike == 1 else min(lowest * self.alike, self.threshold)

    def easing(self, scores: Float[np.ndarray, "n"], areas: Float[np.ndarray, "n"]) -> float:
        """What the scores of an image are divided by: less than 1 where many objects are of a size, ``alike`` at least.

        Args:
            scores: of the masks that are no duplicate and no clump.
            areas: theirs, in pixels.
        """
        sure = scores >= self.threshold
        sizes = np.log(areas[sure])
        if len(sizes) < MANY_ALIKE or np.median(np.abs(sizes - np.median(sizes))) > np.log(LIKE_SIZE):
            return 1.0
        enough = min(self.alike * float(np.median(scores[sure])), self.threshold)
        return enough / self.threshold if enough else 1.0


def eased(scores: Float[np.ndarray, "n"], easing: float) -> Float[np.ndarray, "n"]:
    """Scores as they count in an image, by ``ObjectRule.easing``."""
    return np.minimum(scores / easing, 1.0)


def choose_objects(rles: Sequence[Rle], rule: ObjectRule) -> Int[np.ndarray, "kept"]:
    """Indices of the masks that are no duplicate of a better object and no clump of several, best first.

    Whether a mask is kept depends on better ones alone: the objects at any threshold are the first of these.

    Args:
        rles: of one image, best first.
    """
    return choose_by_overlap(ious(rles, rles), areas(rles), rule)


def choose_by_overlap(
    overlap: Float[np.ndarray, "n n"], own: Float[np.ndarray, "n"], rule: ObjectRule
) -> Int[np.ndarray, "kept"]:
    """As ``choose_objects``, from the IoUs of the masks and their areas in pixels, for trying several rules."""
    by_better = np.ascontiguousarray(overlap.T)  # no copy: pycocotools gives IoUs column by column
    return _chosen(by_better, own, rule.max_iou, rule.max_filled, rule.max_inside, INSIDE)


@compiled
def _chosen(ious, own, max_iou, max_filled, max_inside, share):
    """Indices of the masks that are kept."""
    kept, count = np.empty(len(own), dtype=np.int64), 0
    for index in range(len(own)):
        inside, filled, is_duplicate = 0, 0.0, False
        for better in kept[:count]:
            iou = ious[better, index]
            if iou > max_iou:
                is_duplicate = True
                break
            if iou > 0:
                shared = np.rint(iou * (own[index] + own[better]) / (1 + iou))  # as ``shared_pixels``
                if shared > share * own[better]:
                    inside += 1
                    filled += shared
        if not is_duplicate and inside <= max_inside and filled <= max_filled * own[index]:
            kept[count] = index
            count += 1
    return kept[:count]


def shared_pixels(
    ious: Float[np.ndarray, "..."], areas: Float[np.ndarray, "..."], others: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Pixels that masks share, from their IoUs and areas: whole numbers, so that ties are ties."""
    return np.rint(ious * (areas + others) / (1 + ious))


def make_exclusive(rles: Sequence[Rle]) -> tuple[Int[np.ndarray, "kept"], list[Rle]]:
    """Give every pixel to the best object that covers it.

    Args:
        rles: of one image, best first.

    Returns:
        Indices of the objects that keep half of their pixels or more, and the masks that they keep.
    """
    kept: list[int] = []
    masks: list[Rle] = []
    height, width = rles[0]["size"] if rles else (0, 0)
    taken = np.zeros((height, width), dtype=bool)
    for index, rle in enumerate(rles):
        rows, columns, mask = near_box(rle, 0)
        free = mask & ~taken[rows, columns]
        if free.sum() >= (1 - MOST_TAKEN) * mask.sum():
            taken[rows, columns] |= mask
            kept.append(index)
            masks.append(encode_in_box(free, rows.start, columns.start, height, width))
    return np.array(kept, dtype=int), masks
