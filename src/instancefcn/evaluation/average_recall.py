"""Average recall (AR) of proposals, in percent, by COCO's rules and by Hosang's.

Both average, over IoU thresholds, the share of instances that the best N proposals of each image find. They differ:

- COCO: thresholds .5, .55, ... .95; a proposal finds one instance at most (``matching.py``).
- Hosang et al., "What makes for effective detection proposals?", TPAMI 2016, which the paper cites: the area under
  recall over IoU in [0.5, 1], doubled; an instance is found where its best IoU with any proposal reaches the threshold.

Every measure is a ratio of sums over images. The terms are kept image by image, so that images can be weighted
(``compare.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real

from instancefcn.evaluation.matching import AREA_RANGES, IOU_THRESHOLDS, MAX_PROPOSALS, match_one_to_one
from instancefcn.evaluation.regions import IouType, select
from instancefcn.evaluation.results import GroundTruth, ScoredRegions, parse_ground_truth, parse_results
from instancefcn.geometry.rle import ious

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

    def measures(self) -> dict[str, PerImage]:
        """All measures by name: ``coco/AR@100_small``, ``hosang/AR@10``, ``recall@0.5``, ..."""
        found: dict[str, PerImage] = {}
        for a, area in enumerate(AREA_RANGES):
            for n, limit in enumerate(MAX_PROPOSALS):
                suffix = "" if area == "all" else f"_{area}"
                found[f"coco/AR@{limit}{suffix}"] = PerImage(self.matched[:, a, n].mean(-1), self.instances[:, a])
        instances = np.array([len(best) for best in self.best_iou])
        for n, limit in enumerate(MAX_PROPOSALS):
            found[f"hosang/AR@{limit}"] = PerImage(
                np.array([hosang_average_recall(best[:, n]) * len(best) for best in self.best_iou]), instances
            )
        for threshold in RECALL_AT:
            t = int(np.argmin(np.abs(IOU_THRESHOLDS - threshold)))
            found[f"recall@{threshold}"] = PerImage(self.matched[:, 0, -1, t], self.instances[:, 0])
        return found

    def metrics(self) -> dict[str, Any]:
        """All measures in percent: ``{"coco": {"AR@10", ...}, "hosang": {"AR@10", ...}, "recall@0.5", ...}``.

        ``recall@T`` is COCO's recall at the IoU threshold T and 1000 proposals. NaN without instances.
        """
        nested: dict[str, Any] = {}
        for name, measure in self.measures().items():
            *group, key = name.split("/")
            (nested.setdefault(group[0], {}) if group else nested)[key] = measure.percent()
        return nested

    def curves(self, thresholds: Float[np.ndarray, "t"]) -> Float[np.ndarray, "n t"]:
        """Recall in percent over IoU thresholds, by best IoU, for each of ``MAX_PROPOSALS``."""
        best = np.concatenate([*self.best_iou, np.zeros((0, len(MAX_PROPOSALS)))])
        return np.stack([100 * recall_over_iou(best[:, n], thresholds) for n in range(len(MAX_PROPOSALS))])


def hosang_average_recall(best_iou: Float[np.ndarray, "g"]) -> float:
    """Twice the area under the curve of recall over IoU in [0.5, 1]; in [0, 1], and 0 without instances.

    Exact: the area under a step that falls at IoU o is ``max(o - 0.5, 0)``.
    """
    return float(2 * np.maximum(best_iou - 0.5, 0).mean()) if len(best_iou) else 0.0


def recall_over_iou(best_iou: Float[np.ndarray, "g"], thresholds: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t"]:
    """Fraction of instances whose best IoU reaches each threshold; NaN without instances."""
    if len(best_iou) == 0:
        return np.full(len(thresholds), np.nan)
    return (best_iou[:, None] >= thresholds[None]).mean(0)


def best_ious(iou: Float[np.ndarray, "n g"]) -> Float[np.ndarray, "g k"]:
    """Best IoU of each instance with the first N proposals, for each N of ``MAX_PROPOSALS``; 0 without proposals."""
    return np.stack([iou[:limit].max(0, initial=0) for limit in MAX_PROPOSALS], axis=1)


def recall_per_image(
    ground_truth: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], iou: IouType
) -> ImageRecall:
    """Match the proposals of each image with its instances; both sequences have the same images in the same order."""
    best: list[np.ndarray] = []
    for labelled, proposed in zip(ground_truth, proposals, strict=True):
        regions = select(labelled.regions, np.flatnonzero(~labelled.crowd))
        best.append(best_ious(ious(proposed.top(MAX_PROPOSALS[-1]).regions, regions)))
    instances, matched = match_one_to_one(ground_truth, proposals, iou)
    return ImageRecall([image.image_id for image in ground_truth], instances, matched, best)


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
