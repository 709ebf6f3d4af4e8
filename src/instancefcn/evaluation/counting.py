"""Objects matched with labelled instances and counted: precision, recall, F1, AP, count error, at every score.

Objects of one image are matched with its instances one to one, by COCO's rule (``match_objects``). Whether an object
finds an instance depends on better objects alone. So one matching of all objects serves every threshold on the score:
the objects that reach a threshold are the first ones of the list (``score_curve``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

WRONG = -1  # finds no instance
ON_CROWD = -2  # finds no instance, but lies on a crowd: neither right nor wrong
CALIBRATION_BINS = 10


def match_objects(
    ious: Float[np.ndarray, "n g"], crowd_ious: Float[np.ndarray, "n c"], threshold: float
) -> Int[np.ndarray, "n"]:
    """The instance that each object of one image finds: its index, or ``WRONG``, or ``ON_CROWD``.

    COCO's rule: one object after the other, best score first, takes the free instance of highest IoU, if that reaches
    the threshold; of equal IoUs the last instance (pycocotools' ``evaluateImg``).

    Args:
        ious: of the objects, best score first, with the instances that are to be found.
        crowd_ious: of the objects with crowds and ignored regions, as a share of the object
            (``geometry.rle.ious(..., crowd=True)``).
        threshold: on either, in (0, 1].

    Example:
        >>> ious = np.array([[0.9, 0.6], [0.8, 0.0], [0.7, 0.5]])
        >>> match_objects(ious, np.zeros((3, 0)), 0.5).tolist()  # the second object comes too late
        [0, -1, 1]
    """
    assert 0 < threshold <= 1
    matched = np.where(crowd_ious.max(1, initial=0) >= threshold, ON_CROWD, WRONG)
    left = ious[:, ::-1].copy()  # from the last instance, since argmax takes the first of equals
    for index in np.flatnonzero(ious.max(1, initial=0) >= threshold):
        best = int(left[index].argmax())
        if left[index, best] >= threshold:
            matched[index] = ious.shape[1] - 1 - best
            left[:, best] = -1
    return matched


@dataclass(frozen=True)
class ScoreCurve:
    """Right and wrong objects and missed instances, summed over images, at every threshold on the score.

    At index k the objects that score ``scores[k]`` or more are taken. The first score is infinite, and nothing is taken
    there; then come the scores that objects have, in falling order. At index -1 all objects are taken. The measures are
    shares in [0, 1], NaN where they would divide by zero.
    """

    scores: Float[np.ndarray, "k"]
    right: Int[np.ndarray, "k"]  # objects that find an instance
    wrong: Int[np.ndarray, "k"]  # objects that find none, those on crowds left out
    missed: Int[np.ndarray, "k"]  # instances that no object finds
    count_error: Float[np.ndarray, "k"]  # objects more or fewer than instances, mean over images

    def index(self, score: float) -> int:
        """Where the objects that score this or more are taken."""
        return int(np.searchsorted(-self.scores, -score, side="right")) - 1

    def best(self) -> int:
        """Where F1 is highest; among equals, with the fewest objects."""
        return int(np.nan_to_num(self.f1).argmax())

    @property
    def precision(self) -> Float[np.ndarray, "k"]:
        """Share of the objects that are right."""
        return _share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> Float[np.ndarray, "k"]:
        """Share of the instances that are found."""
        return _share(self.right, self.right + self.missed)

    @property
    def f1(self) -> Float[np.ndarray, "k"]:
        """Harmonic mean of precision and recall, ``2 TP / (2 TP + FP + FN)``; RQ of panoptic quality."""
        return _share(2 * self.right, 2 * self.right + self.wrong + self.missed)

    @property
    def average_precision(self) -> Float[np.ndarray, "k"]:
        """``TP / (TP + FP + FN)``: what StarDist and cellpose call average precision."""
        return _share(self.right, self.right + self.wrong + self.missed)


def score_curve(
    scores: Sequence[Float[np.ndarray, "_"]], matched: Sequence[Int[np.ndarray, "_"]], labelled: Sequence[int]
) -> ScoreCurve:
    """Counts at every threshold on the score, from one pass over the objects.

    Args:
        scores: of each image's objects, best first.
        matched: ``match_objects`` of each image.
        labelled: number of instances of each image, crowds left out.

    Example:
        >>> curve = score_curve([np.array([0.9, 0.8, 0.3])], [np.array([0, -1, 1])], [2])
        >>> curve.f1.round(2).tolist(), curve.scores[curve.best()].item()
        ([0.0, 0.67, 0.5, 0.8], 0.3)
    """
    error_steps: list[np.ndarray] = []  # by which each object changes |found - labelled| of its image
    for found, instances in zip(matched, labelled, strict=True):
        found_so_far = np.cumsum(found != ON_CROWD)
        error_steps.append(np.where(found == ON_CROWD, 0, np.where(found_so_far <= instances, -1, 1)))
    all_scores, all_matched, steps = (np.concatenate([*parts, np.zeros(0)]) for parts in (scores, matched, error_steps))
    order = np.argsort(-all_scores, kind="stable")
    ranked = all_scores[order]
    ends = np.flatnonzero(ends_a_score(ranked))

    def up_to(values: Float[np.ndarray, "n"] | Bool[np.ndarray, "n"]) -> Int[np.ndarray, "k"]:
        return np.append(0, np.cumsum(values[order])[ends]).astype(int)

    right, wrong = up_to(all_matched >= 0), up_to(all_matched == WRONG)
    error = (sum(labelled) + up_to(steps)) / max(len(labelled), 1)
    return ScoreCurve(np.append(np.inf, ranked[ends]), right, wrong, sum(labelled) - right, error)


def ends_a_score(ranked: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Whether each of the scores, best first, is the last one of its value: a threshold takes equal ones together."""
    return np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]


def calibration_error(scores: Float[np.ndarray, "n"], right: Bool[np.ndarray, "n"]) -> float:
    """Expected calibration error, in [0, 1]: how far scores are from the share of objects that are right.

    Of each of ten bins of equal width, the difference of the mean score from the share of right objects; the mean of
    these, each with its number of objects as weight (Guo et al., "On calibration of modern neural networks", ICML
    2017). NaN without objects, and where a score is no chance, outside [0, 1].
    """
    if len(scores) == 0 or scores.min() < 0 or scores.max() > 1:
        return float("nan")
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, scores - right, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(scores))


def _share(part: Int[np.ndarray, "k"], whole: Int[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """Part by whole, NaN where the whole is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
