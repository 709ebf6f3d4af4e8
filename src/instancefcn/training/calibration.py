"""The object rule of a network: its threshold, its limits and its calibration, chosen on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from instancefcn.cleaning import clean
from instancefcn.data.source import Source
from instancefcn.evaluation.counting import ON_CROWD, match_objects, score_curve
from instancefcn.geometry.rle import Rle, ious
from instancefcn.inference.checkpoint import load_checkpoint, save_checkpoint
from instancefcn.inference.proposer import MIN_SCORE, Proposer
from instancefcn.objects import ANY_NUMBER, ObjectRule, choose_by_overlap
from instancefcn.proposals import Proposals
from instancefcn.structures import Instances, Track
from instancefcn.training.run_files import BEST, LAST

# What the rule of the checkpoint that training started from counts for: so many images for its threshold, since all
# instances of an image share how high its scores are, and so many instances for its chances.
START_IMAGES = START_INSTANCES = 10
IOU = 0.5  # from which a mask finds an instance
TRIED = (
    *(ObjectRule(0.0, max_iou, max_filled) for max_iou, max_filled in product((0.3, 0.4, 0.5), (0.2, 0.35))),
    *(ObjectRule(0.0, max_iou, 0.35, ANY_NUMBER) for max_iou in (0.3, 0.4, 0.5)),
)
SMOOTHINGS = (0.0, 0.03, 0.06, 0.1)
SMOOTHING_COST = 0.002  # of mean IoU
MOST_SMOOTHED = 500  # objects that it is chosen by


def store_rules(
    out: Path, validation: Sequence[Source], device: torch.device, start: ObjectRule | None, track: Track
) -> str:
    """Choose the rules of ``best`` and ``last`` in a run's folder on validation images, and store them in the files.

    A checkpoint by which nothing is found keeps the rule that it has. The arguments are those of ``choose_rule``.

    Returns:
        A line that says what was chosen for the best.
    """
    chosen: dict[int, ObjectRule | None] = {}  # by iteration: the best may be the last
    for name in (BEST, LAST):
        checkpoint = load_checkpoint(out / name)
        iteration = checkpoint.training["iteration"]
        if iteration not in chosen:
            proposer = Proposer(checkpoint.build(), checkpoint.inference, device=device)
            chosen[iteration] = choose_rule(proposer, validation, start, track)
        if (rule := chosen[iteration]) is not None:
            save_checkpoint(replace(checkpoint, objects=rule), out / name)
    best = next(iter(chosen.values()))
    images = sum(len(source) for source in validation if not source.partial)
    if best is None:
        return f"objects: nothing was found on {images} validation images to choose a rule by"
    return f"objects: those that score {best.threshold:.3f} or more, chosen on {images} validation images"


def choose_rule(
    proposer: Proposer, sources: Sequence[Source], start: ObjectRule | None = None, track: Track = iter
) -> ObjectRule | None:
    """The rule with the best F1 at IoU 0.5 on labelled images, with its calibration.

    Sources that may have unlabelled objects are left out, since a mask without an instance may be right there.

    Args:
        start: the rule of the checkpoint that training started from. It counts as ``START_IMAGES`` images and
            ``START_INSTANCES`` instances would (``blend``), since a few images alone say little.
        track: told of every image of a source, for a progress bar.

    Returns:
        None where there is no instance to find, or the network finds none.
    """
    found: list[tuple[Proposals, Instances]] = []
    for source in (source for source in sources if not source.partial):
        for index in track(range(len(source))):
            sample = source[index]
            if not sample.partial:  # else an instance can't be read
                proposals = proposer(sample.image, max_proposals=proposer.config.nms_candidates, min_score=MIN_SCORE)
                found.append((proposals, sample.instances))
    return fit_rule(found, start)


def fit_rule(found: Sequence[tuple[Proposals, Instances]], start: ObjectRule | None = None) -> ObjectRule | None:
    """As ``choose_rule``, from the candidates and the instances of each image."""
    rule = best_rule(found)
    if rule is None or start is None:
        return rule
    instances = [int(own.judged.sum()) for _, own in found]
    images = sum(number > 0 for number in instances)
    return blend(rule, start, images / (images + START_IMAGES), sum(instances) / (sum(instances) + START_INSTANCES))


def blend(rule: ObjectRule, start: ObjectRule, by_images: float, by_instances: float) -> ObjectRule:
    """A rule between two; weights are of the first, in [0, 1].

    Thresholds are blended ``by_images``, by their logarithms; limits and smoothing are those of the weightier. Chances
    are blended ``by_instances``, at every score. ``alike`` is the first's: a start's is for what it was not trained on.
    """
    scores = tuple(sorted({*rule.scores, *start.scores}))
    chances = by_instances * rule.chance(np.array(scores)) + (1 - by_instances) * start.chance(np.array(scores))
    own, started = (max(either.threshold, MIN_SCORE) for either in (rule, start))
    return replace(
        rule if by_images >= 0.5 else start,
        alike=rule.alike,
        threshold=float(own**by_images * started ** (1 - by_images)),
        scores=scores,
        chances=tuple(np.maximum.accumulate(chances).tolist()),
    )


def best_rule(found: Sequence[tuple[Proposals, Instances]]) -> ObjectRule | None:
    """The rule with the best F1 on these images, with its calibration by them alone."""
    candidates = [Candidates.of(*image) for image in found]
    objects = [[image.objects(rule, [IOU])[0] for image in candidates] for rule in TRIED]
    chosen = best_threshold(objects, [image.ious.shape[1] for image in candidates])
    if chosen is None:
        return None
    best, threshold = chosen
    knots, chances = isotonic(
        np.concatenate([o.scores[o.matched != ON_CROWD] for o in objects[best]]),
        np.concatenate([o.matched[o.matched != ON_CROWD] >= 0 for o in objects[best]]),
    )
    pairs = [
        (proposals.rles[candidate], wanted[instance])
        for (proposals, _), wanted, o in zip(found, (image.wanted for image in candidates), objects[best], strict=True)
        for candidate, instance, score in zip(o.indices, o.matched, o.scores, strict=True)
        if instance >= 0 and score >= threshold
    ]
    return replace(TRIED[best], threshold=threshold, scores=knots, chances=chances, smoothing=choose_smoothing(pairs))


def best_threshold(objects: Sequence[Sequence[Objects]], labelled: Sequence[int]) -> tuple[int, float] | None:
    """Which of the rules ``TRIED``, and which threshold, give the best F1; None where no object is right.

    Args:
        objects: by each of these rules, of each image.
        labelled: how many instances each image has.
    """
    curves = [score_curve([o.scores for o in images], [o.matched for o in images], labelled) for images in objects]
    best = int(np.argmax([np.nan_to_num(curve.f1).max() for curve in curves]))
    curve, index = curves[best], curves[best].best()
    if not curve.right[index]:
        return None
    lower = curve.scores[index + 1] if index + 1 < len(curve.scores) else 0.0
    return best, float((curve.scores[index] + lower) / 2)  # between the last object that is taken and the next one


@dataclass(frozen=True)
class Objects:
    """The candidates of one image that a rule without its threshold takes, best first."""

    indices: Int[np.ndarray, "n"]
    scores: Float[np.ndarray, "n"]
    matched: Int[np.ndarray, "n"]  # the instance that each finds, as ``match_objects`` says it


@dataclass(frozen=True)
class Candidates:
    """One image's candidates, best first, and how they overlap each other and the instances that are to be found."""

    scores: Float[np.ndarray, "n"]
    areas: Float[np.ndarray, "n"]
    overlap: Float[np.ndarray, "n n"]
    ious: Float[np.ndarray, "n g"]
    crowd_ious: Float[np.ndarray, "n c"]
    wanted: list[Rle]  # masks of the instances

    @classmethod
    def of(cls, proposals: Proposals, instances: Instances) -> Candidates:
        """Measure the overlaps."""
        wanted, crowds = instances.divided()
        rles = proposals.rles
        overlap, found = ious(rles, rles), ious(rles, wanted)
        return cls(proposals.scores, proposals.areas, overlap, found, ious(rles, crowds, crowd=True), wanted)

    def objects(self, rule: ObjectRule, at: Sequence[float]) -> list[Objects]:
        """The objects by a rule, at every threshold on the score; matched at each of some thresholds on the IoU."""
        kept = choose_by_overlap(self.overlap, self.areas, rule)
        scores, found, on_crowds = self.scores[kept], self.ious[kept], self.crowd_ious[kept]
        return [Objects(kept, scores, match_objects(found, on_crowds, iou)) for iou in at]


