"""How good the objects are that a network's candidates make, whatever the rule: F1 at its best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from instancefcn.evaluation.counting import WRONG, ends_a_score
from instancefcn.evaluation.matching import IOU_THRESHOLDS
from instancefcn.proposals import Proposals
from instancefcn.structures import Instances
from instancefcn.training.calibration import TRIED, Candidates


@dataclass(frozen=True)
class MatchedObjects:
    """The objects of one image by each rule of ``TRIED``, best first, matched at each of COCO's IoU thresholds."""

    instances: int  # that are to be found
    scores: Sequence[Float[np.ndarray, "_"]]  # by rule
    matched: Sequence[Int[np.ndarray, "t _"]]  # by rule; at each IoU threshold, as ``match_objects`` says it

    @classmethod
    def of(cls, candidates: Proposals, instances: Instances) -> MatchedObjects:
        """Choose and match, from all candidates of an image."""
        measured = Candidates.of(candidates, instances)
        by_rule = [measured.objects(rule, IOU_THRESHOLDS.tolist()) for rule in TRIED]
        return cls(
            instances=measured.ious.shape[1],
            scores=[of[0].scores for of in by_rule],
            matched=[np.stack([objects.matched for objects in of]) for of in by_rule],
        )


def object_f1(images: Sequence[MatchedObjects]) -> float:
    """F1 in percent, at the best threshold on the score, averaged over COCO's IoU thresholds, by the best rule.

    It tells networks apart without the rule that is chosen later. It sees what AR does not: wrong candidates that come
    before right ones. NaN where there is no instance.

    Example:
        >>> found, wrong = np.zeros(10, dtype=int), np.full(10, -1)  # at ten IoU thresholds
        >>> one = MatchedObjects(1, [np.array([0.9, 0.8])], [np.stack([wrong, found], 1)])
        >>> round(object_f1([one]), 1)  # one of two objects is right
        66.7
    """
    instances = sum(image.instances for image in images)
    if not instances:
        return float("nan")
    return 100 * max(_best_f1(images, rule, instances) for rule in range(len(images[0].matched)))


def _best_f1(images: Sequence[MatchedObjects], rule: int, instances: int) -> float:
    """By one rule, in [0, 1]: ``ScoreCurve.f1`` where it is highest, at all IoU thresholds at once, averaged."""
    scores = np.concatenate([image.scores[rule] for image in images])
    order = np.argsort(-scores, kind="stable")
    matched = np.concatenate([image.matched[rule] for image in images], axis=1)[:, order]
    right, wrong = (np.cumsum(found, axis=1) for found in (matched >= 0, matched == WRONG))
    f1 = 2 * right / (right + wrong + instances)
    return float(f1[:, ends_a_score(scores[order])].max(axis=1, initial=0).mean())
