"""Average recall (AR) of proposals, in percent, by COCO's rules and by Hosang's, in two variants.

All average, over IoU thresholds, the share of instances that the best N proposals of each image find. They differ:

- ``coco/AR@N``, COCO's: thresholds .5, .55, ... .95; a proposal finds one instance at most, best score first
  (``matching.py``).
- ``hosang/AR@N``, as Hosang et al. define it ("What makes for effective detection proposals?", TPAMI 2016, which the
  paper cites): the area under recall over IoU in [0.5, 1], doubled; an instance is found where its best IoU with any
  proposal reaches the threshold.
- ``hosang/AR_hosang@N``, as their public code measures it, and so the papers that used it: the same area, but a
  proposal finds one instance at most, highest IoU first (``assigned_ious``).

Every measure is a ratio of sums over images. The terms are kept image by image, so that images can be weighted
(``compare.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real

from instancefcn.evaluation.matching import AREA_RANGES, IOU_THRESHOLDS, MAX_PROPOSALS, match_one_to_one
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import GroundTruth, ScoredRegions, parse_ground_truth, parse_results
from instancefcn.geometry.rle import ious

# Titles of the three averages, and their keys for each of ``MAX_PROPOSALS``.
AVERAGES: dict[str, tuple[str, ...]] = {
    "COCO AR": tuple(f"coco/AR@{limit}" for limit in MAX_PROPOSALS),
    "Hosang AR, one to one": tuple(f"hosang/AR_hosang@{limit}" for limit in MAX_PROPOSALS),
    "Hosang AR, best IoU": tuple(f"hosang/AR@{limit}" for limit in MAX_PROPOSALS),
}
RECALL_AT = (0.5, 0.75, 0.9)  # IoU thresholds whose recall is stated by itself, at the largest N


@dataclass(frozen=True)
class PerImage:
    """A measure as the ratio of two sums over images: instances found, where fractions count, and instances there."""

    found: Real[np.ndarray, "i"]
    instances: Real[np.ndarray, "i"]

    def percent(self) -> float:
        """The measure in percent; NaN without instances."""
        return 100 * float(self.found.sum() / self.instances.sum()) if self.instances.any() else float("nan")


@dataclass(frozen=True)
class ImageRecall:
    """How many instances of each image were found."""

    image_ids: list[int]
    instances: Int[np.ndarray, "i a"]  # in each of COCO's area ranges, without crowds
    matched: Int[np.ndarray, "i a n t"]  # of these matched one-to-one, with the best N proposals at IoU threshold t
    best_iou: list[Float[np.ndarray, "_ n"]]  # for each instance that is no crowd, among the best N proposals
    assigned_iou: list[Float[np.ndarray, "_ n"]]  # with the proposal that ``assigned_ious`` gives it, 0 where none

    def measures(self) -> dict[str, PerImage]:
        """All by name: ``coco/AR@100_small``, ``hosang/AR@10``, ``hosang/AR_hosang@10``, ``recall@0.5``, ..."""
        found: dict[str, PerImage] = {}
        for a, area in enumerate(AREA_RANGES):
            for n, limit in enumerate(MAX_PROPOSALS):
                suffix = "" if area == "all" else f"_{area}"
                found[f"coco/AR@{limit}{suffix}"] = PerImage(self.matched[:, a, n].mean(-1), self.instances[:, a])
        instances = np.array([len(best) for best in self.best_iou])
        for name, ious_of_images in (("AR", self.best_iou), ("AR_hosang", self.assigned_iou)):
            for n, limit in enumerate(MAX_PROPOSALS):
                areas = [hosang_average_recall(of_image[:, n]) * len(of_image) for of_image in ious_of_images]
                found[f"hosang/{name}@{limit}"] = PerImage(np.array(areas), instances)
        for threshold in RECALL_AT:
            t = int(np.argmin(np.abs(IOU_THRESHOLDS - threshold)))
            found[f"recall@{threshold}"] = PerImage(self.matched[:, 0, -1, t], self.instances[:, 0])
        return found

    def metrics(self) -> dict[str, Any]:
        """All measures in percent, ``{"coco": {"AR@10", ...}, "hosang": {"AR@10", ...}, "recall@0.5", ...}``.

        ``hosang`` has ``AR@N`` by best IoU and ``AR_hosang@N`` one to one. ``recall@T`` is COCO's recall at the IoU
        threshold T and 1000 proposals. NaN without instances.
        """
        nested: dict[str, Any] = {}
        for name, measure in self.measures().items():
            *group, key = name.split("/")
            (nested.setdefault(group[0], {}) if group else nested)[key] = measure.percent()
        return nested

    def curves(self, thresholds: Float[np.ndarray, "t"], *, one_to_one: bool = False) -> Float[np.ndarray, "n t"]:
        """Recall in percent over IoU thresholds for each of ``MAX_PROPOSALS``, by best IoU or one to one.

        Twice the area under a curve over [0.5, 1] is ``hosang/AR@N``, or ``hosang/AR_hosang@N`` if ``one_to_one``.
        """
        of_images = self.assigned_iou if one_to_one else self.best_iou
        all_ious = np.concatenate([*of_images, np.zeros((0, len(MAX_PROPOSALS)))])
        return np.stack([100 * recall_over_iou(all_ious[:, n], thresholds) for n in range(len(MAX_PROPOSALS))])


def averages(metrics: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """The three averages by their titles, each for ``MAX_PROPOSALS``, of what ``ImageRecall.metrics`` gives."""
    return {
        title: [metrics[group][name] for group, name in (key.split("/") for key in keys)]
        for title, keys in AVERAGES.items()
    }


def hosang_average_recall(iou: Float[np.ndarray, "g"]) -> float:
    """Twice the area under the curve of recall over IoU in [0.5, 1]; in [0, 1], and 0 without instances.

    Exact: the area under a step that falls at IoU o is ``max(o - 0.5, 0)``.

    Args:
        iou: of each instance with the proposal that finds it.
    """
    return float(2 * np.maximum(iou - 0.5, 0).mean()) if len(iou) else 0.0


def recall_over_iou(iou: Float[np.ndarray, "g"], thresholds: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t"]:
    """Fraction of instances whose IoU reaches each threshold; NaN without instances."""
    if len(iou) == 0:
        return np.full(len(thresholds), np.nan)
    return (iou[:, None] >= thresholds[None]).mean(0)


def best_ious(iou: Float[np.ndarray, "n g"]) -> Float[np.ndarray, "g k"]:
    """Best IoU of each instance with the first N proposals, for each N of ``MAX_PROPOSALS``; 0 without proposals."""
    return np.stack([iou[:limit].max(0, initial=0) for limit in MAX_PROPOSALS], axis=1)


def assigned_ious(iou: Float[np.ndarray, "n g"]) -> Float[np.ndarray, "g k"]:
    """IoU of each instance with its own proposal among the first N, for each N of ``MAX_PROPOSALS``; 0 without one.

    As in Hosang's public code (``closest_candidates.m``).
    """
    return np.stack([ious_one_to_one(iou[:limit]) for limit in MAX_PROPOSALS], axis=1)


def ious_one_to_one(iou: Float[np.ndarray, "n g"]) -> Float[np.ndarray, "g"]:
    """IoU of each of the second regions with its own of the first, highest first; 0 without one.

    Of all pairs the one with the highest IoU is taken, both of it are removed, and so on until either runs out. Of
    pairs with equal IoU the one of the earliest second region is taken, then the one of the earliest first.
    """
    assigned, left = np.zeros(iou.shape[1]), iou.T.copy()
    for _ in range(min(left.shape)):
        second, first = np.unravel_index(left.argmax(), left.shape)
        assigned[second] = left[second, first]
        left[second], left[:, first] = -1, -1
    return assigned


def recall_per_image(
    ground_truth: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], iou: IouType
) -> ImageRecall:
    """Match the proposals of each image with its instances; both sequences have the same images in the same order."""
    best: list[np.ndarray] = []
    assigned: list[np.ndarray] = []
    for labelled, proposed in zip(ground_truth, proposals, strict=True):
        overlaps = ious(proposed.top(MAX_PROPOSALS[-1]).regions, labelled.divided()[0])
        best.append(best_ious(overlaps))
        assigned.append(assigned_ious(overlaps))
    instances, matched = match_one_to_one(ground_truth, proposals, iou)
    return ImageRecall([image.image_id for image in ground_truth], instances, matched, best, assigned)


def average_recall(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], iou: IouType = "segm"
) -> dict[str, Any]:
    """Average recall of proposals in memory, in percent.

    Args:
        ground_truth: a COCO table, such as ``source_to_coco(source)``.
        results: COCO results of its images.
        iou: compare masks (``segm``) or boxes (``bbox``).

    Returns:
        As ``ImageRecall.metrics``: ``{"coco": {"AR@10": ..., ...}, "hosang": {...}, "recall@0.5": ..., ...}``.

    Example:
        >>> average_recall(source_to_coco(source), results)["coco"]["AR@100"]  # doctest: +SKIP

    Raises:
        ValueError: either can't be used; says what, where, and how to mend it.
    """
    images = parse_ground_truth(ground_truth, iou)
    return recall_per_image(images, parse_results(results, images, iou), iou).metrics()
