"""A network measured on validation data, during training: its recall, and how good its objects are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from lightning_fabric import Fabric

from instancefcn.data.coco import source_to_coco
from instancefcn.data.source import Source
from instancefcn.evaluation.average_recall import average_recall
from instancefcn.evaluation.counting import WRONG, ends_a_score
from instancefcn.evaluation.matching import IOU_THRESHOLDS
from instancefcn.inference.proposer import MIN_SCORE, Proposer
from instancefcn.interrupts import Interrupts
from instancefcn.proposals import Proposals
from instancefcn.structures import Instances, Track
from instancefcn.training.calibration import TRIED, Candidates
from instancefcn.training.history import AR, F1, Figures, Measure
from instancefcn.training.processes import gather


def validate(
    proposer: Proposer,
    sources: Sequence[Source],
    max_proposals: int = 1000,
    stop: Interrupts | None = None,
    kept: Callable[[], str] = str,
    fabric: Fabric | None = None,
    track: Track = iter,
) -> Figures:
    """COCO mask AR of each source by its name, and F1 of objects (``object_f1``) where all are labelled, in percent.

    Args:
        stop: looked at before each image.
        kept: says what is kept of the work so far.
        fabric: of the processes that share the images; each of them has to call this. None: this one has all.
        track: told of every image of a source, for a progress bar.

    Raises:
        Interrupted: ``stop`` was set.
    """
    rank, processes = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    figures: Figures = {}
    for source in sources:
        results, objects = [], []
        for index in track(range(rank, len(source), processes)):
            if stop:
                raise stop.ended(kept())
            sample = source[index]
            proposals = proposer(sample.image, max_proposals=max_proposals)
            results += proposals.to_coco(sample.image_id)
            if not sample.partial:
                objects.append(MatchedObjects.of(proposals.at_least(MIN_SCORE), sample.instances))
        if fabric is not None:
            results, objects = gather(fabric, results), gather(fabric, objects)
        figures[source.name] = average_recall(source_to_coco(source), results)["coco"]
        if objects:
            figures[source.name][F1] = object_f1(objects)
    return figures


def deciding_measure(figures: Figures) -> Measure:
    """What networks are compared by: F1 of their objects, or AR@100 where no source has all of its objects labelled."""
    return F1 if mean_over_sources(figures, F1) >= 0 else AR


def mean_over_sources(figures: Figures, measure: str) -> float:
    """A measure averaged over the sources that have it; -1 if none has."""
    found = [of[measure] for of in figures.values() if not math.isnan(of.get(measure, math.nan))]
    return sum(found) / len(found) if found else -1.0


def deciding_instances(sources: Sequence[Source], figures: Figures, measure: Measure) -> int:
    """Of how many instances a share would have the standard error that the mean of the sources' measures has.

    Sources of n instances each, whose mean it is, have errors that go by 1 / n: k of them make k^2 / sum(1 / n). Of one
    source it is n, and a small source counts for no more than it is.
    """
    counts: list[int] = []
    for source in sources:
        if not math.isnan(figures.get(source.name, {}).get(measure, math.nan)):
            every = (source.labels(index) for index in range(len(source)))
            counts.append(sum(int(one.instances.judged.sum()) for one in every if measure == AR or not one.partial))
    counts = [count for count in counts if count]
    return round(len(counts) ** 2 / sum(1 / count for count in counts)) if counts else 0


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
