"""Recall image by image, and of each category of the labels: which images and which things are missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from instancefcn.data.coco_entries import whole_number
from instancefcn.data.coco_reader import CocoReader
from instancefcn.evaluation.average_recall import ImageRecall, hosang_average_recall
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.evaluation.results import GroundTruth
from instancefcn.files import csv_lines
from instancefcn.values import nan_as_none, whole_or_none

MISSED_IOU = 0.5  # an instance that no proposal overlaps so much is missed
CATEGORY_IOUS = (0.5, 0.75)  # at which a category's recall is stated
CSV_COLUMNS = ("file_name", "image_id", "instances", "missed", *(f"AR@{limit}" for limit in MAX_PROPOSALS))


def names_where_sound(coco: Any, source: str) -> dict[int, str] | None:
    """Names of the categories by id, where every annotation has one of them; None otherwise, and without categories.

    Recall looks at no category, so files are taken whose categories are wrong.

    Args:
        source: what errors call the annotations.

    Raises:
        ValueError: these are no COCO annotations.
    """
    names = CocoReader(coco, source).categories()
    known = all(whole_or_none(entry.get("category_id")) in names for entry in coco["annotations"])
    return names if names and known else None


def file_names(coco: Any) -> dict[int, str | None]:
    """The ``file_name`` that COCO annotations give to each image, by id; None where they give no text."""
    stated = {whole_number(entry["id"], "id"): entry.get("file_name") for entry in coco["images"]}
    return {key: name if isinstance(name, str) else None for key, name in stated.items()}


def missed(recall: ImageRecall) -> list[Bool[np.ndarray, "_"]]:
    """Which instances of each image, crowds left out, no proposal overlaps by an IoU of ``MISSED_IOU``."""
    return [best[:, -1] < MISSED_IOU for best in recall.best_iou]


def image_rows(recall: ImageRecall, names: Mapping[int, str | None]) -> list[dict[str, Any]]:
    """For each image ``{"image_id", "file_name", "instances", "missed", "AR@10", "AR@100", "AR@1000"}``.

    AR is COCO's, in percent; None in an image without instances.
    """
    measures = recall.measures()
    every = [measures[f"coco/AR@{limit}"] for limit in MAX_PROPOSALS]
    rows: list[dict[str, Any]] = []
    for index, (image_id, gone) in enumerate(zip(recall.image_ids, missed(recall), strict=True)):
        row = {"image_id": image_id, "file_name": names[image_id], "instances": len(gone), "missed": int(gone.sum())}
        for limit, measure in zip(MAX_PROPOSALS, every, strict=True):
            there = measure.instances[index]
            row[f"AR@{limit}"] = 100 * float(measure.found[index]) / int(there) if there else None
        rows.append(row)
    return rows


def image_table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """``images.csv``: the rows of ``image_rows``, most missed instances first."""
    ordered = sorted(rows, key=lambda row: -row["missed"])
    cells = [[f"{row[key]:.2f}" if isinstance(row[key], float) else row[key] for key in CSV_COLUMNS] for row in ordered]
    return csv_lines([CSV_COLUMNS, *cells])


def category_rows(
    recall: ImageRecall, ground_truth: Sequence[GroundTruth], names: Mapping[int, str]
) -> dict[str, dict[str, Any]]:
    """Recall of the instances of each category, whatever category the proposals name; by name.

    ``{"id", "instances", "AR@10", "AR@100", "AR@1000", "recall@0.5", "recall@0.75"}``: Hosang's AR by the best IoU, and
    the shares that any of the best 1,000 proposals finds, in percent. Categories without instances are left out.
    """
    best = np.concatenate([*recall.best_iou, np.zeros((0, len(MAX_PROPOSALS)))])
    ids = [image.category_ids[~image.crowd] for image in ground_truth if image.category_ids is not None]
    of_instances = np.concatenate([*ids, np.zeros(0, dtype=int)])
    rows: dict[str, dict[str, Any]] = {}
    for category_id, name in names.items():
        own: Float[np.ndarray, "n l"] = best[of_instances == category_id]
        if not len(own):
            continue
        unique = f"{name} ({category_id})" if name in rows else name
        rows[unique] = {"id": category_id, "instances": len(own)}
        for column, limit in enumerate(MAX_PROPOSALS):
            rows[unique][f"AR@{limit}"] = 100 * hosang_average_recall(own[:, column])
        for threshold in CATEGORY_IOUS:
            rows[unique][f"recall@{threshold}"] = 100 * float((own[:, -1] >= threshold).mean())
    return nan_as_none(rows)
