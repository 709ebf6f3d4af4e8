"""Named instances and named proposals, apart by category: what average precision is measured on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import GroundTruth, ScoredRegions, parse_ground_truth, parse_results


@dataclass(frozen=True)
class OfCategory:
    """What there is of one category; both lists are of all images, in the same order."""

    category_id: int
    name: str
    ground_truth: list[GroundTruth]
    proposals: list[ScoredRegions]

    @property
    def instances(self) -> int:
        """Labelled instances, crowds aside."""
        return sum(int((~image.crowd).sum()) for image in self.ground_truth)


def split_by_category(
    coco: Any, results: Any, iou: IouType = "segm", *, sources: tuple[str, str] = ("annotations", "proposals")
) -> list[OfCategory]:
    """Annotations and results of each category, in the order of the annotations' ``categories``.

    Args:
        coco: what a COCO annotation file holds.
        results: COCO results with the category ids of that file.
        iou: take ``segmentation``, or ``bbox``.
        sources: what to call the two in errors, such as their paths.

    Raises:
        ValueError: something in either can't be used, or names a category that the annotations do not list.
    """
    images = parse_ground_truth(coco, iou, source=sources[0])  # whole files first, so that errors count their entries
    parse_results(results, images, iou, source=sources[1])
    names = _category_names(coco, sources[0])
    labelled = _by_category(coco["annotations"], names, f"{sources[0]}, annotation")
    proposed = _by_category(results, names, f"{sources[1]}, result")
    found: list[OfCategory] = []
    for category_id, name in names.items():
        ground_truth = parse_ground_truth({"images": coco["images"], "annotations": labelled[category_id]}, iou)
        scored = parse_results(proposed[category_id], ground_truth, iou)
        found.append(OfCategory(category_id, name, ground_truth, scored))
    return found


def _category_names(coco: Any, source: str) -> dict[int, str]:
    entries = coco.get("categories")
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and type(entry.get("id")) is int for entry in entries
    ):
        raise ValueError(f'{source}: has no list "categories" of {{id, name}}; average precision needs it')
    names = {entry["id"]: str(entry.get("name", entry["id"])) for entry in entries}
    if len(names) < len(entries):
        raise ValueError(f"{source}: two categories share an id; each needs its own")
    return names


def _by_category(entries: Sequence[dict[str, Any]], names: dict[int, str], where: str) -> dict[int, list[Any]]:
    split: dict[int, list[Any]] = defaultdict(list)
    for index, entry in enumerate(entries):
        category_id = entry.get("category_id")
        if type(category_id) is not int or category_id not in names:
            listed = ", ".join(f"{known} ({name})" for known, name in names.items())
            raise ValueError(
                f"{where} {index}: category_id {category_id!r} is not among the annotations' categories: {listed:.300}"
            )
        split[category_id].append(entry)
    return split