def choose_smoothing(pairs: Sequence[tuple[Rle, Rle]]) -> float:
    """The strongest smoothing of outlines that costs next to nothing of the mean IoU with the instances found."""
    pairs = pairs[:MOST_SMOOTHED]

    def mean_iou(smoothing: float) -> float:
        return float(np.mean([ious([clean(mask, smoothing)], [wanted]) for mask, wanted in pairs]))

    found = {smoothing: mean_iou(smoothing) for smoothing in SMOOTHINGS}
    return max(smoothing for smoothing, iou in found.items() if iou >= max(found.values()) - SMOOTHING_COST)


def isotonic(
    scores: Float[np.ndarray, "n"], right: Bool[np.ndarray, "n"]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of the rising function of the score that is nearest to being right (isotonic regression, PAV).

    Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002. Each
    block of equal chance gives one knot, at its mean score, so that better scores have better chances within a block.
    Equal scores count as one, with their mean and their number, so that their order does not matter.
    """
    from scipy.optimize import isotonic_regression

    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(which, right) / counts, weights=counts.astype(float))
    blocks = list(zip(fitted.blocks[:-1], fitted.blocks[1:], strict=True))
    ascending, starts = np.sort(scores), np.concatenate([[0], counts.cumsum()])
    knots = [float(ascending[starts[first] : starts[end]].mean()) for first, end in blocks]
    return tuple(knots), tuple(float(fitted.x[first]) for first, _ in blocks)
