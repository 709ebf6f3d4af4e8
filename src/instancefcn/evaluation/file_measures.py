"""All measures of one file of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instancefcn.data.result_files import read_results
from instancefcn.evaluation.average_recall import ImageRecall, recall_per_image
from instancefcn.evaluation.curves import CURVE_THRESHOLDS
from instancefcn.evaluation.labelled_images import LabelledImages
from instancefcn.evaluation.matching import AREA_RANGES, MAX_PROPOSALS
from instancefcn.evaluation.object_metrics import object_metrics
from instancefcn.evaluation.per_class import measure_precision
from instancefcn.evaluation.per_image import category_rows, image_rows
from instancefcn.evaluation.results import GroundTruth, ScoredRegions, parse_results
from instancefcn.values import nan_as_none

OBJECTS_NAME = "objects"  # as `propose --objects` begins its file's: it holds objects, not ranked candidates


@dataclass(frozen=True)
class FileMeasures:
    """What was measured of one file, as ``evaluate`` writes it; None where there is no instance.

    Attributes:
        path: of the file.
        recall: how each instance was found.
        metrics: average recall, counts, curves, and what each category and each image has.
        objects: right and wrong objects (``object_metrics``); None where they were not asked for.
        precision: average precision by category (``measure_precision``); None where it was not asked for.
    """

    path: Path
    recall: ImageRecall
    metrics: dict[str, Any]
    objects: dict[str, Any] | None
    precision: dict[str, Any] | None

    @property
    def given(self) -> dict[str, int]:
        """The most proposals of an image for each N: where that is less than N, AR@N is of as many."""
        return self.metrics["given"]


def measure_file(
    path: Path,
    labelled: LabelledImages,
    *,
    objects: bool = False,
    min_score: float | None = None,
    per_class: bool = False,
) -> FileMeasures:
    """Measure a file of results, which is read piece by piece.

    Args:
        objects: also count right and wrong objects.
        min_score: of ``objects``: count those alone that score this or more, and at no other threshold.
        per_class: also measure average precision, by the categories that the file names.

    Raises:
        ValueError: the file can't be used, or is of other images; says what, where, and how to mend it.
    """
    labelled.refuse_other_images(path)
    recall, metrics, counted = _without_categories(path, labelled, objects, min_score)
    precision = None
    if per_class:  # it reads the file again, by category
        precision = measure_precision(
            path,
            labelled.annotations,
            labelled.iou,
            crowds_of_one_part=labelled.crowds_of_one_part,
            others=labelled.results,
        )
    return FileMeasures(path, recall, metrics, counted, precision)


def _without_categories(
    path: Path, labelled: LabelledImages, objects: bool, min_score: float | None
) -> tuple[ImageRecall, dict[str, Any], dict[str, Any] | None]:
    """Recall, all measures that follow from it, and the objects."""
    images, names = labelled.images, labelled.file_names
    scored = parse_results(read_results(path), images, labelled.iou, source=str(path))
    recall = recall_per_image(images, scored, labelled.iou)
    by_category = category_rows(recall, images, labelled.categories)
    metrics = _recall_metrics(images, scored, recall) | {
        "categories": by_category if len(by_category) > 1 else {},
        "images": image_rows(recall, names),
    }
    if not objects:
        return recall, metrics, None
    ranked = path.name.partition(".")[0] != OBJECTS_NAME and min_score is None
    counted = object_metrics(images, scored, min_score=min_score, by_score=ranked)
    counted["images"] = [row | {"file_name": names[row["image_id"]]} for row in counted["images"]]
    return recall, metrics, nan_as_none({"min_score": min_score} | counted)


def _recall_metrics(
    images: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], recall: ImageRecall
) -> dict[str, Any]:
    """Average recall, how much was evaluated, and the curves; None where there is no instance."""
    proposed = np.array([len(scored) for scored in proposals], dtype=int)
    instances = dict(zip(AREA_RANGES, recall.instances.sum(0).tolist(), strict=True))
    counts = {
        "images": len(images),
        "images_without_instances": int((recall.instances[:, 0] == 0).sum()),
        "images_without_proposals": int((proposed == 0).sum()),
        "instances": instances.pop("all"),
        **{f"instances_{area}": number for area, number in instances.items()},
        "crowd_regions": sum(int(image.crowd.sum()) for image in images),
        "proposals": int(proposed.sum()),
        "proposals_beyond_limit": int(np.maximum(proposed - MAX_PROPOSALS[-1], 0).sum()),  # they are not evaluated
    }
    most = int(proposed.max(initial=0))
    given = {str(limit): min(most, limit) for limit in MAX_PROPOSALS}
    curves = zip(MAX_PROPOSALS, recall.curves(CURVE_THRESHOLDS).tolist(), strict=True)
    lines = {"iou": CURVE_THRESHOLDS.tolist()} | {f"N={n}": recalls for n, recalls in curves}
    return nan_as_none(recall.metrics() | {"counts": counts, "given": given, "curves": lines})
